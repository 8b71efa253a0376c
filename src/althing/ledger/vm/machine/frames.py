"""What closures of the machine work on: frames, signals, and a contract within one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from althing.ledger.vm.host import Host
from althing.ledger.vm.values import RecordType, Value

__all__ = ["BREAK", "CONTINUE", "LOCALS", "Eval", "Exec", "Frame", "Instance", "Store"]

Frame = list[Any]
"""[meter, instance, local 0, local 1, …]"""
Eval = Callable[[Frame], Value]
Exec = Callable[[Frame], Any]
"""Answers None to go on, BREAK, CONTINUE, or a tuple with the value that the function returns."""
Store = Callable[[Frame, Value], None]

BREAK: Final = object()
CONTINUE: Final = object()
LOCALS: Final = 2  # where a frame's locals begin


class Instance:
    """A contract with its state, in one call."""

    __slots__ = ("host", "records", "writable")

    def __init__(self, records: tuple[RecordType, ...], host: Host, *, writable: bool) -> None:
        self.records = records
        self.host = host
        self.writable = writable
