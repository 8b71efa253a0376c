"""Calls: functions of the contract, of the language, of values, of the host, of other contracts."""

from __future__ import annotations

from althing.ledger.vm.errors import Halt
from althing.ledger.vm.functions import FUNCTIONS, METHOD_TABLE
from althing.ledger.vm.host import HOST_PRICES
from althing.ledger.vm.ir import Node
from althing.ledger.vm.machine import storage
from althing.ledger.vm.machine.building import Builder
from althing.ledger.vm.machine.frames import Eval, Frame
from althing.ledger.vm.meter import SLOT_BYTES
from althing.ledger.vm.surface import HOST, METHODS
from althing.ledger.vm.values import (
    Struct,
    Value,
    kind_name,
    type_error,
)

__all__ = ["Calls"]


class Calls(Builder):
    def _call(self, node: Node) -> tuple[Eval, int]:
        number = node[1]
        function = self._code.functions[number]
        given, price = self._all(node[2])
        defaults = [self.constant(item.default) for item in function.parameters[len(given) :] if item.default]
        rest = [*defaults, *[None] * (function.locals - len(function.parameters))]
        bodies = self._bodies
        need = self._need(number)

        def call(frame: Frame) -> Value:
            meter = frame[0]
            inner = [meter, frame[1], *[item(frame) for item in given], *rest]
            meter.depth -= need
            if meter.depth < 0:
                meter.depth += need
                raise Halt("depth")
            try:
                result = bodies[number](inner)
            finally:
                meter.depth += need
            return None if result is None else result[0]

        return call, price

    def _need(self, number: int) -> int:
        return self._code.functions[number].depth

    def _new(self, node: Node) -> tuple[Eval, int]:
        type_ = self._records[node[1]]
        given, price = self._all(node[2])
        defaults = [self.constant(item.default) for item in type_.fields[len(given) :] if item.default]

        def build(frame: Frame) -> Struct:
            frame[0].allocate(SLOT_BYTES * (len(type_.fields) + 1))
            return Struct(type_, [*[item(frame) for item in given], *defaults])

        return build, price

    def _builtin(self, node: Node) -> tuple[Eval, int]:
        function = FUNCTIONS[node[1]]
        given, price = self._all(node[2])
        return (lambda frame: function([item(frame) for item in given], frame[0])), price

    def _method(self, node: Node) -> tuple[Eval, int]:
        kinds, method = METHOD_TABLE[node[1]]
        name = METHODS[node[1]][0]
        value, price = self._expression(node[2])
        given, more = self._all(node[3])

        def call(frame: Frame) -> Value:
            owner = value(frame)
            arguments = [item(frame) for item in given]
            if type(owner) not in kinds:
                raise type_error(f"a {kind_name(owner)} has no method {name}")
            return method(owner, arguments, frame[0])

        return call, price + more

    def _host(self, node: Node) -> tuple[Eval, int]:
        name = HOST[node[1]][0]
        given, price = self._all(node[2])
        price += HOST_PRICES[name]
        writes = name in ("transfer", "escrow")

        def ask(frame: Frame) -> Value:
            if writes:
                storage.writable(frame[1], "moves nothing")
            return frame[1].host.ask(name, [item(frame) for item in given], frame[0])

        return ask, price

    def _remote(self, node: Node) -> tuple[Eval, int]:
        address, price = self._expression(node[1])
        name = str(self._code.constants[node[2]])
        given, more = self._all(node[3])

        def call(frame: Frame) -> Value:
            target = address(frame)
            return frame[1].host.call(target, name, [item(frame) for item in given], frame[0])

        return call, price + more
