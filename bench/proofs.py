"""Proof files: bytes beyond the message, time to build and to verify, over many keys and large batches.

A chain in process, with real blocks and one validator; batches of 10^4 messages of one stream each, so that the paths are
as long as they get, and a state of so many keys around them.
"""

from __future__ import annotations

import time
from pathlib import Path
from unittest.mock import patch

from nacl.bindings import crypto_sign_open
from rich.console import Console

from althing.ledger.state.store import StateStore
from althing.light.verifier import verify_proof
from althing.protocol.hashing import sha256
from althing.protocol.message import sign_message
from althing.protocol.signatures import PrivateKey, Suite
from althing.storage.lmdb import LmdbBackend
from althing.testing.harness import seeded_key
from althing.testing.proofs import ProofChain
from bench.figures import Figure, at_most, median, reported

__all__ = ["measure"]

_KEYS_A_BLOCK = 20_000


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    keys, leaves, batches = (20_000, 500, 3) if quick else (1_000_000, 10_000, 4)
    chain = ProofChain(backend=LmdbBackend(folder / "state", durable=False))
    device = chain.device("press-1", seeded_key("press-1"))
    chain.define("press-1", "temperature")
    console.log(f"{keys:,} keys")
    fill(chain, keys)
    stream = "press-1/temperature"
    bodies: dict[int, bytes] = {}
    counter = 0
    for batch in range(batches):
        for _ in range(leaves):
            body = sign_message(device.key, chain.genesis_hash, chain.chain_id, stream, counter, b"x" * 100)
            bodies[counter] = body
            chain.send(stream, body)
            counter += 1
        chain.anchor()
        console.log(f"batch {batch + 1} of {leaves:,} messages")
    trust = chain.trust()
    sizes, builds, verifies, limits = [], [], [], []
    for at in range(60):
        sequence = at * 7919 % counter
        began = time.perf_counter()
        proof = chain.proof(stream, sequence).to_bytes()
        middle = time.perf_counter()
        found = verify_proof(proof, trust)
        verifies.append((time.perf_counter() - middle) * 1e3)
        builds.append((middle - began) * 1e3)
        sizes.append(len(proof) - len(bodies[sequence]))
        assert found.leaf.body == bodies[sequence]
        limits.append(3 * one_check_ms() + 2)
    name = f"proof, {keys:,} keys, batches of {leaves:,}"
    ratio = median(took / limit for took, limit in zip(verifies, limits, strict=True))
    limit_text = f"3 signature checks + 2 ms ({median(limits):.2f} ms)"
    return [
        at_most(f"{name}: bytes beyond the message", max(sizes), "B", 6 * 1024),
        reported(f"{name}: built in process", median(builds), "ms"),
        at_most(f"{name}: verified", median(verifies), "ms", 1, limit_text, ratio),
    ]


def fill(chain: ProofChain, keys: int) -> None:
    """Blocks that also write so many other keys, whoever might have written them: what counts is how many there are."""
    store = chain.ledger.store
    stage = store.stage
    for start in range(0, keys, _KEYS_A_BLOCK):
        numbers = range(start, min(keys, start + _KEYS_A_BLOCK))
        others: dict[bytes, bytes | None] = {b"bench/%d" % number: sha256(b"%d" % number) for number in numbers}
        with patch.object(
            StateStore, "stage", lambda _, version, writes, others=others: stage(version, {**others, **writes})
        ):
            chain.block()


def one_check_ms() -> float:
    key = PrivateKey(Suite.ED25519, bytes(32))
    message = b"x" * 250
    signed = key.sign(message) + message
    began = time.perf_counter()
    for _ in range(10):
        crypto_sign_open(signed, key.public)
    return (time.perf_counter() - began) * 1e2
