"""What `for` and comprehensions walk over."""

from __future__ import annotations

from typing import Final

from althing.ledger.vm.ir import OPERATIONS, Node, Op
from althing.ledger.vm.machine.building import Builder
from althing.ledger.vm.machine.frames import Eval, Frame
from althing.ledger.vm.operators import (
    sequence,
)
from althing.ledger.vm.values import (
    type_error,
    value_error,
)

__all__ = ["LOOP_PRICE", "Walking"]

LOOP_PRICE: Final = 3  # of each turn


class Walking(Builder):
    def _walk(self, node: Node) -> tuple[Eval, int]:
        """What `for` walks over. A list is walked by index, so it may grow or shrink meanwhile, as in Python."""
        if node[0] == Op.RANGE:
            parts = [self._expression(part) for part in node[1:]]
            start, stop, step = (part for part, _ in parts)

            def numbers(frame: Frame) -> range:
                bounds = [start(frame), stop(frame), step(frame)]
                if any(type(bound) not in (int, bool) for bound in bounds):
                    raise type_error("range counts with int")
                if bounds[2] == 0:
                    raise value_error("range steps by something")
                return range(*bounds)

            return numbers, OPERATIONS[Op.RANGE].gas + sum(price for _, price in parts)
        value, price = self._expression(node)
        return (lambda frame: sequence(value(frame), frame[0])), price
