"""Settings of a node: file, environment over it, bounds, and what nobody reads is refused with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from althing.node.config import read_config
from althing.service.settings import SettingsError


def config(tmp_path: Path, text: str = "", **environ: str) -> object:
    (tmp_path / "config.toml").write_text(text)
    return read_config(tmp_path, {f"ALTHING_NODE_{name}": value for name, value in environ.items()})


def test_without_a_file_everything_has_a_default(tmp_path: Path) -> None:
    found = read_config(tmp_path, {"PATH": "/bin", "ALTHING_HOME": "elsewhere"})
    assert (found.engine, found.api.host, found.api.port, found.api.token_file) == ("solo", "127.0.0.1", 8420, None)


def test_the_environment_stands_over_the_file(tmp_path: Path) -> None:
    text = "[node]\nkeep_versions = 50\n[node.api]\nport = 9000\nidle_s = 7\n[gateway]\nanything = 1\n"
    found = config(tmp_path, text, API_PORT="9001", LOG_JSON="false", API_CORS_ORIGINS="https://a, https://b")
    assert (found.keep_versions, found.api.port, found.api.idle_s, found.log_json) == (50, 9001, 7, False)
    assert found.api.cors_origins == ("https://a", "https://b")
    assert config(tmp_path, "", API_TOKEN_FILE="/x/token").api.token_file == Path("/x/token")


@pytest.mark.parametrize(
    ("text", "environ", "code", "hint"),
    [
        ("[node]\nengin = 'solo'", {}, "settings.unknown", "did you mean engine?"),
        ("[node.api]\nprot = 1", {}, "settings.unknown", "did you mean port?"),
        ("", {"API_PROT": "1"}, "settings.unknown", "did you mean ALTHING_NODE_API_PORT?"),
        ("[node]\nzzzzz = 1", {}, "settings.unknown", "known: api, "),
        ("[node.api]\nport = '1'", {}, "settings.type", ""),
        ("[node.api]\nport = true", {}, "settings.type", ""),
        ("", {"API_PORT": "many"}, "settings.type", ""),
        ("", {"LOG_JSON": "maybe"}, "settings.type", ""),
        ("[node.api]\nport = 65536", {}, "settings.range", ""),
        ("[node.api]\nkey = 'k'", {}, "settings.range", ""),
        ("[node.solo]\nidle_block_s = 61", {}, "settings.range", ""),
        ("[node]\nlog_level = 'loud'", {}, "settings.range", ""),
        ("[node]\napi = 3", {"API_PORT": "1"}, "settings.type", ""),
        ("[node", {}, "settings.form", ""),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, environ: dict[str, str], code: str, hint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        config(tmp_path, text, **environ)
    assert raised.value.code == code
    assert raised.value.hint.startswith(hint)


def test_the_example_of_the_reference_is_understood(tmp_path: Path, root: Path) -> None:
    text = (root / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    found = config(tmp_path, example)
    assert found.api.host == "0.0.0.0"
    assert found.api.token_file == tmp_path / "api.token"
    assert found.api.certificate == tmp_path / "node.crt"
