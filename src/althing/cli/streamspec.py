"""Streams as a person writes them on the command line."""

from __future__ import annotations

from typing import Final

from althing.client.errors import ClientError
from althing.protocol.address import is_name
from althing.protocol.mapping import Field, Mapping, TimeField
from althing.protocol.readings import Kind, Quantity, StreamSchema

__all__ = ["STATUS_SCHEMA", "parse_stream"]

_KINDS: Final = {"number": Kind.NUMBER, "text": Kind.TEXT, "bool": Kind.BOOL}

STATUS_SCHEMA: Final = StreamSchema(content_type="text/plain")
"""The stream `status` of every device: wills and what a device says of itself, as text without readings."""


def parse_stream(text: str) -> tuple[str, StreamSchema]:
    """Name and schema of `NAME`, `NAME=QUANTITY:UNIT,…` or `NAME=QUANTITY:UNIT:text`.

    Messages are JSON objects with a member for each quantity, and an RFC 3339 `time` if there is one; SenML works too
    when the message says so. Without quantities the stream has one, named like the stream.
    """
    name, _, listed = text.partition("=")
    if not is_name(name):
        raise ClientError(
            "cli.stream",
            f"{name!r} is not a name of a stream",
            hint="use a-z 0-9 . _ -, as in temperature=temperature:Cel",
        )
    quantities = []
    for part in (listed or name).split(","):
        quantity, _, rest = part.partition(":")
        unit, _, kind = rest.partition(":")
        if not quantity or (kind and kind not in _KINDS):
            raise ClientError(
                "cli.stream", f"{part!r} is not QUANTITY:UNIT or QUANTITY:UNIT:number|text|bool", hint="temperature:Cel"
            )
        quantities.append(Quantity(quantity, unit, _KINDS[kind or "number"]))
    fields = tuple(Field(f"/{quantity.name}", quantity.name, "", quantity.kind) for quantity in quantities)
    mapping = Mapping(fields=fields, time=TimeField("/time"))
    return name, StreamSchema(quantities=tuple(quantities), content_type="application/json", mapping=mapping)
