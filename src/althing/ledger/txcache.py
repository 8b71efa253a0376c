"""Transactions and bundles parsed once: admission, proposals and execution on one node see the same bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from althing.protocol.bundle import Bundle, parse_bundle
from althing.protocol.catalog import MESSAGE_TYPES, MessageBody
from althing.protocol.errors import ProtocolError
from althing.protocol.transaction import SignedTransaction, parse_transaction

__all__ = ["BundleCache", "ParsedBundle", "TxCache"]

Types = Mapping[str, type[MessageBody]]

_BYTES_MAX: Final = 64 * 1024 * 1024  # of encoded transactions; parsed ones take a few times as much
_BUNDLES_MAX: Final = 16  # those of the next few blocks


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


@dataclass(frozen=True, slots=True)
class ParsedBundle:
    """A bundle and its transactions in order, each parsed or with the reason why it cannot be."""

    bundle: Bundle
    transactions: tuple[SignedTransaction | ProtocolError, ...]
    known: tuple[bool, ...]  # which of them this node had met before it met the bundle
    gas: int  # limits of those that parse, added up


class BundleCache:
    """A bounded memo of a bundle and all it holds: a pure function of bytes, genesis hash and message types."""

    def __init__(self, transactions: TxCache) -> None:
        self._transactions = transactions
        self._entries: OrderedDict[bytes, tuple[Types, ParsedBundle]] = OrderedDict()
        self._lock = threading.Lock()

    def envelope(self, data: bytes, genesis_hash: bytes) -> Bundle:
        """The bundle alone, for those who look at its maker before they look into it; raises as `parse_bundle` does."""
        entry = self._entries.get(data)
        return parse_bundle(data, genesis_hash) if entry is None else entry[1].bundle

    def parse(
        self, data: bytes, genesis_hash: bytes, types: Types = MESSAGE_TYPES, *, envelope: Bundle | None = None
    ) -> ParsedBundle:
        """The parsed bundle; raises as `parse_bundle` does. `envelope` is what that method gave for these bytes."""
        entry = self._entries.get(data)
        if entry is not None and entry[0] is types:
            return entry[1]
        bundle = parse_bundle(data, genesis_hash) if envelope is None else envelope
        known = tuple(raw in self._transactions for raw in bundle.transactions)
        transactions: list[SignedTransaction | ProtocolError] = []
        gas = 0
        for raw in bundle.transactions:
            try:
                found = self._transactions.parse(raw, genesis_hash, types)
            except ProtocolError as exc:
                transactions.append(exc)
            else:
                transactions.append(found)
                gas += found.transaction.gas_limit
        parsed = ParsedBundle(bundle, tuple(transactions), known, gas)
        with self._lock:
            self._entries[data] = (types, parsed)
            if len(self._entries) > _BUNDLES_MAX:
                self._entries.popitem(last=False)
        return parsed

    def forget(self, data: bytes) -> None:
        """The bundle was executed."""
        with self._lock:
            self._entries.pop(data, None)
