"""The test engine: CometBFT with another time source and an ear for fsync, both by `go build -overlay`; never shipped."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "github.com/cometbft/cometbft"

# The standard library's `time`: what it says is ALTHING_CLOCK_S seconds off; what it measures is not.
CLOCK = """
var testSeconds = func() int64 {
	text, _ := syscall.Getenv("ALTHING_CLOCK_S")
	seconds, sign := int64(0), int64(1)
	for _, char := range text {
		if char == '-' {
			sign = -1
		} else {
			seconds = 10*seconds + int64(char-'0')
		}
	}
	return sign * seconds
}()
"""

# The standard library's `os`: after each fsync, and before it closes what O_SYNC wrote, the test is told the file's name,
# and notes it as durable before the program goes on.
TELL = """
func testTellClosed(f *File) {
	flags, _, err := syscall.Syscall(syscall.SYS_FCNTL, uintptr(f.pfd.Sysfd), syscall.F_GETFL, 0)
	if err == 0 && int(flags)&syscall.O_SYNC == syscall.O_SYNC {
		testTellSynced(f.name)
	}
}

func testTellSynced(name string) {
	address, found := syscall.Getenv("ALTHING_POWERCUT_SOCKET")
	if !found {
		return
	}
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		panic(err)
	}
	defer syscall.Close(socket)
	if err := syscall.Connect(socket, &syscall.SockaddrUnix{Name: address}); err != nil {
		panic(err)
	}
	if _, err := syscall.Write(socket, []byte(name)); err != nil {
		panic(err)
	}
	if err := syscall.Shutdown(socket, syscall.SHUT_WR); err != nil {
		panic(err)
	}
	var done [1]byte
	syscall.Read(socket, done[:])
}
"""


@pytest.fixture(scope="session")
def test_engine(go):
    """Path of the engine with a clock (ALTHING_CLOCK_S) and an ear (ALTHING_POWERCUT_SOCKET). Built once, some minutes."""
    environment = dict(os.environ, CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-mod=readonly", GOWORK="off")

    def ask(*words):
        done = subprocess.run(
            [go, *words], cwd=ROOT / "engine", env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    library = Path(ask("env", "GOROOT")) / "src"
    changed = {
        library / "time" / "time.go": [
            ('import (\n\t"errors"\n', 'import (\n\t"errors"\n\t"syscall"\n'),
            ("\n// Now returns the current local time.\n", CLOCK + "\n// Now returns the current local time.\n"),
            ("\tsec += unixToInternal - minWall\n", "\tsec += testSeconds + unixToInternal - minWall\n"),
        ],
        library / "os" / "file_posix.go": [
            ("\treturn f.file.close()\n", "\ttestTellClosed(f)\n\treturn f.file.close()\n"),
            ('return f.wrapErr("sync", e)\n\t}\n', 'return f.wrapErr("sync", e)\n\t}\n\ttestTellSynced(f.name)\n'),
            ("\n// Chtimes changes", TELL + "\n// Chtimes changes"),
        ],
    }
    texts = {}
    for path, replacements in changed.items():
        text = path.read_text()
        for old, new in replacements:
            assert text.count(old) == 1, f"{path} has changed: look at {old!r}"
            text = text.replace(old, new)
        texts[path] = text
    sources = [ask("env", "GOVERSION"), (ROOT / "engine" / "go.sum").read_text(), *texts.values()]
    name = hashlib.sha256("\0".join(sources).encode()).hexdigest()[:12]
    binary = Path(sys.prefix) / "engine" / f"cometbft-test-{name}"
    if not binary.exists():
        folder = binary.with_name(f"{binary.name}.{os.getpid()}")
        folder.mkdir(parents=True)
        for number, text in enumerate(texts.values()):
            (folder / f"{number}.go").write_text(text)
        overlay = {str(path): str(folder / f"{number}.go") for number, path in enumerate(texts)}
        (folder / "overlay.json").write_text(json.dumps({"Replace": overlay}))
        ask(
            "build", "-overlay", str(folder / "overlay.json"), "-o", str(folder / "cometbft"), f"{PACKAGE}/cmd/cometbft"
        )
        (folder / "cometbft").rename(binary)
    return binary
