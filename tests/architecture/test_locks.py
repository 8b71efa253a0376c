"""Lock files pin everything with hashes, agree with pyproject.toml and one another, and name no download address."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
PACKAGE_LOCKS = sorted(ROOT.glob("*/package-lock.json"))

PINNED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\]+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def _pins(lock: Path) -> dict[str, set[str]]:
    """Name → versions; a package may have several, for different Pythons."""
    pins: dict[str, set[str]] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if match := PINNED.match(line):
            pins.setdefault(canonicalize_name(match["name"]), set()).add(match["version"])
    return pins


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _unmet(wanted: list[str], lock: Path) -> list[str]:
    pins = _pins(lock)
    environment = {**default_environment(), "sys_platform": "linux"}
    unmet = []
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate(dict(environment)):
            continue
        versions = pins.get(canonicalize_name(requirement.name), set())
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            unmet.append(f"{text} (locked: {', '.join(sorted(versions)) or 'not at all'})")
    return unmet


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_is_a_pin_a_hash_or_a_comment(lock: Path) -> None:
    """So nothing in it can be an address, an index or a file."""
    odd = [
        line
        for line in lock.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.lstrip().startswith("#") and not PINNED.match(line) and not HASH.match(line)
    ]
    assert not odd
    assert _pins(lock)
    assert "://" not in lock.read_text(encoding="utf-8")


def test_locks_fulfil_pyproject() -> None:
    """A changed dependency without `make lock` is noticed here, without a network."""
    project = _project()
    runtime = project["project"]["dependencies"]
    extras = [text for extra in project["project"]["optional-dependencies"].values() for text in extra]
    dev = project["dependency-groups"]["dev"]
    extras.remove(next(text for text in extras if Requirement(text).name == "althing-engine"))  # built from this tree
    assert not _unmet([*runtime, *extras], REQUIREMENTS / "runtime.txt")
    assert not _unmet([*runtime, *extras, *dev], REQUIREMENTS / "dev.txt")
    assert not _unmet(
        [*runtime, *project["project"]["optional-dependencies"]["cometbft"][:1]], REQUIREMENTS / "deploy.txt"
    )


@pytest.mark.parametrize("source", sorted(REQUIREMENTS.glob("*.in")), ids=lambda path: path.name)
def test_locks_fulfil_their_sources(source: Path) -> None:
    lines = [line.split("#")[0].strip() for line in source.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("-")]
    assert wanted
    assert not _unmet(wanted, source.with_suffix(".txt"))


def test_build_backend_is_locked() -> None:
    assert not _unmet(_project()["build-system"]["requires"], REQUIREMENTS / "build.txt")


@pytest.mark.parametrize("name", ["runtime.txt", "deploy.txt", "build.txt", "vectors.txt"])
def test_locks_agree(name: str) -> None:
    """One environment is made of dev.txt and build.txt; what is tested is what is shipped."""
    dev = _pins(REQUIREMENTS / "dev.txt")
    pins = _pins(REQUIREMENTS / name)
    differing = {package: versions for package, versions in pins.items() if dev.get(package, versions) != versions}
    assert not differing
    if name != "build.txt":
        assert pins.keys() <= dev.keys()


@pytest.mark.parametrize("lock", PACKAGE_LOCKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_package_locks_hold_hashes_and_no_addresses(lock: Path) -> None:
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or "integrity" in package or package.get("link") or package.get("inBundle"), name
    assert (lock.with_name(".npmrc")).read_text(encoding="utf-8").count("omit-lockfile-registry-resolved=true") == 1
