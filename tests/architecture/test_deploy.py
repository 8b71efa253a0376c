"""What deploy/ holds: units that systemd accepts and rates as closed, commands that exist, a container that is not root."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer

from althing.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
CONTAINER = ROOT / "deploy" / "container" / "Containerfile"
EXPOSURE_MAX = 20  # in tenths, of 100


def _settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def _installed(unit: Path, folder: Path) -> Path:
    """The unit with programs that are here: systemd looks whether they are."""
    copy = folder / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    return copy


@pytest.mark.needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_takes_the_unit_and_rates_it_closed(unit: Path, tmp_path: Path) -> None:
    copy = _installed(unit, tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr, "no warning either"
    judge = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(copy)]
    rated = subprocess.run(judge, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-300:] + rated.stderr


@pytest.mark.needs_systemd
def test_an_open_unit_is_noticed(tmp_path: Path) -> None:
    unit = tmp_path / "open.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    judge = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit)]
    assert subprocess.run(judge, capture_output=True, check=False).returncode != 0
    unit.write_text("[Service]\nExecStart=/nonexistent/program\nNoSuchSetting=1\n")
    assert subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_name_their_page_and_run_as_their_own_user(unit: Path) -> None:
    settings = _settings(unit)
    page = re.search(r"docs/operate/\w+\.md", unit.read_text())
    assert page is not None
    assert (ROOT / page[0]).is_file()
    assert settings["User"] == ["althing"]
    assert "u althing " in (ROOT / "deploy" / "systemd" / "althing.sysusers").read_text()
    (command,) = settings["ExecStart"]
    words = command.split()
    if Path(words[0]).name == "althing":
        _is_a_command(words[1:])
    else:
        source = (ROOT / "engine" / "signer" / "main.go").read_text()
        flags = [word.removeprefix("-") for word in words[1:] if word.startswith("-")]
        assert flags
        assert all(f'flag.String("{flag}"' in source for flag in flags)


def test_the_container_is_not_root_and_asks_for_health() -> None:
    text = CONTAINER.read_text()
    lines = [line.split(None, 1) for line in text.replace("\\\n", " ").splitlines() if line and line[0] not in "# "]
    last: dict[str, str] = dict(lines)
    assert last["USER"] == "10001"
    assert [word for word, _ in lines].count("FROM") == 2
    for word in ("ENTRYPOINT", "CMD"):
        assert last[word].startswith("[")
    _is_a_command([part.strip('" ') for part in last["CMD"].strip("[]").split(",")])
    health = last["HEALTHCHECK"].partition("CMD ")[2]
    _is_a_command([part.strip('" ') for part in health.strip("[]").split(",")][1:])
    for script in re.findall(r"scripts/\S+\.(?:sh|py)", text):
        assert (ROOT / script).is_file()


def _is_a_command(words: list[str]) -> None:
    """Every word is a command of `althing`, and every option one of that command."""
    command = typer.main.get_command(app)
    options: set[str] = set()
    for word in words:
        if word.startswith("--"):
            assert word in options, words
        elif hasattr(command, "commands"):
            assert word in command.commands, words
            command = command.commands[word]
            options = {option for parameter in command.params for option in parameter.opts}
