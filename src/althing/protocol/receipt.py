"""Receipts: what became of a transaction. One each, whatever happens (docs/spec/transactions.md, "Receipts")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.protocol.codec import Item
from althing.protocol.limits import BUNDLE_TXS_MAX
from althing.protocol.merkle import leaf_hash, root_of
from althing.protocol.record import HASH, UINT, Form, Record, array, integer, of, record, text

__all__ = ["Event", "Receipt", "receipts_root"]

# Attribute values are what `codec` carries as leaves; the form only keeps containers out.
VALUE: Final = Form(lambda v: v, lambda v: _value(v))


def _value(item: Item) -> Item:
    if type(item) in (int, bytes, str, bool) or item is None:
        return item
    raise ValueError("not an integer, text, bytes, boolean or null")


@dataclass(frozen=True, slots=True)
class Event(Record):
    """Something a transaction made happen: `<module>.<what>` and its values in the order docs/spec/messages.md gives."""

    name: str = of(text(1, 64))
    values: tuple[Item, ...] = of(array(VALUE, 16))


@dataclass(frozen=True, slots=True)
class Receipt(Record):
    """Outcome of a transaction: `code` is empty for success, else the stable code of its refusal; then nothing changed."""

    version: int = of(integer(1, 1))
    tx_id: bytes = of(HASH)
    code: str = of(text(0, 64))
    gas_used: int = of(UINT)
    events: tuple[Event, ...] = of(array(record(Event), 1024))

    @property
    def ok(self) -> bool:
        return not self.code


def receipts_root(receipts: list[bytes]) -> bytes:
    """RFC 9162 root over encoded receipts of a bundle, in the order of its transactions; it is ExecTxResult.data."""
    assert len(receipts) <= BUNDLE_TXS_MAX
    return root_of([leaf_hash(receipt) for receipt in receipts])
