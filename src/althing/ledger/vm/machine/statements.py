"""Statements. Each charges first; see `building`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final, NoReturn

from althing.ledger.vm.errors import Raised
from althing.ledger.vm.host import PRICES
from althing.ledger.vm.ir import OPERATIONS, Node, Op
from althing.ledger.vm.limits import MESSAGE_CHARS_MAX
from althing.ledger.vm.machine import storage
from althing.ledger.vm.machine.frames import BREAK, CONTINUE, LOCALS, Exec, Frame
from althing.ledger.vm.machine.targets import Targets
from althing.ledger.vm.machine.walking import LOOP_PRICE, Walking
from althing.ledger.vm.operators import (
    BINARY,
    delete_item,
    extended,
)
from althing.ledger.vm.values import (
    ASSERTION_ERROR,
    Value,
    text,
    truth,
)

__all__ = ["Statements"]

_HANDLER_PRICE: Final = 10


class Statements(Targets, Walking):
    @abstractmethod
    def _statement(self, node: Node) -> Exec:
        """A closure that executes the node."""

    def _block(self, nodes: tuple[Node, ...]) -> Exec:
        steps = tuple(self._statement(node) for node in nodes)
        if not steps:
            return lambda frame: None
        if len(steps) == 1:
            return steps[0]
        if len(steps) == 2:
            first, second = steps

            def pair(frame: Frame) -> Any:
                left = first(frame)
                return second(frame) if left is None else left

            return pair

        def block(frame: Frame) -> Any:
            for step in steps:
                left = step(frame)
                if left is not None:
                    return left
            return None

        return block

    def _evaluate(self, node: Node, price: int) -> Exec:
        value, more = self._expression(node[1])
        price += more

        def evaluate(frame: Frame) -> None:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            value(frame)

        return evaluate

    def _assign(self, node: Node, price: int) -> Exec:
        value, more = self._expression(node[2])
        price += more
        target = node[1]
        if target[0] == Op.TO_LOCAL:
            slot = target[1] + LOCALS
            price += OPERATIONS[Op.TO_LOCAL].gas

            def assign_local(frame: Frame) -> None:
                meter = frame[0]
                meter.gas -= price
                if meter.gas < 0:
                    meter.end()
                frame[slot] = value(frame)

            return assign_local
        into, more = self._target(target)
        price += more

        def assign(frame: Frame) -> None:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            into(frame, value(frame))

        return assign

    def _augment(self, node: Node, price: int) -> Exec:
        """The place is evaluated once, then read, then the value evaluated, then the place written, as in Python."""
        _, target, operator, operand = node
        value, more = self._expression(operand)
        place, place_price = self._place(target)
        price += more + place_price
        apply = BINARY[operator]
        in_place = operator == Op.ADD

        def augment(frame: Frame) -> None:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            read, write = place(frame)
            left = read()
            right = value(frame)
            if in_place and type(left) is list:
                extended(left, right, meter)
                write(left)
            else:
                write(apply(left, right, meter))

        return augment

    def _delete(self, node: Node, price: int) -> Exec:
        target = node[1]
        if target[0] == Op.TO_MAP:
            remove, more = self._map_remove(target)
        else:
            (container, container_price), (index, index_price) = (
                self._expression(target[1]),
                self._expression(target[2]),
            )
            more = container_price + index_price + OPERATIONS[Op.TO_INDEX].gas

            def remove(frame: Frame) -> None:
                delete_item(container(frame), index(frame), frame[0])

        price += more

        def delete(frame: Frame) -> None:
            frame[0].charge(price)
            remove(frame)

        return delete

    def _if(self, node: Node, price: int) -> Exec:
        test, more = self._expression(node[1])
        price += more
        yes, no = self._block(node[2]), self._block(node[3])
        otherwise = bool(node[3])

        def choose(frame: Frame) -> Any:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            found = test(frame)
            if found is True or (found is not False and truth(found)):
                return yes(frame)
            return no(frame) if otherwise else None

        return choose

    def _while(self, node: Node, price: int) -> Exec:
        test, more = self._expression(node[1])
        price += more
        body = self._block(node[2])

        def repeat(frame: Frame) -> Any:
            meter = frame[0]
            while True:
                meter.gas -= price
                if meter.gas < 0:
                    meter.end()
                found = test(frame)
                if found is False or (found is not True and not truth(found)):
                    return None
                left = body(frame)
                if left is not None and left is not CONTINUE:
                    return None if left is BREAK else left

        return repeat

    def _for(self, node: Node, price: int) -> Exec:
        walk, more = self._walk(node[2])
        into, into_price = self._target(node[1])
        price += more
        each = LOOP_PRICE + into_price
        body = self._block(node[3])
        slot = node[1][1] + LOCALS if node[1][0] == Op.TO_LOCAL else 0

        def loop(frame: Frame) -> Any:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            for item in walk(frame):
                meter.gas -= each
                if meter.gas < 0:
                    meter.end()
                if slot:
                    frame[slot] = item
                else:
                    into(frame, item)
                left = body(frame)
                if left is not None and left is not CONTINUE:
                    return None if left is BREAK else left
            return None

        return loop

    def _break(self, node: Node, price: int) -> Exec:
        return self._leave(BREAK, price)

    def _continue(self, node: Node, price: int) -> Exec:
        return self._leave(CONTINUE, price)

    def _leave(self, signal: object, price: int) -> Exec:
        def leave(frame: Frame) -> object:
            frame[0].charge(price)
            return signal

        return leave

    def _return(self, node: Node, price: int) -> Exec:
        value, more = (None, 0) if node[1] is None else self._expression(node[1])
        price += more

        def leave(frame: Frame) -> tuple[Value]:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            return (None if value is None else value(frame),)

        return leave

    def _raise(self, node: Node, price: int) -> Exec:
        number = node[1]
        message, more = self._expression(node[2])
        price += more

        def fail(frame: Frame) -> None:
            frame[0].charge(price)
            raise Raised(number, text(message(frame), frame[0])[:MESSAGE_CHARS_MAX])

        return fail

    def _reraise(self, node: Node, price: int) -> Exec:
        def again(frame: Frame) -> NoReturn:
            meter = frame[0]
            meter.charge(price)
            raise meter.handling[-1]

        return again

    def _assert(self, node: Node, price: int) -> Exec:
        test, more = self._expression(node[1])
        price += more
        message = None if node[2] is None else self._region(node[2])

        def check(frame: Frame) -> None:
            meter = frame[0]
            meter.gas -= price
            if meter.gas < 0:
                meter.end()
            if not truth(test(frame)):
                said = "" if message is None else text(message(frame), meter)[:MESSAGE_CHARS_MAX]
                raise Raised(ASSERTION_ERROR, said)

        return check

    def _try(self, node: Node, price: int) -> Exec:
        body, otherwise, final = self._block(node[1]), self._block(node[3]), self._block(node[4])
        handlers = tuple(
            (kinds, None if slot is None else slot + LOCALS, self._block(block)) for kinds, slot, block in node[2]
        )

        def handled(frame: Frame) -> Any:
            try:
                left = body(frame)
            except Raised as error:
                frame[0].charge(_HANDLER_PRICE)
                for kinds, slot, block in handlers:
                    if 0 in kinds or error.kind in kinds:
                        return handle(frame, error, slot, block)
                raise
            return otherwise(frame) if left is None else left

        def handle(frame: Frame, error: Raised, slot: int | None, block: Exec) -> Any:
            if slot is not None:
                frame[slot] = error.message
            handling = frame[0].handling
            handling.append(error)
            try:
                return block(frame)
            finally:
                handling.pop()

        def attempt(frame: Frame) -> Any:
            frame[0].charge(price)
            try:
                left = handled(frame)
            except Raised:
                final(frame)
                raise
            final(frame)
            return left

        return attempt if node[4] else _priced(price, handled)

    def _emit(self, node: Node, price: int) -> Exec:
        name = self._code.constants[node[1]]
        parts = [(self._code.constants[key_], *self._expression(value)) for key_, value in node[2]]
        price += sum(more for _, _, more in parts) + PRICES.EVENT

        def emit(frame: Frame) -> None:
            meter, instance = frame[0], frame[1]
            meter.charge(price)
            storage.writable(instance, "emits nothing")
            instance.host.emit(name, [(str(key_), value(frame)) for key_, value, _ in parts], meter)

        return emit


def _priced(price: int, inner: Exec) -> Exec:
    def priced(frame: Frame) -> Any:
        frame[0].charge(price)
        return inner(frame)

    return priced
