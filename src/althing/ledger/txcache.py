"""Transactions parsed once: admission and execution on one node see the same bytes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from althing.protocol.catalog import MESSAGE_TYPES, MessageBody
from althing.protocol.transaction import SignedTransaction, parse_transaction

__all__ = ["TxCache"]

Types = Mapping[str, type[MessageBody]]

_BYTES_MAX: Final = 64 * 1024 * 1024  # of encoded transactions; parsed ones take a few times as much


class TxCache:
    """A bounded memo of `parse_transaction`, a pure function of bytes and genesis hash."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[Types, SignedTransaction]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, data: object) -> bool:
        """True when these bytes were parsed here before and not forgotten: admitted, or checked in another's bundle."""
        return data in self._entries

    def parse(self, data: bytes, genesis_hash: bytes, types: Types = MESSAGE_TYPES) -> SignedTransaction:
        """The parsed transaction; raises as `parse_transaction` does. What other rules made of it does not count."""
        entry = self._entries.get(data)
        if entry is None or entry[0] is not types:
            found = parse_transaction(data, genesis_hash, types)
            with self._lock:
                if self._bytes + len(data) > _BYTES_MAX:
                    self._entries.clear()
                    self._bytes = 0
                if data not in self._entries:
                    self._bytes += len(data)
                self._entries[data] = (types, found)
            return found
        return entry[1]

    def forget(self, data: bytes) -> None:
        """The transaction was executed or refused."""
        with self._lock:
            if self._entries.pop(data, None) is not None:
                self._bytes -= len(data)
