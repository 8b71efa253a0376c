"""The wheels: what they hold, every licence in them, the same bytes from the same sources; and both at work in an empty
environment, without this source tree, from an empty HOME.

What they need is fetched from an index of packages: tests that install are skipped where pip reaches none.
"""

from __future__ import annotations

import email
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(600)]

PROGRAMS = ("cometbft", "althing-signer")
WAIT_S = 240


def _make(root: Path, output: Path) -> tuple[Path, Path]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(root / "scripts" / "make_wheels.py"), "--output", str(output)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pure, platform = (Path(line) for line in done.stdout.splitlines())
    return pure, platform


@pytest.fixture(scope="module")
def wheels(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return _make(root, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def scripts(root: Path) -> tuple[ModuleType, ModuleType, ModuleType]:
    sys.path.insert(0, str(root / "scripts"))
    try:
        import licences
        import make_wheels
        import setup_engine
    finally:
        sys.path.remove(str(root / "scripts"))
    return licences, make_wheels, setup_engine


def _metadata(wheel: zipfile.ZipFile, name: str) -> Message:
    (path,) = (member for member in wheel.namelist() if member.endswith(f".dist-info/{name}"))
    return email.message_from_bytes(wheel.read(path))


def test_the_package_is_pure_and_holds_page_and_recordings(root: Path, wheels: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = set(wheel.namelist())
        assert wheels[0].name.endswith("-py3-none-any.whl")
        assert _metadata(wheel, "WHEEL")["Root-Is-Purelib"] == "true"
        assert {"althing/console/static/index.html", "althing/py.typed", "althing/cli/entry.py"} <= names
        # Of what is bundled into the page.
        page = wheel.read("althing/console/static/licences.md").decode()
        for package in json.loads((root / "web" / "package.json").read_text())["dependencies"]:
            assert f"## {package} - " in page
        for example in root.glob("examples/*/example.toml"):
            folder = example.parent.name
            assert f"althing/apps/recorded/examples/{folder}/example.toml" in names
            assert any(name.endswith(f"licenses/examples/{folder}/LICENSE") for name in names)
        assert not any(name.startswith(("tests/", "scripts/", "web/")) for name in names)


def test_the_engine_is_tagged_for_its_platform(wheels: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(wheels[1]) as wheel:
        said = _metadata(wheel, "WHEEL")
        assert said["Root-Is-Purelib"] == "false"
        tags = said.get_all("Tag") or []
        assert tags
        assert all(tag.startswith("py3-none-") and not tag.endswith("-any") for tag in tags)
        for name in PROGRAMS:
            member = wheel.getinfo(f"althing_engine/bin/{name}")
            assert member.external_attr >> 16 & 0o111 == 0o111
            if sys.platform == "linux":
                assert wheel.read(member)[:4] == b"\x7fELF"
                machine = os.uname().machine
                assert {f"py3-none-manylinux_2_17_{machine}", f"py3-none-musllinux_1_2_{machine}"} <= set(tags)


def test_tags_of_platforms(scripts: tuple[ModuleType, ModuleType, ModuleType]) -> None:
    _, make_wheels, setup_engine = scripts
    linux = make_wheels.platform_tag("linux", "arm64")
    assert linux == "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_2_aarch64"
    assert make_wheels.platform_tag("darwin", "arm64") == "macosx_12_0_arm64"
    with pytest.raises(setup_engine.setup.SetupError):
        make_wheels.platform_tag("plan9", "amd64")


def test_no_licence_is_missing(
    wheels: tuple[Path, Path], scripts: tuple[ModuleType, ModuleType, ModuleType], tmp_path: Path
) -> None:
    """Each program's own list of the modules in it is the judge, not the list that was made when it was packed."""
    licences, _, setup_engine = scripts
    go, environment = setup_engine.find_go(), setup_engine.go_environment()
    with zipfile.ZipFile(wheels[1]) as wheel:
        metadata = _metadata(wheel, "METADATA")
        inside = {name.partition("/licenses/licences/")[2]: name for name in wheel.namelist() if "/licenses/" in name}
        listed = {
            (entry["module"], entry["version"]): entry for entry in json.loads(wheel.read(inside["modules.json"]))
        }
        kinds = set()
        linked = {("std", listed_version) for module, listed_version in listed if module == "std"}
        for name in PROGRAMS:
            program = Path(wheel.extract(f"althing_engine/bin/{name}", tmp_path))
            said = licences.modules_in(go, program, environment)
            modules = {(path, version) for path, version in said.items() if not path.startswith("build ")}
            assert len(modules) > 20
            linked |= modules
        assert ("github.com/cometbft/cometbft", f"v{setup_engine.pinned_version()}") in linked
        assert linked - listed.keys() == set()
        (own,) = (entry for (module, _), entry in listed.items() if module == "std")
        text = next(wheel.read(inside[file]).decode() for file in own["files"] if file.endswith("/LICENSE"))
        assert "The Go Authors" in text, "Go's own, whose library is in every program"
        for module in linked:
            found: set[str] = set()
            for file in listed[module]["files"]:
                found |= licences.kinds_of(wheel.read(inside[file]).decode(errors="replace"))
            assert found >= set(listed[module]["licences"]) != set(), module
            kinds |= found
        assert {"althing/LICENSE"} <= inside.keys()
        assert set(metadata["License-Expression"].split(" AND ")) == kinds


def test_licences_are_told_apart_and_unknown_ones_stop_the_build(
    scripts: tuple[ModuleType, ModuleType, ModuleType], tmp_path: Path
) -> None:
    licences, _, setup_engine = scripts
    endorse = "may be used to endorse or promote products"
    assert licences.kinds_of("Redistributions of source code\n must retain") == {"BSD-2-Clause"}
    assert licences.kinds_of(f"Redistributions of source code must retain … {endorse}") == {"BSD-3-Clause"}
    assert licences.kinds_of("GNU GENERAL PUBLIC LICENSE Version 3") == set()
    text = tmp_path / "COPYING"
    text.write_text("GNU GENERAL PUBLIC LICENSE Version 3")
    for files in ({}, {"COPYING": text}):
        with pytest.raises(setup_engine.setup.SetupError):
            _ = licences.Module("example.org/m", "v1.0.0", files).kinds


def test_the_same_sources_give_the_same_bytes(root: Path, wheels: tuple[Path, Path], tmp_path: Path) -> None:
    again = _make(root, tmp_path / "dist")
    for first, second in zip(wheels, again, strict=True):
        assert first.name == second.name
        assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


@pytest.fixture(scope="module")
def installed(wheels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheels and their lock alone."""
    folder = tmp_path_factory.mktemp("installed")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", "--no-compile"]
    lock = ["--require-hashes", "--only-binary", ":all:", "-r", str(wheels[0].with_name("requirements.txt"))]
    subprocess.run([*pip, *lock], env=environment, check=True)
    # Nothing but the lock: what the wheels' metadata asks for must be there already.
    subprocess.run([*pip, "--no-index", *map(str, wheels)], env=environment, check=True)
    return folder / "bin"


def run(installed: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": f"{installed}:/usr/bin:/bin"}
    return subprocess.run(
        [str(installed / "althing"), *arguments],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def demo(installed: Path, home: Path, *options: str) -> dict[str, Any]:
    done = run(installed, home, "demo", "--headless", "--seconds", "8", "--pace", "60", "--json", *options)
    assert done.returncode == 0, done.stderr
    ready, result = (json.loads(line) for line in done.stdout.splitlines())
    assert ready["event"] == "ready"
    assert result["verified"] is True
    assert result["readings"] > 0
    return result  # type: ignore[no-any-return]


@pytest.mark.needs_index
def test_the_demo_on_the_embedded_engine(installed: Path, tmp_path: Path) -> None:
    result = demo(installed, tmp_path)
    assert Path(result["proof_file"]).is_relative_to(tmp_path / ".althing"), "the default home is in HOME"
    checked = run(installed, tmp_path, "proof", "verify", result["proof_file"], "--trust", result["trust_file"])
    assert checked.returncode == 0, checked.stderr


@pytest.mark.needs_index
def test_the_demo_on_four_validators(installed: Path, tmp_path: Path) -> None:
    found = json.loads(run(installed, tmp_path, "engine", "info", "--json").stdout)
    assert found["version"] == found["pinned"]
    assert Path(found["path"]).is_relative_to(installed.parent), "the wheel's program"
    result = demo(installed, tmp_path, "--engine", "cometbft", "--validators", "4")
    assert result["anchored"]


@pytest.mark.needs_index
def test_the_signer_is_a_command(installed: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [str(installed / "althing-signer")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "-connect" in done.stderr
