"""What a stream declares about its messages: quantities with units, default content type, mapping, thresholds.

docs/spec/payloads.md §3 is the normative text, with the CBOR form that stands on the chain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from althing.protocol.contenttype import parse_content_type
from althing.protocol.errors import PayloadError
from althing.protocol.mapping import UNIT_CHARS_MAX, Mapping, check_text
from althing.protocol.reading import Kind, Thresholds

__all__ = ["QUANTITIES_MAX", "Quantity", "StreamSchema"]

QUANTITIES_MAX: Final = 256
_FORMAT_VERSION: Final = 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,127}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A named quantity of a stream. `label` is its SenML name, "" for the quantity's own name.

    A resolved SenML name belongs to the quantity if it equals the label or ends with ":" or "/" and the label.
    An empty `unit` declares none, and any unit is accepted.
    """

    name: str
    unit: str = ""
    kind: Kind = Kind.NUMBER
    label: str = ""

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, f"{self.name!r} is not a name of a quantity")
        check_text(self.unit, UNIT_CHARS_MAX, "unit")
        _require(not self.label or _LABEL.fullmatch(self.label) is not None, f"{self.label!r} is not a SenML name")

    @property
    def senml_name(self) -> str:
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class StreamSchema:
    """What resolution needs to know of a stream. `backfill` declares a stream of imported history."""

    quantities: tuple[Quantity, ...] = ()
    content_type: str = ""
    mapping: Mapping | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    backfill: bool = False
    by_name: dict[str, Quantity] = field(init=False, repr=False, compare=False)
    by_label: dict[str, tuple[Quantity, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _require(len(self.quantities) <= QUANTITIES_MAX, f"a stream has at most {QUANTITIES_MAX} quantities")
        if self.content_type:
            parse_content_type(self.content_type)
        by_name = {quantity.name: quantity for quantity in self.quantities}
        _require(len(by_name) == len(self.quantities), "two quantities have one name")
        by_label: dict[str, tuple[Quantity, ...]] = {}
        for quantity in self.quantities:
            alike = by_label.get(quantity.senml_name, ())
            units = [other.unit for other in alike]
            _require(quantity.unit not in units, "two quantities have one SenML name and unit")
            by_label[quantity.senml_name] = (*alike, quantity)
        if self.mapping is not None:
            for mapped in self.mapping.fields:
                _require(mapped.quantity in by_name, f"the mapping names the undeclared quantity {mapped.quantity!r}")
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "by_label", by_label)

    def to_cbor_obj(self) -> dict[int, Any]:
        """The form that stands on the chain (spec §3.2)."""
        limits = self.thresholds
        return {
            0: _FORMAT_VERSION,
            1: [[item.name, item.unit, int(item.kind), item.label] for item in self.quantities],
            2: self.content_type,
            3: None if self.mapping is None else self.mapping.to_cbor_obj(),
            4: [limits.future_s, limits.late_s, limits.backfill_s],
            5: self.backfill,
        }

    @classmethod
    def from_cbor_obj(cls, item: Any) -> StreamSchema:
        """The schema of a decoded CBOR object; PayloadError `payload.definition` unless it is exactly of that form."""
        _require(type(item) is dict and list(item) == [0, 1, 2, 3, 4, 5], "a stream schema is a map of the keys 0 to 5")
        version, quantities, content_type, mapping, thresholds, backfill = item.values()
        _require(type(version) is int and version == _FORMAT_VERSION, "an unknown version of the schema's form")
        _require(type(quantities) is list, "quantities are an array")
        _require(type(content_type) is str, "the content type is a text")
        for quantity in quantities:
            types = [type(part) for part in quantity] if type(quantity) is list else []
            _require(types == [str, str, int, str], "a quantity is [text, text, int, text]")
            _require(0 <= quantity[2] <= 3, "a kind is 0, 1, 2 or 3")
        _require(type(thresholds) is list and len(thresholds) == 3, "thresholds are [future, late, backfill]")
        _require(type(backfill) is bool, "backfill is a boolean")
        return cls(
            quantities=tuple(Quantity(name, unit, Kind(kind), label) for name, unit, kind, label in quantities),
            content_type=content_type,
            mapping=None if mapping is None else Mapping.from_cbor_obj(mapping),
            thresholds=Thresholds(*thresholds),
            backfill=backfill,
        )


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise PayloadError("payload.definition", otherwise)
