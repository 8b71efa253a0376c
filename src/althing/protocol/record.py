"""Records: frozen dataclasses with one array form in deterministic CBOR, fields in order of declaration.

A field says its form with `of(...)`; `from_item` accepts exactly what `to_item` makes and raises EncodingError
`record.*` naming class and field otherwise. Messages, state values, receipts and proof parts are records.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import pairwise
from operator import attrgetter
from typing import Any, ClassVar, Final, Self

from cbor2 import dumps

from althing.protocol.address import ADDRESS_BYTES, is_chain_id, is_name
from althing.protocol.codec import Item, decode
from althing.protocol.errors import EncodingError
from althing.protocol.limits import CBOR_BYTES_MAX, CONTENT_TYPE_CHARS_MAX, INT_MAX

__all__ = [
    "ADDRESS",
    "BOOL",
    "CHAIN_ID",
    "CONTENT_TYPE",
    "HASH",
    "NAME",
    "UINT",
    "Form",
    "Record",
    "array",
    "blob",
    "integer",
    "mapping",
    "of",
    "optional",
    "record",
    "text",
    "uint",
]


@dataclass(frozen=True, slots=True)
class Form:
    """How a field stands in CBOR: both functions check, and raise ValueError with a reason."""

    pack: Callable[[Any], Item]
    unpack: Callable[[Item], Any]


def of(form: Form) -> Any:
    """Declare a field's form: `name: str = of(NAME)`."""
    return field(metadata={"form": form})


def _same(check: Callable[[Any], str]) -> Form:
    def through(value: Any) -> Any:
        reason = check(value)
        if reason:
            raise ValueError(reason)
        return value

    return Form(through, through)


# The three forms that most fields have check in one call: a transaction has a dozen of them.


