"""The protobuf modules that are checked in were made from the sources of the version that engine/go.mod pins."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_go, pytest.mark.timeout(300)]


def folder(root: Path, go: str, module: str) -> Path:
    environment = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="")
    command = [go, "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=root / "engine", env=environment, stdout=subprocess.PIPE, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def test_sources_are_those_of_the_pinned_version(root: Path, go: str) -> None:
    made = json.loads((root / "src/althing/consensus/cometbft/proto/sources.json").read_text())
    cometbft = folder(root, go, "github.com/cometbft/cometbft") / "proto"
    gogoproto = folder(root, go, "github.com/cosmos/gogoproto")
    assert len(made["sha256"]) == 9
    for name, expected in made["sha256"].items():
        source = (gogoproto if name.startswith("gogoproto/") else cometbft) / name
        assert hashlib.sha256(source.read_bytes()).hexdigest() == expected, name
