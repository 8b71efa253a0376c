"""Readings as the SDK returns them: exact, with their addresses, and as Arrow, pandas or polars tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from althing.client.errors import ClientError, NodeError
from althing.protocol.timestamps import parse_time

__all__ = ["ReadingRecord", "Readings", "reading_of_json"]


@dataclass(frozen=True, slots=True)
class ReadingRecord:
    """One reading. Its address is (stream, sequence, index, quantity). `value` is exact text; None is a missing value.

    Times are RFC 3339 in UTC. `origin` is device or gateway: who vouches for it.
    """

    stream: str
    sequence: int
    index: int
    quantity: str
    kind: str
    value: str | None
    unit: str
    device_time: str | None
    arrival_time: str
    block_time: str
    flags: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Readings:
    """A result in the order asked for."""

    stream: str
    rows: tuple[ReadingRecord, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ReadingRecord]:
        return iter(self.rows)

    def columns(self) -> dict[str, list[Any]]:
        """Columns by name; `number` is the nearest binary float of a numeric value, for charts and statistics."""
        table: dict[str, list[Any]] = {
            field.name: [getattr(row, field.name) for row in self.rows] for field in fields(ReadingRecord)
        }
        table["flags"] = [list(flags) for flags in table["flags"]]
        table["number"] = [
            float(row.value) if row.kind == "number" and row.value is not None else None for row in self.rows
        ]
        return table

    def to_arrow(self) -> Any:
        """A pyarrow.Table; times are timestamps of nanoseconds in UTC."""
        import pyarrow as pa

        columns = self.columns()
        arrays = {}
        for name, values in columns.items():
            if name.endswith("_time"):
                arrays[name] = pa.array([_ns(value) for value in values], pa.timestamp("ns", "UTC"))
            elif name in ("sequence", "index"):
                arrays[name] = pa.array(values, pa.int64())
            elif name == "number":
                arrays[name] = pa.array(values, pa.float64())
            elif name == "flags":
                arrays[name] = pa.array(values, pa.list_(pa.string()))
            else:
                arrays[name] = pa.array(values, pa.string())
        return pa.table(arrays)

    def to_pandas(self) -> Any:
        """A pandas.DataFrame (install althing[pandas])."""
        try:
            import pandas  # noqa: F401
        except ImportError as exc:
            raise ClientError("client.pandas", "pandas is not installed", hint="pip install 'althing[pandas]'") from exc
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """A polars.DataFrame (install althing[polars])."""
        try:
            import polars
        except ImportError as exc:
            raise ClientError("client.polars", "polars is not installed", hint="pip install 'althing[polars]'") from exc
        return polars.from_arrow(self.to_arrow())


def reading_of_json(item: Any) -> ReadingRecord:
    """A reading of the API's JSON, or NodeError when it is not of the form."""
    try:
        return ReadingRecord(
            stream=str(item["stream"]),
            sequence=int(item["sequence"]),
            index=int(item["index"]),
            quantity=str(item["quantity"]),
            kind=str(item["kind"]),
            value=None if item["value"] is None else str(item["value"]),
            unit=str(item["unit"]),
            device_time=item["device_time"],
            arrival_time=str(item["arrival_time"]),
            block_time=str(item["block_time"]),
            flags=tuple(item["flags"]),
            origin=str(item["origin"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise NodeError("node.answer", "a reading is not of the form", status=502) from exc


def _ns(text: str | None) -> int | None:
    return None if text is None else parse_time(text, "rfc3339", 0)
