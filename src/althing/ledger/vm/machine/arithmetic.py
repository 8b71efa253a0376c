"""Operators on two integers, without a detour; everything else goes to `operators`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from althing.ledger.vm.ir import Op
from althing.ledger.vm.limits import INT_MAX, INT_MIN
from althing.ledger.vm.machine.frames import Eval, Frame
from althing.ledger.vm.meter import Meter
from althing.ledger.vm.values import Value

__all__ = ["FAST"]


def _fast_add(left: Eval, right: Eval, slow: Callable[[Value, Value, Meter], Value]) -> Eval:
    def add(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        if type(a) is int and type(b) is int:
            found = a + b
            if INT_MIN <= found <= INT_MAX:
                return found
        return slow(a, b, frame[0])

    return add


def _fast_sub(left: Eval, right: Eval, slow: Callable[[Value, Value, Meter], Value]) -> Eval:
    def subtract(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        if type(a) is int and type(b) is int:
            found = a - b
            if INT_MIN <= found <= INT_MAX:
                return found
        return slow(a, b, frame[0])

    return subtract


def _fast_lt(left: Eval, right: Eval, slow: Callable[[Value, Value, Meter], Value]) -> Eval:
    def less(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        return a < b if type(a) is int and type(b) is int else slow(a, b, frame[0])

    return less


def _fast_gt(left: Eval, right: Eval, slow: Callable[[Value, Value, Meter], Value]) -> Eval:
    def greater(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        return a > b if type(a) is int and type(b) is int else slow(a, b, frame[0])

    return greater


def _fast_ge(left: Eval, right: Eval, slow: Callable[[Value, Value, Meter], Value]) -> Eval:
    def at_least(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        return a >= b if type(a) is int and type(b) is int else slow(a, b, frame[0])

    return at_least


def _fast_eq(left: Eval, right: Eval, slow: Callable[[Value, Value, Meter], Value]) -> Eval:
    def same(frame: Frame) -> Value:
        a, b = left(frame), right(frame)
        return a == b if type(a) is int and type(b) is int else slow(a, b, frame[0])

    return same


FAST: Final = {
    Op.ADD: _fast_add,
    Op.SUB: _fast_sub,
    Op.LT: _fast_lt,
    Op.GT: _fast_gt,
    Op.GE: _fast_ge,
    Op.EQ: _fast_eq,
}
