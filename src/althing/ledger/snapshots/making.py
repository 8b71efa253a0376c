"""What a snapshot holds: all of the state map, and of the side tables what execution goes on from.

1. `STATE`: the state map in key order.
2. `IDS`: executed ids of the buckets whose digest is in the state, by bucket and height.
3. `PEAK`: of each log under a root in the state the nodes that the next append needs; entries stay with who has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from althing.ledger.modules.streams.state import HEADS, log_name
from althing.ledger.runtime import logs
from althing.ledger.runtime.headers import HEADER_LOG, HEADERS
from althing.ledger.runtime.overlay import State
from althing.ledger.runtime.replay import EXECUTED_IDS, ID_BYTES, Bucket, buckets
from althing.ledger.snapshots.format import IDS, PEAK, STATE, Entry
from althing.ledger.state.store import StateStore
from althing.protocol.errors import StateError

__all__ = ["content", "state_logs"]

_IDS_OF_A_RECORD: Final = 16_384  # a block's ids may be more than a record's value
_ROWS: Final = 64  # rows of ids read at once


def content(store: StateStore, state: State, version: int) -> Iterator[Entry]:
    """The records of the snapshot at `version`, of which `state` is the view. Lazy, in bounded memory.

    The caller sees to it that meanwhile neither the version nor the ids of its buckets are dropped (`Ledger.hold`).
    """
    for key, value in store.iterate(version):  # 1
        yield STATE, key, value
    for number, bucket in buckets(state):  # 2
        yield from _ids(store, number, bucket, version)
    for log, size, _ in state_logs(state):  # 3
        for level, index in reversed(logs.peaks(size)):  # ascending keys, as all of the stream
            key = logs.node_key(log, level, index)
            node = state.side_get(logs.LOG_NODES, key)
            if node is None:
                raise StateError("state.log_damaged", "a log's node is missing from this node's store", hint="restore")
            yield PEAK, key, node


def state_logs(state: State) -> Iterator[tuple[bytes, int, bytes]]:
    """Every log under the state: its name, size and root, ascending by name."""
    head = HEADERS.get(state, b"")
    if head is not None:
        yield HEADER_LOG, head.size, head.root
    for own, stream in HEADS.scan(state):
        yield log_name(int.from_bytes(own, "big")), stream.log_size, stream.log_root


def _ids(store: StateStore, number: int, bucket: Bucket, version: int) -> Iterator[Entry]:
    """Rows up to the version: later blocks have added to the bucket meanwhile."""
    low, high = number.to_bytes(8, "big"), number.to_bytes(8, "big") + (version + 1).to_bytes(8, "big")
    found = 0
    while True:
        rows = []
        with store.backend.read() as snapshot:
            for key, ids in snapshot.scan(EXECUTED_IDS, low, high):
                rows.append((key, ids))
                if len(rows) == _ROWS:
                    break
        for key, ids in rows:
            for at in range(0, len(ids), _IDS_OF_A_RECORD * ID_BYTES):
                yield IDS, key, ids[at : at + _IDS_OF_A_RECORD * ID_BYTES]
            found += len(ids) // ID_BYTES
        if len(rows) < _ROWS:
            break
        low = rows[-1][0] + b"\x00"
    if found != bucket.count:
        raise StateError(
            "state.ids_damaged",
            f"replay bucket {number} names {bucket.count} executed transactions, {found} are stored",
            hint="restore a backup",
        )
