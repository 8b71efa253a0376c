"""Makes src/althing/consensus/cometbft/proto from the .proto files of the CometBFT version that engine/go.mod pins.

    .venv/bin/python -m pip install --require-hashes -r requirements/protobuf.txt
    .venv/bin/python scripts/make_protobuf.py

Run after a change of that version. `sources.json` keeps the hash of every source; a test compares it with the sources
of the pinned version. The protobuf compiler comes with grpcio-tools and is not needed for anything else.
"""

# ruff: noqa: S603 -- every command here is a fixed list; no word of it comes from outside

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import setup
import setup_engine

PACKAGE = "althing.consensus.cometbft.proto"
TARGET = setup.ROOT / "src" / Path(*PACKAGE.split("."))
SOURCES = {
    "github.com/cosmos/gogoproto": (".", ["gogoproto/gogo.proto"]),
    "github.com/cometbft/cometbft": (
        "proto",
        [
            "tendermint/abci/types.proto",
            "tendermint/crypto/keys.proto",
            "tendermint/crypto/proof.proto",
            "tendermint/types/evidence.proto",
            "tendermint/types/params.proto",
            "tendermint/types/types.proto",
            "tendermint/types/validator.proto",
            "tendermint/version/types.proto",
        ],
    ),
}
# Both forms that the compiler writes, in modules and in stubs.
_IMPORT = re.compile(r"^(from|import) (gogoproto|tendermint)\b", re.MULTILINE)
_INIT = '"""Generated from CometBFT\'s .proto files by scripts/make_protobuf.py; not for editing."""\n'


def main() -> int:
    folders = {module: module_folder(module) for module in SOURCES}
    files = {name: folders[module] / below / name for module, (below, names) in SOURCES.items() for name in names}
    with tempfile.TemporaryDirectory() as made:
        sources, output = Path(made) / "sources", Path(made) / "output"
        output.mkdir()
        for name, path in files.items():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, sources / name)
        own = resources.files("grpc_tools") / "_proto"
        places = [f"-I{sources}", f"-I{own}", f"--python_out={output}", f"--pyi_out={output}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *places, *files], check=True)
        shutil.rmtree(TARGET, ignore_errors=True)
        for path in sorted(output.rglob("*_pb2.py*")):
            target = TARGET / path.relative_to(output)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_IMPORT.sub(rf"\1 {PACKAGE}.\2", path.read_text()))
    for folder in [TARGET, *(path for path in TARGET.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text(_INIT)
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}
    document = {"cometbft": setup_engine.pinned_version(), "sha256": hashes}
    (TARGET / "sources.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


def module_folder(module: str) -> Path:
    """Where Go keeps the pinned version of a module, fetched if it is not there."""
    done = subprocess.run(
        [setup_engine.find_go(), "mod", "download", "-json", module],
        cwd=setup_engine.SOURCE,
        env=setup_engine.go_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(json.loads(done.stdout)["Dir"])


if __name__ == "__main__":
    sys.exit(main())
