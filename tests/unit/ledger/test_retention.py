"""What leaves the side tables: contents of ended buckets, and receipts a node keeps no longer; never the state's root."""

from __future__ import annotations

from hashlib import sha256

import pytest

from althing.ledger.app import Ledger
from althing.ledger.query import find_transaction
from althing.ledger.retention import KEEP_RECEIPTS_MIN_S
from althing.ledger.runtime.errors import NotFoundError, PrunedError
from althing.ledger.runtime.replay import BUCKET_S, Bucket
from althing.protocol.messages.identity import SetAttribute
from althing.protocol.transaction import parse_transaction
from althing.storage.memory import MemoryBackend
from althing.testing.harness import LedgerHarness


def note(chain: LedgerHarness, value: str = "x") -> SetAttribute:
    return SetAttribute(chain.admin.address, "note", value)


def rows(chain: LedgerHarness, table: str) -> dict[bytes, bytes]:
    with chain.backend.read() as snapshot:
        return dict(snapshot.scan(table))


def buckets(chain: LedgerHarness) -> dict[int, Bucket]:
    prefix = b"runtime/executed/"
    entries = chain.ledger.store.iterate()
    return {int.from_bytes(k[len(prefix) :], "big"): Bucket.from_bytes(v) for k, v in entries if k.startswith(prefix)}


def keeping(chain: LedgerHarness, seconds: int | None) -> LedgerHarness:
    chain.ledger = Ledger(chain.backend, chain.genesis, keep_receipts_s=seconds)
    return chain


def test_the_contents_of_a_bucket_give_its_digest(chain: LedgerHarness) -> None:
    """So a snapshot can carry them, and whoever takes it checks them against the state."""
    for at in range(6):
        chain.block(*(chain.sign(chain.admin, note(chain), expiry=chain.time_s + 60 * (i % 3) + 90) for i in range(5)))
        chain.block(seconds=1 + at)
    found = buckets(chain)
    assert len(found) >= 3
    digests: dict[int, tuple[int, bytes]] = {}
    for key, ids in sorted(rows(chain, "executed_ids").items()):
        number = int.from_bytes(key[:8], "big")
        count, digest = digests.get(number, (0, bytes(32)))
        for start in range(0, len(ids), 32):
            count, digest = count + 1, sha256(digest + ids[start : start + 32]).digest()
        digests[number] = (count, digest)
    assert {n: (bucket.count, bucket.digest) for n, bucket in found.items()} == {n: digests[n] for n in found}


def test_an_ended_bucket_leaves_state_and_side_table(chain: LedgerHarness) -> None:
    chain.block(*(chain.sign(chain.admin, note(chain), expiry=chain.time_s + 50) for _ in range(3)))
    soon = ((chain.time_s + 49) // BUCKET_S).to_bytes(8, "big")
    before = {key for key in rows(chain, "executed_ids") if key[:8] <= soon}
    assert before
    chain.block(chain.sign(chain.admin, note(chain)), seconds=BUCKET_S * 3)
    chain.block(chain.sign(chain.admin, note(chain)))
    live = chain.time_s // BUCKET_S
    assert min(buckets(chain)) >= live
    assert before <= set(rows(chain, "executed_ids"))  # for a rollback to a version whose state still names them
    chain.ledger.store.prune(1)
    chain.block(chain.sign(chain.admin, note(chain)))
    assert all(int.from_bytes(key[:8], "big") >= live for key in rows(chain, "executed_ids"))
    assert before.isdisjoint(rows(chain, "executed_ids"))


def test_the_work_of_a_block_is_bounded(chain: LedgerHarness) -> None:
    """Hundreds of rows that end at once leave a few at a time, and the rest shrinks with every block."""
    for at in range(600):
        chain.block(chain.sign(chain.admin, note(chain), expiry=chain.time_s + 590 - at // 2), seconds=0)
    assert len(rows(chain, "executed_ids")) > 500
    chain.block(chain.sign(chain.admin, note(chain)), seconds=1000)  # the digests leave with this block
    chain.ledger.store.prune(1)  # and so do the versions that had them
    sizes = []
    while not sizes or sizes[-1] > 20:
        chain.block(chain.sign(chain.admin, note(chain)))
        sizes.append(len(rows(chain, "executed_ids")))
    assert len(sizes) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 200


def test_receipts_are_kept_as_long_as_configured() -> None:
    chain = keeping(LedgerHarness(), KEEP_RECEIPTS_MIN_S)
    old = chain.sign(chain.admin, note(chain))
    chain.block(old)
    height, tx_id = chain.height, parse_transaction(old, chain.genesis_hash).id
    chain.block(chain.sign(chain.admin, note(chain)), seconds=KEEP_RECEIPTS_MIN_S - 10)
    assert chain.ledger.outcome(height).receipts
    assert find_transaction(chain.ledger.store, tx_id).height == height
    chain.block(chain.sign(chain.admin, note(chain)), seconds=20)
    with pytest.raises(PrunedError) as caught:
        chain.ledger.outcome(height)
    assert caught.value.code == "query.outcome_pruned"
    assert f"height {height + 1}" in caught.value.message
    with pytest.raises(NotFoundError, match=f"since height {height + 1}"):
        find_transaction(chain.ledger.store, tx_id)
    chain.block()
    with pytest.raises(NotFoundError, match=r"query\.no_outcome"):
        chain.ledger.outcome(chain.height)
    # Nor can it be executed again.
    assert chain.block(old)[0].code == "tx.expired"
    assert {key[:8] for key in rows(chain, "outcomes")} == {h.to_bytes(8, "big") for h in (3, 4, 6)}


def test_an_id_refused_first_and_executed_later_stays_known() -> None:
    chain = keeping(LedgerHarness(), KEEP_RECEIPTS_MIN_S)
    data = chain.sign(chain.admin, note(chain), expiry=chain.time_s + KEEP_RECEIPTS_MIN_S)
    assert chain.block(data)[0].code == "tx.expiry"
    chain.block(chain.sign(chain.admin, note(chain)), seconds=KEEP_RECEIPTS_MIN_S - 400)
    assert chain.block(data)[0].ok
    height = chain.height
    for _ in range(3):
        chain.block(chain.sign(chain.admin, note(chain)), seconds=150)
    with pytest.raises(PrunedError):
        chain.ledger.outcome(height - 2)
    found = find_transaction(chain.ledger.store, parse_transaction(data, chain.genesis_hash).id)
    assert found.height == height


def test_retention_is_each_nodes_own_and_never_in_the_state() -> None:
    """Two nodes, one that keeps all and one that keeps a day, come to the same roots."""
    keeper, dropper = LedgerHarness(), keeping(LedgerHarness(), KEEP_RECEIPTS_MIN_S)
    for chain in (keeper, dropper):
        for at in range(40):
            data = chain.sign(chain.admin, note(chain, str(at)), expiry=chain.time_s + 9_100)
            chain.block(data, seconds=9_000)
            chain.ledger.store.prune(1)
    assert [block.app_hash for block in keeper.blocks] == [block.app_hash for block in dropper.blocks]
    assert len(rows(keeper, "outcomes")) == 41
    assert len(rows(dropper, "outcomes")) == len(rows(dropper, "executed")) == 10
    assert len(rows(keeper, "executed_ids")) == len(rows(dropper, "executed_ids")) <= 2


def test_receipts_outlive_the_time_a_transaction_can_live() -> None:
    with pytest.raises(AssertionError):
        Ledger(MemoryBackend(), LedgerHarness().genesis, keep_receipts_s=KEEP_RECEIPTS_MIN_S - 1)
