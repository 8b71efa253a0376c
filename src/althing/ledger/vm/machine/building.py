"""Nodes to closures: what every family of operations builds on.

A statement's closure charges the fixed prices of all nodes that it surely evaluates, then works; parts that may be
passed over are regions, which charge for themselves when entered. `expression` gives a closure and its fixed price.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from althing.ledger.vm.ir import Code, Node, Op
from althing.ledger.vm.machine.frames import Eval, Exec, Frame, Store
from althing.ledger.vm.values import RecordType, Value

__all__ = ["Builder"]


class Builder(ABC):
    """Of one code. `bodies` fills as functions are built; calls look into it when they run."""

    def __init__(self, code: Code, records: tuple[RecordType, ...], bodies: list[Exec]) -> None:
        self._code = code
        self._records = records
        self._bodies = bodies

    def constant(self, node: Node) -> Value:
        """The value of CONST, NONE, TRUE or FALSE."""
        return (
            {Op.NONE: None, Op.TRUE: True, Op.FALSE: False}[node[0]]
            if len(node) == 1
            else self._code.constants[node[1]]
        )

    @abstractmethod
    def _expression(self, node: Node) -> tuple[Eval, int]:
        """A closure that gives the node's value, and its fixed price."""

    @abstractmethod
    def _target(self, node: Node) -> tuple[Store, int]:
        """A closure that stores a value, and its fixed price."""

    def _all(self, nodes: tuple[Node, ...]) -> tuple[tuple[Eval, ...], int]:
        parts = [self._expression(node) for node in nodes]
        return tuple(part for part, _ in parts), sum(price for _, price in parts)

    def _region(self, node: Node) -> Eval:
        inner, price = self._expression(node)

        def region(frame: Frame) -> Value:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            return inner(frame)

        return region
