"""Operators, containers, items, comprehensions."""

from __future__ import annotations

from typing import Any

from althing.ledger.vm.ir import Node, Op
from althing.ledger.vm.limits import ITEMS_HELD_MAX
from althing.ledger.vm.machine.arithmetic import FAST
from althing.ledger.vm.machine.frames import LOCALS, Eval, Frame
from althing.ledger.vm.machine.walking import LOOP_PRICE, Walking
from althing.ledger.vm.meter import SLOT_BYTES
from althing.ledger.vm.operators import (
    BINARY,
    get_field,
    get_item,
    get_slice,
    store,
)
from althing.ledger.vm.values import (
    Dict,
    Value,
    key,
    made,
    text,
    truth,
    value_error,
)

__all__ = ["Expressions"]


class Expressions(Walking):
    def _binary(self, node: Node, price: int) -> tuple[Eval, int]:
        op = node[0]
        (left, left_price), (right, right_price) = self._expression(node[1]), self._expression(node[2])
        price += left_price + right_price
        slow = BINARY[op]
        fast = FAST.get(op)
        if fast is not None:
            return fast(left, right, slow), price
        return (lambda frame: slow(left(frame), right(frame), frame[0])), price

    def _const(self, node: Node) -> tuple[Eval, int]:
        value = self.constant(node)
        return (lambda frame: value), 0

    def _local(self, node: Node) -> tuple[Eval, int]:
        slot = node[1] + LOCALS
        return (lambda frame: frame[slot]), 0

    def _set_local(self, node: Node) -> tuple[Eval, int]:
        slot = node[1] + LOCALS
        value, price = self._expression(node[2])

        def keep(frame: Frame) -> Value:
            found = frame[slot] = value(frame)
            return found

        return keep, price

    def _and(self, node: Node) -> tuple[Eval, int]:
        left, price = self._expression(node[1])
        right = self._region(node[2])

        def both(frame: Frame) -> Value:
            found = left(frame)
            return right(frame) if truth(found) else found

        return both, price

    def _or(self, node: Node) -> tuple[Eval, int]:
        left, price = self._expression(node[1])
        right = self._region(node[2])

        def either(frame: Frame) -> Value:
            found = left(frame)
            return found if truth(found) else right(frame)

        return either, price

    def _cond(self, node: Node) -> tuple[Eval, int]:
        test, price = self._expression(node[1])
        yes, no = self._region(node[2]), self._region(node[3])
        return (lambda frame: yes(frame) if truth(test(frame)) else no(frame)), price

    def _is_none(self, node: Node) -> tuple[Eval, int]:
        value, price = self._expression(node[1])
        if node[0] == Op.IS_NONE:
            return (lambda frame: value(frame) is None), price
        return (lambda frame: value(frame) is not None), price

    def _list(self, node: Node) -> tuple[Eval, int]:
        items, price = self._all(node[1])
        return (lambda frame: made([item(frame) for item in items], frame[0])), price

    def _tuple(self, node: Node) -> tuple[Eval, int]:
        items, price = self._all(node[1])
        return (lambda frame: made(tuple([item(frame) for item in items]), frame[0])), price

    def _dict(self, node: Node) -> tuple[Eval, int]:
        parts, price = self._all(node[1])
        pairs = tuple(zip(parts[::2], parts[1::2], strict=True))

        def build(frame: Frame) -> Dict:
            meter = frame[0]
            meter.allocate(SLOT_BYTES)
            found = Dict()
            for key_, value in pairs:
                token = key(key_(frame), meter)
                store(found, token, value(frame), meter)
            return found

        return build, price

    def _index(self, node: Node) -> tuple[Eval, int]:
        (container, price), (index, more) = self._expression(node[1]), self._expression(node[2])

        def item(frame: Frame) -> Value:
            owner, place = container(frame), index(frame)
            if type(owner) is list and type(place) is int and 0 <= place < len(owner):
                return owner[place]
            return get_item(owner, place, frame[0])

        return item, price + more

    def _slice(self, node: Node) -> tuple[Eval, int]:
        container, price = self._expression(node[1])
        bounds = [self._expression((Op.NONE,) if bound is None else bound) for bound in node[2:]]
        (lower, lower_price), (upper, upper_price) = bounds

        def part(frame: Frame) -> Value:
            return get_slice(container(frame), lower(frame), upper(frame), frame[0])

        return part, price + lower_price + upper_price

    def _field(self, node: Node) -> tuple[Eval, int]:
        owner, price = self._expression(node[1])
        name = str(self._code.constants[node[2]])
        return (lambda frame: get_field(owner(frame), name)), price

    def _format(self, node: Node) -> tuple[Eval, int]:
        parts, price = self._all(node[1])

        def write(frame: Frame) -> Value:
            meter = frame[0]
            return made("".join([text(part(frame), meter) for part in parts]), meter)

        return write, price

    def _comprehension(self, node: Node) -> tuple[Eval, int]:
        """Each loop is a generator over the one around it; elements charge for themselves."""
        op, clauses = node[0], node[1]
        walk, price = self._walk(clauses[0][1])
        loops = []
        for place, (target, iterable, conditions) in enumerate(clauses):
            into, into_price = self._target(target)
            inner = walk if place == 0 else self._walk_region(iterable)
            loops.append((inner, into, LOOP_PRICE + into_price, tuple(self._region(test) for test in conditions)))
        values = tuple(self._region(value) for value in node[2:])

        def turns(frame: Frame, level: int) -> Any:
            inner, into, each, tests = loops[level]
            meter = frame[0]
            for item in inner(frame):
                meter.charge(each)
                into(frame, item)
                if all(truth(test(frame)) for test in tests):
                    if level + 1 < len(loops):
                        yield from turns(frame, level + 1)
                    else:
                        yield None

        if op == Op.LIST_COMP:
            element = values[0]

            def collect(frame: Frame) -> list[Value]:
                found: list[Value] = []
                meter = frame[0]
                meter.allocate(SLOT_BYTES)
                for _ in turns(frame, 0):
                    if len(found) >= ITEMS_HELD_MAX:
                        raise value_error(f"a list has at most {ITEMS_HELD_MAX} items")
                    meter.allocate(SLOT_BYTES)
                    found.append(element(frame))
                return found

            return collect, price
        key_, value = values

        def gather(frame: Frame) -> Dict:
            found = Dict()
            meter = frame[0]
            meter.allocate(SLOT_BYTES)
            for _ in turns(frame, 0):
                token = key(key_(frame), meter)
                store(found, token, value(frame), meter)
            return found

        return gather, price

    def _walk_region(self, node: Node) -> Eval:
        walk, price = self._walk(node)

        def region(frame: Frame) -> Any:
            frame[0].charge(price)
            return walk(frame)

        return region
