"""The session store: what must survive a kill, as records under keys (MQTT 5 §4.1), and the one kept in memory.

The port is deliberately small: everything is read once at start, and groups of changes are written atomically. What
the records mean is in `records.py`; when they are written is in `journal.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

__all__ = ["KEY_BYTES_MAX", "MemorySessionStore", "SessionStore"]

KEY_BYTES_MAX = 64


class SessionStore(Protocol):
    """Records under keys of at most 64 bytes; values are never empty."""

    @property
    def blocking(self) -> bool:
        """True when `write` waits for a disk and belongs in a thread."""
        ...

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        """All records, in the order of their keys. Called once, before any write."""
        ...

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Make all changes (None deletes; deleting what is absent is fine) durable together, or raise
        SessionStoreError with none of them made. Calls never overlap; they may come from another thread."""
        ...

    def close(self) -> None: ...


class MemorySessionStore:
    """Survives a restart of the server object in the same process, nothing more."""

    blocking = False

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        return sorted(self._records.items())

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            assert 0 < len(key) <= KEY_BYTES_MAX
            if value is None:
                self._records.pop(key, None)
            else:
                assert value
                self._records[key] = value

    def close(self) -> None:
        pass
