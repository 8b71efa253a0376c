"""A code, ready to run: every family of operations together, and the tables that lead to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from althing.ledger.vm.errors import Halt
from althing.ledger.vm.ir import OPERATIONS, Code, Function, Node, Op
from althing.ledger.vm.machine.calls import Calls
from althing.ledger.vm.machine.expressions import Expressions
from althing.ledger.vm.machine.frames import Eval, Exec, Instance
from althing.ledger.vm.machine.reading import Reading
from althing.ledger.vm.machine.statements import Statements
from althing.ledger.vm.meter import Meter
from althing.ledger.vm.operators import UNARY
from althing.ledger.vm.values import RecordType, Value

__all__ = ["Program"]


class Program:
    """Made once for a code hash and shared by all calls."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.records = tuple(
            RecordType(number, record.name, record.fields) for number, record in enumerate(code.records)
        )
        self.by_name = {function.name: number for number, function in enumerate(code.functions)}
        self._bodies: list[Exec] = []
        self._machine = _Machine(code, self.records, self._bodies)
        self._bodies.extend(self._machine.body(function) for function in code.functions)

    def run(self, instance: Instance, number: int, arguments: list[Value], meter: Meter) -> Value:
        """A function with as many values as it has parameters, to the value that it returns."""
        function = self.code.functions[number]
        meter.charge(OPERATIONS[Op.CALL].gas)
        meter.depth -= function.depth
        if meter.depth < 0:
            raise Halt("depth")
        try:
            result = self._bodies[number]([meter, instance, *arguments, *[None] * (function.locals - len(arguments))])
        finally:
            meter.depth += function.depth
        return None if result is None else result[0]

    def constant(self, node: Node) -> Value:
        """The value of a default."""
        return self._machine.constant(node)


class _Machine(Statements, Expressions, Calls, Reading):
    """All families together."""

    def body(self, function: Function) -> Exec:
        return self._block(function.body)

    def _statement(self, node: Node) -> Exec:
        build = _STATEMENTS[node[0]]
        return build(self, node, OPERATIONS[node[0]].gas)

    def _expression(self, node: Node) -> tuple[Eval, int]:
        op = node[0]
        price = OPERATIONS[op].gas
        build = _EXPRESSIONS.get(op)
        if build is not None:
            value, more = build(self, node)
            return value, price + more
        if op in UNARY:
            inner, more = self._expression(node[1])
            apply_one = UNARY[op]
            return (lambda frame: apply_one(inner(frame))), price + more
        return self._binary(node, price)


_STATEMENTS: Final[dict[int, Callable[[_Machine, Node, int], Exec]]] = {
    Op.EVALUATE: _Machine._evaluate,
    Op.ASSIGN: _Machine._assign,
    Op.AUGMENT: _Machine._augment,
    Op.DELETE: _Machine._delete,
    Op.IF: _Machine._if,
    Op.WHILE: _Machine._while,
    Op.FOR: _Machine._for,
    Op.BREAK: _Machine._break,
    Op.CONTINUE: _Machine._continue,
    Op.RETURN: _Machine._return,
    Op.RAISE: _Machine._raise,
    Op.RERAISE: _Machine._reraise,
    Op.ASSERT: _Machine._assert,
    Op.TRY: _Machine._try,
    Op.EMIT: _Machine._emit,
}

_EXPRESSIONS: Final[dict[int, Callable[[_Machine, Node], tuple[Eval, int]]]] = {
    **dict.fromkeys((Op.CONST, Op.NONE, Op.TRUE, Op.FALSE), _Machine._const),
    **dict.fromkeys((Op.IS_NONE, Op.NOT_NONE), _Machine._is_none),
    **dict.fromkeys((Op.LIST_COMP, Op.DICT_COMP), _Machine._comprehension),
    Op.LOCAL: _Machine._local,
    Op.SET_LOCAL: _Machine._set_local,
    Op.AND: _Machine._and,
    Op.OR: _Machine._or,
    Op.COND: _Machine._cond,
    Op.LIST: _Machine._list,
    Op.TUPLE: _Machine._tuple,
    Op.DICT: _Machine._dict,
    Op.INDEX: _Machine._index,
    Op.SLICE: _Machine._slice,
    Op.FIELD: _Machine._field,
    Op.FORMAT: _Machine._format,
    Op.CALL: _Machine._call,
    Op.NEW: _Machine._new,
    Op.BUILTIN: _Machine._builtin,
    Op.METHOD: _Machine._method,
    Op.HOST: _Machine._host,
    Op.REMOTE: _Machine._remote,
    Op.STATE: _Machine._state,
    Op.MAP_GET: _Machine._map_get,
    Op.MAP_FIND: _Machine._map_find,
    Op.MAP_HAS: _Machine._map_has,
    Op.MAP_KEYS: _Machine._map_keys,
    Op.LIST_GET: _Machine._list_get,
    Op.LIST_LENGTH: _Machine._list_length,
    Op.LIST_APPEND: _Machine._list_append,
    Op.LIST_POP: _Machine._list_pop,
}
