"""Transactions parsed once: admission and execution on one node see the same bytes."""

from __future__ import annotations

import threading
from typing import Final

from althing.protocol.transaction import SignedTransaction, parse_transaction

__all__ = ["TxCache"]

_BYTES_MAX: Final = 64 * 1024 * 1024  # of encoded transactions; parsed ones take a few times as much


class TxCache:
    """A bounded memo of `parse_transaction`, a pure function of bytes and genesis hash."""

    def __init__(self) -> None:
        self._entries: dict[bytes, SignedTransaction] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, data: object) -> bool:
        """True when these bytes were parsed here before and not forgotten: admitted, or checked in another's bundle."""
        return data in self._entries

    def parse(self, data: bytes, genesis_hash: bytes) -> SignedTransaction:
        """The parsed transaction; raises as `parse_transaction` does."""
        found = self._entries.get(data)
        if found is None:
            found = parse_transaction(data, genesis_hash)
            with self._lock:
                if self._bytes + len(data) > _BYTES_MAX:
                    self._entries.clear()
                    self._bytes = 0
                if data not in self._entries:
                    self._bytes += len(data)
                self._entries[data] = found
        return found

    def forget(self, data: bytes) -> None:
        """The transaction was executed or refused."""
        with self._lock:
            if self._entries.pop(data, None) is not None:
                self._bytes -= len(data)
