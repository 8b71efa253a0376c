"""State of `streams`. Row logs are named by `log_name`; their entries and nodes lie in side tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.ledger.runtime.overlay import Table
from althing.protocol.messages.streams import GatewayHead, StreamDefinition, StreamHead
from althing.protocol.record import UINT, Record, of

__all__ = ["COUNT", "DEFINITIONS", "GATEWAYS", "HEADS", "NUMBERS", "SCHEMAS", "Number", "log_name", "own_number"]


@dataclass(frozen=True, slots=True)
class Number(Record):
    """A stream's number; under the empty key how many streams there are."""

    value: int = of(UINT)


COUNT: Final = Table("streams/count", Number)
NUMBERS: Final = Table("streams/number/", Number)  # own key: path
DEFINITIONS: Final = Table("streams/definition/", StreamDefinition)  # own key: number
SCHEMAS: Final = Table("streams/schema/", StreamDefinition)  # own key: number ‖ schema version, replaced definitions
HEADS: Final = Table("streams/head/", StreamHead)  # own key: number
GATEWAYS: Final = Table("streams/gateway/", GatewayHead)  # own key: gateway's address


def own_number(stream: int) -> bytes:
    """A stream's number as key: 8 bytes, big-endian."""
    return stream.to_bytes(8, "big")


def log_name(stream: int) -> bytes:
    """Name of a stream's row log in the side tables."""
    return b"s" + stream.to_bytes(8, "big")
