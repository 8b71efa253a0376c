"""What leaves the side tables with a block, in bounded work: contents of ended replay buckets, and old receipts.

Nothing here touches the state map. How long receipts are kept is each node's own decision; an id's row serves replay
protection and the look-up of its receipt, and goes with the receipt, which is kept longer than any transaction can live.
"""

from __future__ import annotations

from typing import Final

from althing.ledger.runtime.replay import BUCKET_S, EXECUTED, EXECUTED_IDS, LIFETIME_BUCKETS, Location
from althing.ledger.state.backend import Snapshot
from althing.protocol.codec import decode
from althing.protocol.receipt import Receipt

__all__ = ["KEEP_RECEIPTS_MIN_S", "OUTCOMES", "Side", "begun_at", "receipts_from", "sweep", "undone"]

OUTCOMES: Final = "outcomes"  # height → CBOR [time in ns, block hash, [[receipt, …] of each bundle, …]]
_RETENTION: Final = "retention"
_FLOOR: Final = b"outcomes"  # receipts below this height are gone
KEEP_RECEIPTS_MIN_S: Final = LIFETIME_BUCKETS * BUCKET_S  # no id can be replayed after it

Side = dict[str, dict[bytes, bytes | None]]


def receipts_from(snapshot: Snapshot) -> int:
    """The height below which receipts are no longer kept; 0 while all are."""
    data = snapshot.get(_RETENTION, _FLOOR)
    return 0 if data is None else int.from_bytes(data, "big")


def begun_at(height: int) -> Side:
    """For a store that begins with the state after `height`: receipts are kept from the next block on."""
    return {_RETENTION: {_FLOOR: (height + 1).to_bytes(8, "big")}}


def sweep(snapshot: Snapshot, *, oldest_bucket: int, keep_from_ns: int | None, rows_max: int) -> Side:
    """What to delete now, about `rows_max` rows at most, oldest first.

    1. Contents of buckets before `oldest_bucket`, whose digests have left the state.
    2. Receipts of blocks before `keep_from_ns`, and the ids they made known; None keeps all.
    """
    side: Side = {EXECUTED_IDS: {}}
    for key, _ in snapshot.scan(EXECUTED_IDS, b"", oldest_bucket.to_bytes(8, "big")):  # 1
        if len(side[EXECUTED_IDS]) >= rows_max:
            break
        side[EXECUTED_IDS][key] = None
    if keep_from_ns is None:
        return side
    outcomes: dict[bytes, bytes | None] = {}
    executed: dict[bytes, bytes | None] = {}
    floor = None
    for key, data in snapshot.scan(OUTCOMES):  # 2
        time_ns, _, bundles = decode(data)
        if time_ns >= keep_from_ns or len(outcomes) + len(executed) >= rows_max:
            break
        height = int.from_bytes(key, "big")
        outcomes[key] = None
        floor = height + 1
        for receipt in (receipt for bundle in bundles for receipt in bundle):
            tx_id = Receipt.from_bytes(receipt).tx_id
            place = snapshot.get(EXECUTED, tx_id)
            # A refused transaction has a receipt too, and its id may have been executed later.
            if place is not None and Location.from_bytes(place).height == height:
                executed[tx_id] = None
    if floor is not None:
        side |= {OUTCOMES: outcomes, EXECUTED: executed, _RETENTION: {_FLOOR: floor.to_bytes(8, "big")}}
    return side


def undone(snapshot: Snapshot, version: int) -> Side:
    """What blocks after `version` have added to the side tables, to delete: else their transactions would be replays.

    Nodes and entries of logs stay: the same blocks write the same again, and a root in the state names which count.
    """
    side: Side = {OUTCOMES: {}, EXECUTED: {}, EXECUTED_IDS: {}}
    for key, data in snapshot.scan(OUTCOMES, (version + 1).to_bytes(8, "big")):
        side[OUTCOMES][key] = None
        for receipt in (receipt for bundle in decode(data)[2] for receipt in bundle):
            tx_id = Receipt.from_bytes(receipt).tx_id
            place = snapshot.get(EXECUTED, tx_id)
            if place is not None and Location.from_bytes(place).height > version:
                side[EXECUTED][tx_id] = None
    for key, _ in snapshot.scan(EXECUTED_IDS):
        if int.from_bytes(key[8:], "big") > version:
            side[EXECUTED_IDS][key] = None
    return side