def integer(low: int, high: int) -> Form:
    """An integer from low to high, both included."""

    def through(value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        raise ValueError(f"not an integer from {low} to {high}")

    return Form(through, through)


def uint(high: int = INT_MAX) -> Form:
    """An integer from 0 to `high`."""
    return integer(0, high)


def blob(low: int, high: int) -> Form:
    """A byte string of low to high bytes."""

    def through(value: Any) -> Any:
        if type(value) is bytes and low <= len(value) <= high:
            return value
        raise ValueError(f"not {low} to {high} bytes")

    return Form(through, through)


# Unicode tables differ between Python versions, so only the fixed control and surrogate ranges are named.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def text(low: int, high: int) -> Form:
    """A text string of low to high characters without control characters."""
    control = _CONTROL.search

    def through(value: Any) -> Any:
        # ASCII that can be printed has no control characters, in any version of the tables: nearly all texts are such.
        if (
            type(value) is str
            and low <= len(value) <= high
            and ((value.isascii() and value.isprintable()) or control(value) is None)
        ):
            return value
        raise ValueError(f"not {low} to {high} characters")

    return Form(through, through)


def optional(form: Form) -> Form:
    """None, as CBOR null, or the form."""
    return Form(
        lambda v: None if v is None else form.pack(v),
        lambda i: None if i is None else form.unpack(i),
    )


def array(form: Form, high: int, low: int = 0) -> Form:
    """A tuple of low to high members."""

    def bounded(value: Any, kind: type[list[Any]] | type[tuple[Any, ...]]) -> Any:
        if type(value) is not kind or not low <= len(value) <= high:
            raise ValueError(f"not an array of {low} to {high} members")
        return value

    pack, unpack = form.pack, form.unpack
    return Form(
        lambda v: [pack(member) for member in bounded(v, tuple)],
        lambda i: tuple([unpack(member) for member in bounded(i, list)]),
    )


def mapping(high: int, *, key_chars: int, value_chars: int) -> Form:
    """Text to text, as a tuple of pairs in ascending order of key, so that it is hashable and has one order."""
    key, value = text(1, key_chars), text(0, value_chars)

    def pack(pairs: Any) -> Item:
        if type(pairs) is not tuple or len(pairs) > high:
            raise ValueError(f"not at most {high} pairs")
        item = [[key.pack(k), value.pack(v)] for k, v in pairs]
        if any(a[0] >= b[0] for a, b in pairwise(item)):
            raise ValueError("keys are not in ascending order, each once")
        return item

    def unpack(item: Item) -> Any:
        if type(item) is not list or any(type(pair) is not list or len(pair) != 2 for pair in item):
            raise ValueError("not an array of pairs")
        pairs = tuple((k, v) for k, v in item)
        pack(pairs)
        return pairs

    return Form(pack, unpack)


def record(cls: type[Record]) -> Form:
    """A nested record."""

    def pack(value: Any) -> Item:
        if type(value) is not cls:
            raise ValueError(f"not a {cls.__name__}")
        return value.to_item()

    return Form(pack, cls.from_item)


UINT: Final = uint()
BOOL: Final = _same(lambda v: "" if type(v) is bool else "not true or false")
HASH: Final = blob(32, 32)
ADDRESS: Final = blob(ADDRESS_BYTES, ADDRESS_BYTES)
NAME: Final = _same(lambda v: "" if is_name(v) else "not a name of 1 to 63 of a-z 0-9 . _ -")
CHAIN_ID: Final = _same(lambda v: "" if is_chain_id(v) else "not a chain id of 1 to 50 of a-z 0-9 -")
CONTENT_TYPE: Final = text(0, CONTENT_TYPE_CHARS_MAX)


class Record:
    """Base of records. Subclasses are frozen, slotted dataclasses whose fields all carry a form."""

    __slots__ = ()
    _forms: ClassVar[tuple[tuple[str, Form], ...]] = ()
    _packs: ClassVar[tuple[Callable[[Any], Item], ...]] = ()
    _unpacks: ClassVar[tuple[Callable[[Item], Any], ...]] = ()
    _values: ClassVar[Callable[[Any], Any]]  # all fields at once

    @classmethod
    def _fields(cls) -> tuple[tuple[str, Form], ...]:
        forms = cls.__dict__.get("_forms")
        if not forms:
            forms = tuple((f.name, f.metadata["form"]) for f in fields(cls))  # type: ignore[arg-type]
            cls._packs = tuple(form.pack for _, form in forms)
            cls._unpacks = tuple(form.unpack for _, form in forms)
            # Asked for one more, so that it gives a tuple for a single field too.
            cls._values = attrgetter(*(name for name, _ in forms), "__class__")
            cls._forms = forms
        return forms

    def to_item(self) -> Item:
        """The array of fields, each checked."""
        forms = self._fields()
        try:
            return [pack(value) for pack, value in zip(self._packs, type(self)._values(self), strict=False)]
        except ValueError:
            for name, form in forms:
                try:
                    form.pack(getattr(self, name))
                except ValueError as exc:
                    raise EncodingError("record.field", f"{type(self).__name__}.{name}: {exc}") from exc
            raise

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """The record of an array, or EncodingError `record.*`."""
        forms = cls._fields()
        if type(item) is not list or len(item) != len(forms):
            raise EncodingError("record.form", f"{cls.__name__} is an array of {len(forms)}")
        try:
            values = [unpack(part) for unpack, part in zip(cls._unpacks, item, strict=True)]
        except ValueError:
            for (name, form), part in zip(forms, item, strict=True):
                try:
                    form.unpack(part)
                except ValueError as exc:
                    raise EncodingError("record.field", f"{cls.__name__}.{name}: {exc}") from exc
            raise
        return cls(*values)

    def to_bytes(self) -> bytes:
        # Forms put the few maps they hold in order themselves, so no second walk is needed; `decode` checks it in tests.
        return dumps(self.to_item())

    @classmethod
    def from_bytes(cls, data: bytes, *, bytes_max: int = CBOR_BYTES_MAX) -> Self:
        return cls.from_item(decode(data, bytes_max=bytes_max))
