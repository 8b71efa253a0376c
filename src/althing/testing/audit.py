"""What must hold of a home after any number of faults, checked on its files with both daemons stopped.

1. Every acknowledged message is anchored, once; so is every other that has an identity, if it is anchored at all.
2. Nothing is anchored that nobody sent; sequences of each stream are contiguous from zero.
3. All blocks, executed again on an empty ledger in memory, give the app hashes that the blocks carry, and the state's.
4. Segments hold: leaves, roots, every decoded column, against the chain's anchors.
5. Proofs of a sample verify against the home's trust file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

from althing.archive.objects import LocalObjects
from althing.archive.reader import ArchiveReader
from althing.archive.verify import verify_archive
from althing.consensus.solo import SoloSettings
from althing.consensus.solo.store import BlockStore
from althing.ledger.app import Ledger
from althing.ledger.query import LedgerView
from althing.ledger.state.store import StateStore
from althing.light.verifier import verify_proof
from althing.node.anchorindex import AnchorIndex
from althing.node.home import Home
from althing.node.offline import offline_proofs
from althing.node.sources import ChainAnchors
from althing.protocol.genesis import genesis_hash
from althing.protocol.trust import parse_trust
from althing.storage.memory import MemoryBackend
from althing.storage.registry import open_backend
from althing.testing.simulator import Identity, Journal

__all__ = ["Audit", "audit", "replay"]

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found; every figure was checked."""

    height: int
    streams: int
    messages: int
    acknowledged: int
    repeated: int  # of messages without identity, which are at least once
    batches: int
    proofs: int


def audit(home: Home, journal: Journal, *, proofs: int = 10, seed: str = "audit") -> Audit:
    """Check everything above, or raise AssertionError that says what does not hold."""
    backend = open_backend("lmdb", home.state_dir, readonly=True)
    objects = LocalObjects(home.archive_dir, read_only=True)
    try:
        store = StateStore(backend)
        anchored, places, streams = _anchored(store, objects)
        repeated = _compare(anchored, journal)
        height = replay(home, store)
        batches = _segments(store, objects, home)
    finally:
        backend.close()
    chosen = Random(seed).sample(places, min(proofs, len(places)))  # noqa: S311 -- a sample to be repeated
    checked = _proofs(home, chosen, anchored, journal)
    total = sum(anchored.values())
    return Audit(height, streams, total, len(journal.acknowledged_bodies), repeated, batches, checked)


def _anchored(store: StateStore, objects: LocalObjects) -> tuple[Counter[bytes], list[tuple[str, int]], int]:
    """How often each body is anchored, the place of each message, and the number of streams."""
    view = LedgerView(store)
    reader = ArchiveReader(objects, anchors=ChainAnchors(store), wait_s=0)
    bodies: Counter[bytes] = Counter()
    places = []
    try:
        count = view.stream_count()
        for number in range(count):
            path, end = view.stream_by_number(number).path, view.head(number).next_sequence
            found = list(reader.messages(number, 0, end))
            assert [one.sequence for one in found] == list(range(end)), f"{path}: sequences are not contiguous"
            for message in found:
                assert message.leaf.sequence == message.sequence, f"{path}: a leaf has another sequence"
                bodies[message.leaf.body] += 1
                places.append((path, message.sequence))
    finally:
        reader.close()
    return bodies, places, count


def _compare(anchored: Counter[bytes], journal: Journal) -> int:
    sent = journal.sent_messages
    strangers = [body for body in anchored if body not in sent]
    assert not strangers, f"{len(strangers)} anchored messages were never sent: {strangers[:_SHOWN]}"
    lost = [sent[body] for body in journal.acknowledged_bodies if body not in anchored]
    assert not lost, f"{len(lost)} acknowledged messages are not anchored: {lost[:_SHOWN]}"
    twice = [sent[body] for body, times in anchored.items() if times > 1 and sent[body].identity is not Identity.NONE]
    assert not twice, f"{len(twice)} messages with an identity are anchored more than once: {twice[:_SHOWN]}"
    refused = [journal.refusals[body] for body in anchored if body in journal.refusals]
    assert not refused, f"{len(refused)} messages were refused and are anchored: {refused[:_SHOWN]}"
    return sum(times - 1 for times in anchored.values())


def replay(home: Home, store: StateStore) -> int:
    """Execute all blocks of a stopped home on an empty ledger, compare every app hash; the height reached."""
    genesis = home.genesis()
    blocks = BlockStore(home.blocks_dir, map_bytes_max=SoloSettings(home.blocks_dir).map_bytes_max)
    try:
        state = blocks.state()
        assert state is not None, "there are no blocks"
        ledger = Ledger(MemoryBackend(), genesis)
        app_hash, _ = ledger.init_chain()
        for height in range(genesis.initial_height, state.height + 1):
            block, results = blocks.block(height), blocks.results(height)
            assert block is not None, f"block {height} is missing"
            assert results is not None, f"results of block {height} are missing"
            assert block.header.app_hash == app_hash, f"the header of block {height} carries another app hash"
            header = block.header
            done = ledger.finalize(height, header.time.ns, header.hash(), block.txs, proposer=header.proposer_address)
            app_hash = done.app_hash
            ledger.commit()
            assert app_hash == results.app_hash, f"block {height} gives another app hash when it is executed again"
            if height == store.latest_version:
                assert app_hash == store.root(), "the state has another root than its blocks give"
        # A node that was stopped in order has executed all it has stored.
        assert store.latest_version == state.height, "the state is behind its blocks"
        return state.height
    finally:
        blocks.close()


def _segments(store: StateStore, objects: LocalObjects, home: Home) -> int:
    batches = 0
    for verified in verify_archive(objects, genesis_hash(home.genesis()), anchors=AnchorIndex(store)):
        assert verified.ok, f"segment {verified.name}: {verified.findings[:_SHOWN]}"
        batches += verified.batches
    return batches


def _proofs(home: Home, places: list[tuple[str, int]], anchored: Counter[bytes], journal: Journal) -> int:
    trust = parse_trust(home.trust_file.read_bytes())
    sent = journal.sent_messages
    with offline_proofs(home) as builder:
        for path, sequence in places:
            verified = verify_proof(builder.proof(path, sequence), trust)
            body = verified.leaf.body
            assert anchored[body], f"the proof of {path} sequence {sequence} is of another message"
            assert sent[body].path == path, f"the proof of {path} sequence {sequence} is of another stream"
    return len(places)
