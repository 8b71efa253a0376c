"""Builds the wheels of a release into dist/: `althing`, pure, with the page, and `althing-engine` for this platform.

1. The engine's programs (scripts/setup_engine.py), which must be what they say: without C, for one platform.
2. The licences of every module in them (scripts/licences.py).
3. Both wheels, by the locked build backend: the same bytes from the same sources. SOURCE_DATE_EPOCH sets the date of the
   files in them (unset: the backend's constant).
4. requirements.txt: what they need, locked, so that dist/ is all that another machine has to be given.
"""

# ruff: noqa: S603 -- every command here is a fixed list; no word of it comes from outside

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import licences
import setup
import setup_engine

SOURCE = setup_engine.SOURCE / "wheel"
LOCK = setup.ROOT / "requirements" / "deploy.txt"

# A program without C needs no library of the system: it fits every C library of the architecture. The kernel it needs (3.2, for
# Go 1.24 and later) is older than both.
_MACHINES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "386": "i686",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
_MANYLINUX = {"riscv64": ("manylinux_2_39",)}
_OLDEST = ("manylinux_2_17", "manylinux2014", "musllinux_1_2")
_MACOS = {"amd64": "macosx_12_0_x86_64", "arm64": "macosx_12_0_arm64"}  # the oldest that Go 1.26 supports


def main() -> int:
    arguments = argparse.ArgumentParser(description="Build the wheels of a release.")
    arguments.add_argument("--output", type=Path, default=setup.ROOT / "dist")
    options = arguments.parse_args()
    try:
        with setup._one_at_a_time():
            setup_engine.build()
        for wheel in build(options.output.absolute()):
            print(wheel)
    except setup.SetupError as error:
        print(f"\nthe wheels were not built: {error}", file=sys.stderr)
        return 1
    return 0


def build(output: Path) -> list[Path]:
    """Both wheels and their lock, made anew in `output`."""
    if not (setup.STATIC / "index.html").is_file():
        raise setup.SetupError("the page is not built; run: make setup")
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("althing*.whl"):
        old.unlink()
    made = [_wheel(setup.ROOT, output), engine_wheel(output)]
    shutil.copyfile(LOCK, output / "requirements.txt")
    return made


def engine_wheel(output: Path) -> Path:
    """The platform wheel, from the programs that set-up has built."""
    go, environment = setup_engine.find_go(), setup_engine.go_environment()
    modules = licences.linked_modules(go, setup_engine.SOURCE, environment, list(setup_engine.PROGRAMS.values()))
    known = {module.path: module.version for module in modules}
    platforms = set()
    for name in setup_engine.PROGRAMS:
        said = licences.modules_in(go, setup_engine.TARGET / name, environment)
        settings = {key.removeprefix("build "): said.pop(key) for key in list(said) if key.startswith("build ")}
        missing = {path for path, version in said.items() if known.get(path) != version}
        if missing or not said:
            raise setup.SetupError(f"{name} holds modules that its sources do not name: {sorted(missing)}")
        if settings.get("CGO_ENABLED") != "0":
            raise setup.SetupError(f"{name} was built with C")
        platforms.add((settings["GOOS"], settings["GOARCH"]))
    if len(platforms) != 1:
        raise setup.SetupError(f"the programs are for several platforms: {sorted(platforms)}")
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    expression = licences.expression_of(modules)
    if project["license"] != expression:
        raise setup.SetupError(f"engine/wheel/pyproject.toml says {project['license']}, and the modules {expression}")
    if project["version"].partition(".post")[0] != setup_engine.pinned_version():
        raise setup.SetupError(f"engine/wheel/pyproject.toml is not of version {setup_engine.pinned_version()}")
    with tempfile.TemporaryDirectory() as made:
        staged = Path(made) / "althing-engine"
        shutil.copytree(SOURCE, staged, ignore=shutil.ignore_patterns("__pycache__"))
        programs = staged / "src" / "althing_engine" / "bin"
        programs.mkdir()
        for name in setup_engine.PROGRAMS:
            shutil.copy2(setup_engine.TARGET / name, programs / name)
        licences.stage(modules, staged / "licences")
        own = staged / "licences" / "althing" / "LICENSE"
        own.parent.mkdir()
        shutil.copyfile(setup.ROOT / "LICENSE", own)
        (staged / "platform.txt").write_text(platform_tag(*platforms.pop()))
        return _wheel(staged, output)


def platform_tag(system: str, machine: str) -> str:
    """The wheel's platform for Go's names of a system and a machine; SetupError for one that has no tag."""
    if system == "linux" and machine in _MACHINES:
        own = _MACHINES[machine]
        return ".".join(f"{policy}_{own}" for policy in (*_MANYLINUX.get(machine, _OLDEST[:2]), _OLDEST[2]))
    if system == "darwin" and machine in _MACOS:
        return _MACOS[machine]
    raise setup.SetupError(f"there is no wheel tag for {system}/{machine}")


def _wheel(project: Path, output: Path) -> Path:
    before = set(output.glob("*.whl"))
    _hatchling(["build", "-t", "wheel", "-d", str(output)], project)
    made = set(output.glob("*.whl")) - before
    if len(made) != 1:
        raise setup.SetupError(f"building {project.name} left {sorted(path.name for path in made)}")
    return made.pop()


def _hatchling(arguments: Sequence[str], folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(setup.VENV / "bin" / "python"), "-m", "hatchling", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise setup.SetupError(f"the build backend failed:\n{done.stdout[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
