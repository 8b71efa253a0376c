"""The same blocks give the same roots: on every backend, under every hash seed, whatever a node has seen before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from althing.ledger.app import Ledger
from althing.protocol.messages.governance import Genesis
from althing.protocol.receipt import Receipt
from althing.storage.lmdb import LmdbBackend
from althing.storage.memory import MemoryBackend

from .golden_chain import make, replay

HERE = Path(__file__).resolve().parent
GOLDEN: dict[str, Any] = json.loads((HERE / "golden_chain.json").read_text(encoding="ascii"))
EXPECTED = [{name: block[name] for name in ("app_hash", "results", "validators")} for block in GOLDEN["blocks"]]


def test_the_golden_chain_is_worth_replaying() -> None:
    """It holds successes, refusals of many kinds, refused bundles, blocks that change nothing, and validators."""
    ledger = Ledger(MemoryBackend(), Genesis.from_bytes(bytes.fromhex(GOLDEN["genesis"])))
    ledger.init_chain()
    codes: set[str] = set()
    for height, block in enumerate(GOLDEN["blocks"], 1):
        items = tuple(map(bytes.fromhex, block["items"]))
        result = ledger.finalize(height, int(block["time"]), bytes.fromhex(block["hash"]), items).result
        ledger.commit()
        codes |= {bundle.log for bundle in result.bundles if bundle.code}
        codes |= {Receipt.from_bytes(data).code for bundle in result.bundles for data in bundle.receipts}
    assert codes >= {
        "",
        "auth.account",
        "auth.governors",
        "auth.organisation",
        "bundle.node",
        "cose.tag",
        "governance.crossed",
        "quota.bytes",
        "streams.exists",
        "streams.sequence",
        "tx.expired",
        "tx.out_of_gas",
        "tx.replayed",
        "tx.signature",
        "tx.suspended",
        "tx.unknown_account",
        "tx.unknown_key",
    }, sorted(codes)
    roots = [block["app_hash"] for block in EXPECTED]
    assert len(roots) - len(set(roots)) > 2, "blocks without content"
    assert any(block["validators"] for block in EXPECTED)


def test_the_golden_chain_is_still_made_from_the_same_bytes() -> None:
    """Formats and rules have not moved without the golden file moving along."""
    assert make() == GOLDEN


@pytest.mark.parametrize("reopen", [False, True], ids=["at once", "restarted"])
def test_roots_in_memory(reopen: bool) -> None:
    assert replay(GOLDEN, MemoryBackend(), reopen=reopen) == EXPECTED


@pytest.mark.parametrize("reopen", [False, True], ids=["at once", "restarted"])
def test_roots_on_lmdb(tmp_path: Path, reopen: bool) -> None:
    backend = LmdbBackend(tmp_path / "state", durable=False)
    assert replay(GOLDEN, backend, reopen=reopen) == EXPECTED
    backend.close()


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_roots_under_other_hash_seeds(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "golden_chain.py"), "replay"],
        input=json.dumps(GOLDEN),
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == EXPECTED
