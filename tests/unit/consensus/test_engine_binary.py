"""Which CometBFT is run: whoever names one gets that one or an error; nothing is guessed past a wrong name."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from althing.consensus.cometbft.binary import PINNED_VERSION, describe_binary, find_binary
from althing.consensus.engine import EngineError


def program(path: Path, says: str = "0.39.4", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(mode)
    return path


def test_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured, named = program(tmp_path / "configured"), program(tmp_path / "named")
    packaged, built = program(tmp_path / "packaged"), program(tmp_path / "engine" / "cometbft")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()
    assert find_binary(environ={}) == built
    (tmp_path / "site" / "althing_engine.py").write_text(
        f"from pathlib import Path\ndef binary() -> Path:\n    return Path({str(packaged)!r})\n"
    )
    try:
        assert find_binary(environ={}) == packaged
        assert find_binary(environ={"ALTHING_ENGINE": str(named)}) == named
        assert find_binary(configured, environ={"ALTHING_ENGINE": str(named)}) == configured
    finally:
        sys.modules.pop("althing_engine", None)


def test_a_wrong_name_is_an_error_not_the_next_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "engine" / "cometbft")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    for named in (tmp_path / "absent", tmp_path, program(tmp_path / "plain", mode=0o644)):
        with pytest.raises(EngineError) as error:
            find_binary(named, environ={})
        assert error.value.code == "engine.binary"


def test_nothing_found_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(EngineError) as error:
        find_binary(environ={})
    assert "make setup-engine" in error.value.hint
    assert "solo" in error.value.hint


@pytest.mark.parametrize("says", ["", "a\tb", "x" * 81])
def test_what_does_not_answer_like_cometbft_is_refused(tmp_path: Path, says: str) -> None:
    with pytest.raises(EngineError) as error:
        describe_binary(program(tmp_path / "odd", says))
    assert error.value.code == "engine.binary"


def test_version_and_hash(tmp_path: Path) -> None:
    found = describe_binary(program(tmp_path / "cometbft", "0.39.4"))
    assert found.version == "0.39.4"
    assert re.fullmatch("[0-9a-f]{64}", found.sha256)


def test_one_version_is_pinned_everywhere(root: Path) -> None:
    """The binary, the protobuf modules, the vectors' judge and the constant name the same CometBFT."""
    for module in (root / "engine", root / "tests" / "interop" / "cometbft"):
        assert f"github.com/cometbft/cometbft v{PINNED_VERSION}" in (module / "go.mod").read_text()
    wheel = tomllib.loads((root / "engine" / "wheel" / "pyproject.toml").read_text())["project"]
    assert wheel["version"].partition(".post")[0] == PINNED_VERSION
    extra = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cometbft"]
    assert any(text.startswith(f"althing-engine>={PINNED_VERSION},") for text in extra)
    made = root / "src" / "althing" / "consensus" / "cometbft" / "proto" / "sources.json"
    assert json.loads(made.read_text())["cometbft"] == PINNED_VERSION


@pytest.mark.needs_engine
def test_the_built_engine_is_the_pinned_version() -> None:
    assert describe_binary(find_binary()).version == PINNED_VERSION
