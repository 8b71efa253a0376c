"""What every test may ask for: tools of the machine, free ports, Hypothesis profiles.

A test marked `needs_<tool>` is skipped, with the reason, where the tool is missing. `ALTHING_REQUIRE=chromium,python`
turns every skip of a test so marked into a failure: `.ci/run` sets it for what it has seen to be there.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# `ci` repeats itself exactly: a red run can be run again. `long` looks for new cases and prints how to repeat one.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def _load_toolchain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("althing_toolchain", ROOT / "scripts" / "toolchain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


toolchain = _load_toolchain()

_MISSING = {
    "chromium": "headless Chromium is missing (sudo apt install chromium, or ALTHING_CHROMIUM=/path)",
    "mosquitto": "Mosquitto is missing (sudo apt install mosquitto mosquitto-clients)",
    "python": "no second Python >= 3.11 with venv was found on the PATH, in pyenv or uv",
    "engine": "the distributed engine is not built (make setup-engine, or ALTHING_ENGINE=/path/to/cometbft)",
    "index": "pip reaches no index of packages (it needs a network)",
    "go": "a Go toolchain is missing",
    "systemd": "systemd-analyze is missing (sudo apt install systemd)",
    "cc": "a C compiler is missing (sudo apt install gcc)",
    "netns": "network namespaces need root and iproute2",
}


def _required() -> frozenset[str]:
    names = frozenset(name.strip() for name in os.environ.get("ALTHING_REQUIRE", "").split(",") if name.strip())
    unknown = names - _MISSING.keys()
    if unknown:
        raise pytest.UsageError(f"ALTHING_REQUIRE names what nothing needs: {', '.join(sorted(unknown))}")
    return names


def _needs(item: pytest.Item) -> list[str]:
    return [name for name in _MISSING if item.get_closest_marker(f"needs_{name}") is not None]


def pytest_configure(config: pytest.Config) -> None:
    _required()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in _needs(item):
        if toolchain.find(name) is None:
            pytest.skip(_MISSING[name])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A promised tool makes a skip a failure, whoever skipped: this file, a fixture or the test itself."""
    report = yield
    promised = _required().intersection(_needs(item))
    if report.skipped and promised and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but ALTHING_REQUIRE promises {', '.join(promised)}: {reason}"
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`other_python` runs the test once per further interpreter; with none, once, and skipped by its marker."""
    if "other_python" in metafunc.fixturenames:
        found = toolchain.other_pythons()
        if found:
            metafunc.parametrize("other_python", [path for _, path in found], ids=[f"python{v}" for v, _ in found])
        else:
            metafunc.parametrize("other_python", [""], ids=["no-other-python"])


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def pythons() -> tuple[tuple[str, str], ...]:
    """(minor version, path) of every further Python >= 3.11 with venv; use with `needs_python`."""
    return toolchain.other_pythons()  # type: ignore[no-any-return]


def _tool(name: str) -> str:
    path = toolchain.find(name)
    if path is None:
        pytest.skip(_MISSING[name])
    return str(path)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of headless Chromium; use with `needs_chromium`."""
    return _tool("chromium")


@pytest.fixture(scope="session")
def mosquitto() -> str:
    """Path of the Mosquitto broker, whose clients are on the PATH; use with `needs_mosquitto`."""
    return _tool("mosquitto")


@pytest.fixture(scope="session")
def go() -> str:
    """Path of the Go tool; use with `needs_go`."""
    return _tool("go")


@pytest.fixture(scope="session")
def cc() -> str:
    """Path of a C compiler; use with `needs_cc`."""
    return _tool("cc")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A TCP port of 127.0.0.1 that nobody listens on, a different one at each call of the same test.

    Only for programs that cannot bind port 0 themselves: between this answer and their bind, another may take it.
    """
    given: set[int] = set()

    def ask() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in given:
                given.add(port)
                return port

    return ask
