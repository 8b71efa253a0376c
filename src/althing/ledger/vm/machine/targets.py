"""Where values go: names, items, fields, state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from althing.ledger.vm.host import PRICES
from althing.ledger.vm.ir import OPERATIONS, Node, Op
from althing.ledger.vm.machine import storage
from althing.ledger.vm.machine.building import Builder
from althing.ledger.vm.machine.frames import LOCALS, Exec, Frame, Store
from althing.ledger.vm.operators import (
    get_field,
    get_item,
    sequence,
    set_field,
    set_item,
)
from althing.ledger.vm.values import (
    Value,
    value_error,
)

__all__ = ["Targets"]


class Targets(Builder):
    def _target(self, node: Node) -> tuple[Store, int]:
        """A closure that stores a value, and its fixed price."""
        op, price = node[0], OPERATIONS[node[0]].gas
        match op:
            case Op.TO_LOCAL:
                slot = node[1] + LOCALS

                def to_local(frame: Frame, value: Value) -> None:
                    frame[slot] = value

                return to_local, price
            case Op.TO_TUPLE:
                parts = [self._target(part) for part in node[1]]
                stores = tuple(part for part, _ in parts)

                def to_tuple(frame: Frame, value: Value) -> None:
                    items = sequence(value, frame[0])
                    if len(items) != len(stores):
                        raise value_error(f"{len(items)} values for {len(stores)} names")
                    for into, item in zip(stores, items, strict=True):
                        into(frame, item)

                return to_tuple, price + sum(more for _, more in parts)
            case Op.TO_INDEX:
                (container, more), (index, index_price) = self._expression(node[1]), self._expression(node[2])

                def to_index(frame: Frame, value: Value) -> None:
                    set_item(container(frame), index(frame), value, frame[0])

                return to_index, price + more + index_price
            case Op.TO_FIELD:
                owner, more = self._expression(node[1])
                name = str(self._code.constants[node[2]])

                def to_field(frame: Frame, value: Value) -> None:
                    set_field(owner(frame), name, value)

                return to_field, price + more
            case Op.TO_STATE:
                return self._state_writer(node[1]), price
            case Op.TO_MAP:
                field, number = self._code.fields[node[1]], node[1]
                index, more = self._expression(node[2])

                def to_map(frame: Frame, value: Value) -> None:
                    storage.put(frame, field, 1, storage.map_key(frame, number, field, index(frame)), value)

                return to_map, price + more
        field, number = self._code.fields[node[1]], node[1]
        index, more = self._expression(node[2])

        def to_list(frame: Frame, value: Value) -> None:
            storage.put(
                frame, field, 0, storage.list_key(number, storage.list_place(frame, number, index(frame))), value
            )

        return to_list, price + more

    def _state_writer(self, number: int) -> Store:
        field, key_ = self._code.fields[number], storage.state_key(number)

        def to_state(frame: Frame, value: Value) -> None:
            storage.put(frame, field, 0, key_, value)

        return to_state

    def _place(self, node: Node) -> tuple[Callable[[Frame], tuple[Callable[[], Value], Callable[[Value], None]]], int]:
        """For an augmented assignment: the place, evaluated once, as a way to read it and a way to write it."""
        op, price = node[0], OPERATIONS[node[0]].gas
        match op:
            case Op.TO_LOCAL:
                slot = node[1] + LOCALS
                return (lambda frame: ((lambda: frame[slot]), (lambda value: frame.__setitem__(slot, value)))), price
            case Op.TO_INDEX:
                (container, more), (index, index_price) = self._expression(node[1]), self._expression(node[2])

                def at_index(frame: Frame) -> Any:
                    owner, place, meter = container(frame), index(frame), frame[0]
                    return (lambda: get_item(owner, place, meter)), (lambda value: set_item(owner, place, value, meter))

                return at_index, price + more + index_price
            case Op.TO_FIELD:
                holder, more = self._expression(node[1])
                name = str(self._code.constants[node[2]])

                def at_field(frame: Frame) -> Any:
                    owner = holder(frame)
                    return (lambda: get_field(owner, name)), (lambda value: set_field(owner, name, value))

                return at_field, price + more
        field, number = self._code.fields[node[1]], node[1]
        which = 1 if op == Op.TO_MAP else 0
        if op == Op.TO_STATE:
            state_key = storage.state_key(number)

            def at_state(frame: Frame) -> Any:
                read = lambda: storage.get(frame, field, 0, state_key, field.name)  # noqa: E731
                return read, (lambda value: storage.put(frame, field, 0, state_key, value))

            return at_state, price
        index, more = self._expression(node[2])

        def at_item(frame: Frame) -> Any:
            found = index(frame)
            if which:
                key_ = storage.map_key(frame, number, field, found)
            else:
                key_ = storage.list_key(number, storage.list_place(frame, number, found))

            def read() -> Value:
                return storage.get_item(frame, field, which, key_, found)

            return read, (lambda value: storage.put(frame, field, which, key_, value))

        return at_item, price + more

    def _map_remove(self, node: Node) -> tuple[Exec, int]:
        field, number = self._code.fields[node[1]], node[1]
        index, price = self._expression(node[2])

        def remove(frame: Frame) -> None:
            found = index(frame)
            key_ = storage.map_key(frame, number, field, found)
            storage.get_item(frame, field, 1, key_, found)
            storage.writable(frame[1], "removes nothing")
            frame[0].charge(PRICES.WRITE)
            frame[1].host.delete(key_)

        return remove, price + OPERATIONS[Op.TO_MAP].gas
