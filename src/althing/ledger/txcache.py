"""Transactions parsed once: admission and execution on one node see the same bytes."""

from __future__ import annotations

from typing import Final

from althing.protocol.transaction import SignedTransaction, parse_transaction

__all__ = ["TxCache"]

_ENTRIES_MAX: Final = 50_000


class TxCache:
    """A bounded memo of `parse_transaction`, a pure function of bytes and genesis hash."""

    def __init__(self) -> None:
        self._entries: dict[bytes, SignedTransaction] = {}

    def parse(self, data: bytes, genesis_hash: bytes) -> SignedTransaction:
        """The parsed transaction; raises as `parse_transaction` does."""
        found = self._entries.get(data)
        if found is None:
            found = parse_transaction(data, genesis_hash)
            if len(self._entries) >= _ENTRIES_MAX:  # all at once: one operation, safe beside other threads
                self._entries.clear()
            self._entries[data] = found
        return found

    def forget(self, data: bytes) -> None:
        """The transaction was executed."""
        self._entries.pop(data, None)
