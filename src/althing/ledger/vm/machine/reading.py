"""State as an expression: values, Maps, Lists."""

from __future__ import annotations

from althing.ledger.vm.errors import Raised
from althing.ledger.vm.host import PRICES
from althing.ledger.vm.ir import Node
from althing.ledger.vm.limits import SCAN_MAX
from althing.ledger.vm.machine import storage
from althing.ledger.vm.machine.building import Builder
from althing.ledger.vm.machine.frames import Eval, Frame
from althing.ledger.vm.typed import loaded
from althing.ledger.vm.values import (
    INDEX_ERROR,
    Value,
    value_error,
)

__all__ = ["Reading"]


class Reading(Builder):
    def _state(self, node: Node) -> tuple[Eval, int]:
        field, key_ = self._code.fields[node[1]], storage.state_key(node[1])
        return (lambda frame: storage.get(frame, field, 0, key_, field.name)), 0

    def _map_get(self, node: Node) -> tuple[Eval, int]:
        field, number = self._code.fields[node[1]], node[1]
        index, price = self._expression(node[2])

        def get(frame: Frame) -> Value:
            found = index(frame)
            return storage.get_item(frame, field, 1, storage.map_key(frame, number, field, found), found)

        return get, price

    def _map_find(self, node: Node) -> tuple[Eval, int]:
        field, number = self._code.fields[node[1]], node[1]
        (index, price), (default, more) = self._expression(node[2]), self._expression(node[3])

        def find(frame: Frame) -> Value:
            found, otherwise = index(frame), default(frame)
            data = storage.read(frame, storage.map_key(frame, number, field, found))
            return otherwise if data is None else loaded(data, field.types[1], frame[1].records, frame[0])

        return find, price + more

    def _map_has(self, node: Node) -> tuple[Eval, int]:
        field, number = self._code.fields[node[1]], node[1]
        index, price = self._expression(node[2])
        return (
            lambda frame: storage.read(frame, storage.map_key(frame, number, field, index(frame))) is not None
        ), price

    def _map_keys(self, node: Node) -> tuple[Eval, int]:
        """In the order of the keys' bytes, behind `after`; at most `limit` of them."""
        field, number = self._code.fields[node[1]], node[1]
        (after, price), (limit, more) = self._expression(node[2]), self._expression(node[3])
        prefix = storage.state_key(number)

        def keys(frame: Frame) -> list[Value]:
            meter, instance = frame[0], frame[1]
            start, most = after(frame), limit(frame)
            if type(most) is not int or not 1 <= most <= SCAN_MAX:
                raise value_error(f"a page has 1 to {SCAN_MAX} keys")
            meter.charge(PRICES.READ + PRICES.SCAN_KEY * most)
            behind = prefix if start is None else storage.map_key(frame, number, field, start)
            records = instance.records
            return [
                loaded(found[len(prefix) :], field.types[0], records, meter)
                for found in instance.host.scan(prefix, behind, most)
            ]

        return keys, price + more

    def _list_get(self, node: Node) -> tuple[Eval, int]:
        field, number = self._code.fields[node[1]], node[1]
        index, price = self._expression(node[2])

        def get(frame: Frame) -> Value:
            place = storage.list_place(frame, number, index(frame))
            return storage.get_item(frame, field, 0, storage.list_key(number, place), place)

        return get, price

    def _list_length(self, node: Node) -> tuple[Eval, int]:
        number = node[1]
        return (lambda frame: storage.length(frame, number)), 0

    def _list_append(self, node: Node) -> tuple[Eval, int]:
        field, number = self._code.fields[node[1]], node[1]
        value, price = self._expression(node[2])

        def append(frame: Frame) -> None:
            found = value(frame)
            size = storage.length(frame, number)
            storage.put(frame, field, 0, storage.list_key(number, size), found)
            storage.write(frame, storage.state_key(number), storage.size_bytes(size + 1))

        return append, price

    def _list_pop(self, node: Node) -> tuple[Eval, int]:
        field, number = self._code.fields[node[1]], node[1]

        def pop(frame: Frame) -> Value:
            size = storage.length(frame, number)
            if size == 0:
                raise Raised(INDEX_ERROR, f"{field.name} is empty")
            key_ = storage.list_key(number, size - 1)
            found = storage.get_item(frame, field, 0, key_, size - 1)
            storage.writable(frame[1], "removes nothing")
            frame[0].charge(PRICES.WRITE)
            frame[1].host.delete(key_)
            storage.write(frame, storage.state_key(number), storage.size_bytes(size - 1))
            return found

        return pop, 0
