"""The port between the state store and whatever keeps its bytes, and the identity check every store begins with.

A backend holds named tables of byte strings. It offers exactly two things: a snapshot-consistent read, and a write
of one batch over several tables that is atomic and durable. Everything else (versions, roots, proofs) is above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from althing.protocol.errors import StateError

__all__ = ["KEY_BYTES_MAX", "TABLES_MAX", "Backend", "Batch", "Snapshot", "bind_identity"]

KEY_BYTES_MAX: Final = 511  # LMDB's compiled-in limit; other backends keep to it
TABLES_MAX: Final = 64  # LMDB scans its handles linearly; nobody needs more

Batch = Mapping[str, Mapping[bytes, bytes | None]]
"""table → key → value to put, or None to delete. Deleting an absent key is no error."""

_IDENTITY: Final = "identity"
_FORMAT: Final = b"format"
_CHAIN: Final = b"chain"


class Snapshot(Protocol):
    """All reads see one committed state. Belongs to one thread at a time; dead after its `with` block."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None. A table never written is empty."""
        ...

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """As many answers as keys, in their order; fastest when the keys are sorted."""
        ...

    def scan(
        self, table: str, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Entries with start <= key < stop in byte order, or in the opposite order; `stop` None is open."""
        ...


class Backend(Protocol):
    """One writer, any number of readers. Methods may be called from any thread.

    `write` has reached the disk when it returns (unless opened with durable=False; then `sync` is the moment).
    After a crash the backend holds the state of some `write` that had returned, or of the one under way, whole.
    """

    @property
    def readonly(self) -> bool:
        """True when `write` would be refused."""
        ...

    def read(self) -> AbstractContextManager[Snapshot]:
        """Open a snapshot. Keep it short: a long one keeps old pages from being used again."""
        ...

    def write(self, batch: Batch) -> None:
        """Apply all of `batch` or nothing. StateError `state.disk_full`, `state.read_only`, `state.io`."""
        ...

    def sync(self) -> None:
        """Force everything written so far to disk; returns at once when every write already is."""
        ...

    def bytes_used(self) -> int:
        """What the data occupies, for metrics."""
        ...

    def close(self) -> None:
        """Release files and locks. Idempotent; open snapshots must be finished first."""
        ...


def bind_identity(backend: Backend, *, chain: bytes, format_version: int) -> None:
    """Claim an empty backend for (chain, format), or check that it is ours.

    Raises `state.foreign_chain`, `state.newer_format`, `state.older_format`, and `state.uninitialised` for an empty
    read-only one.
    """
    with backend.read() as snapshot:
        found_chain = snapshot.get(_IDENTITY, _CHAIN)
        found_format = snapshot.get(_IDENTITY, _FORMAT)
    if found_chain is None or found_format is None:
        if backend.readonly:
            raise StateError(
                "state.uninitialised",
                "this state was never written",
                hint="start the node once, or point to its data directory",
            )
        backend.write({_IDENTITY: {_CHAIN: chain, _FORMAT: format_version.to_bytes(4, "big")}})
        return
    if found_chain != chain:
        raise StateError(
            "state.foreign_chain",
            f"this state belongs to chain {found_chain.hex()[:16]}, not to {chain.hex()[:16]}",
            hint="use the data directory of this chain, or an empty one",
        )
    found = int.from_bytes(found_format, "big")
    if found > format_version:
        raise StateError(
            "state.newer_format",
            f"this state has format {found}, this program knows {format_version}",
            hint="upgrade the program",
        )
    if found < format_version:
        raise StateError(
            "state.older_format",
            f"this state was written by an older program: it has format {found}, this program reads {format_version}",
            hint="go on with the older program, or set the state aside (of a home: node/state), and a node makes it anew from "
            "the blocks; a demo begins anew in another --home",
        )
