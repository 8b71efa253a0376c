"""What the pipeline has to remember beside its log: how far messages are anchored, and the batch that is frozen.

Both are small files that are replaced whole. The checkpoint (sequences, used counters and keys) lets segments go.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import cbor2

from althing.gateway.errors import SpoolCorruptError
from althing.gateway.spool.segment import Position, write_atomically
from althing.service.faultpoints import hit

__all__ = [
    "Checkpoint",
    "FrozenBatch",
    "PipelineState",
    "load_checkpoint",
    "load_state",
    "save_checkpoint",
    "save_state",
]

STATE_FILE: Final = "pipeline.cbor"
CHECKPOINT_FILE: Final = "checkpoint.cbor"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FrozenBatch:
    """A batch as it was fixed before its first submission: a range of the log, and the seed that its salts come from.

    With the log it rebuilds to the same leaves and root, as often as needed. `excluded` are numbers of streams whose
    messages in the range are kept back (see anchoring). `expiry` is the latest one of all transactions submitted.
    """

    number: int
    start: Position
    end: Position
    seed: bytes
    root: bytes
    size: int
    excluded: tuple[int, ...] = ()
    expiry: int = 0


@dataclass(frozen=True, slots=True)
class PipelineState:
    """Messages before `confirmed` are anchored and proved. `next_number` is what the next anchor is expected to have."""

    genesis_hash: bytes
    confirmed: Position
    next_number: int
    frozen: FrozenBatch | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the log before `position` left behind: next sequence of each stream, and the dump of the dedup index."""

    position: Position
    group: int
    sequences: dict[str, int]
    index: list[Any]


def save_state(folder: Path, state: PipelineState) -> None:
    frozen = state.frozen
    item = [
        _VERSION,
        state.genesis_hash,
        list(state.confirmed),
        state.next_number,
        None
        if frozen is None
        else [
            frozen.number,
            list(frozen.start),
            list(frozen.end),
            frozen.seed,
            frozen.root,
            frozen.size,
            list(frozen.excluded),
            frozen.expiry,
        ],
    ]
    hit("state.save")
    _save(folder / STATE_FILE, item)
    hit("state.saved")


def load_state(folder: Path) -> PipelineState | None:
    item = _load(folder / STATE_FILE)
    if item is None:
        return None
    _, genesis_hash, confirmed, number, kept = item
    frozen = None
    if kept is not None:
        own, start, end, seed, root, size, excluded, expiry = kept
        frozen = FrozenBatch(own, Position(*start), Position(*end), seed, root, size, tuple(excluded), expiry)
    return PipelineState(genesis_hash, Position(*confirmed), number, frozen)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    sequences = [[stream, sequence] for stream, sequence in checkpoint.sequences.items()]
    hit("checkpoint.save")
    _save(
        folder / CHECKPOINT_FILE,
        [_VERSION, list(checkpoint.position), checkpoint.group, sequences, checkpoint.index],
    )
    hit("checkpoint.saved")


def load_checkpoint(folder: Path) -> Checkpoint | None:
    item = _load(folder / CHECKPOINT_FILE)
    if item is None:
        return None
    _, position, group, sequences, index = item
    return Checkpoint(Position(*position), group, dict(sequences), index)


def _save(path: Path, item: list[Any]) -> None:
    data: bytes = cbor2.dumps(item)
    write_atomically(path, sha256(data).digest() + data)


def _load(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < 33 or sha256(data[32:]).digest() != data[:32]:
        raise SpoolCorruptError(path, 0, "the file does not match its checksum")
    item = cbor2.loads(data[32:])
    if item[0] != _VERSION:
        raise SpoolCorruptError(path, 32, f"the file is of version {item[0]}")
    return item
