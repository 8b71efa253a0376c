"""Append-only RFC 9162 logs whose nodes lie in side tables, under a size and root in the state map.

A node is stored once, when its perfect subtree is complete, so paths of any size up to the present one can be made,
also for states that have been pruned. The frontier is read back from the nodes: nothing is stored twice.
"""

from __future__ import annotations

from althing.ledger.runtime.overlay import State
from althing.protocol.errors import StateError
from althing.protocol.merkle import Frontier, leaf_hash, log_path

__all__ = ["LOG_ENTRIES", "LOG_NODES", "append", "entry", "node_key", "path", "peaks"]

LOG_NODES = "log_nodes"
LOG_ENTRIES = "log_entries"


def append(state: State, log: bytes, size: int, root: bytes, data: bytes) -> tuple[int, bytes]:
    """Add an entry to `log` of `size` and `root`; its new size and root."""
    frontier = Frontier(size, tuple(_node(state, log, level, index) for level, index in peaks(size)))
    if size and frontier.root != root:
        raise StateError("state.log_damaged", "a log's nodes do not have the root that the state names", hint="restore")
    frontier, made = frontier.append(leaf_hash(data))
    for level, index, value in made:
        state.side_put(LOG_NODES, node_key(log, level, index), value)
    state.side_put(LOG_ENTRIES, log + size.to_bytes(8, "big"), data)
    return frontier.size, frontier.root


def entry(state: State, log: bytes, index: int) -> bytes | None:
    """The bytes of an entry."""
    return state.side_get(LOG_ENTRIES, log + index.to_bytes(8, "big"))


def path(state: State, log: bytes, index: int, size: int) -> list[bytes]:
    """Inclusion path of entry `index` in the log of `size`."""
    return log_path(index, size, lambda level, node: _node(state, log, level, node))


def peaks(size: int) -> list[tuple[int, int]]:
    """Level and index of the nodes that a log of this size goes on from, largest first."""
    found = []
    start = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def _node(state: State, log: bytes, level: int, index: int) -> bytes:
    value = state.side_get(LOG_NODES, node_key(log, level, index))
    if value is None:
        raise StateError("state.log_damaged", "a log's node is missing from this node's store", hint="restore a backup")
    return value


def node_key(log: bytes, level: int, index: int) -> bytes:
    """Key of a node in the side table `LOG_NODES`."""
    return log + bytes((level,)) + index.to_bytes(8, "big")
