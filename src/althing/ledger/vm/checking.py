"""Bytes to a code that can be executed: every rule that execution relies on is checked here, never assumed.

1. the outer form and the bounds;  2. names, types, constants, each once;  3. every body: operations, operands in range,
nesting, loops and handlers around what needs them, each local assigned before it is read;  4. one encoding.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from althing.ledger.vm import limits
from althing.ledger.vm.decimal import Decimal
from althing.ledger.vm.errors import BUILTIN_ERRORS, CodeError
from althing.ledger.vm.ir import (
    CODE_VERSION,
    FIELD_KINDS,
    FUNCTION_KINDS,
    OPERATIONS,
    TYPE_ARGUMENTS,
    TYPES,
    Code,
    Field,
    Function,
    Node,
    Op,
    Parameter,
    Record,
    TypeForm,
    encode,
)
from althing.ledger.vm.surface import BUILTINS, HOST, METHODS
from althing.protocol import codec
from althing.protocol.errors import EncodingError

__all__ = ["USER_ERRORS_FROM", "UnassignedError", "decode"]

USER_ERRORS_FROM: Final = 16
_EVERY_LOCAL: Final = -1  # the set of assigned locals where control never comes: all bits
_DEFAULTS: Final = (Op.CONST, Op.NONE, Op.TRUE, Op.FALSE)
_AUGMENTING: Final = range(Op.ADD, Op.BITAND + 1)
_FIELD_OF: Final = {
    Op.STATE: "value",
    **dict.fromkeys((Op.MAP_GET, Op.MAP_FIND, Op.MAP_HAS, Op.MAP_KEYS), "Map"),
    **dict.fromkeys((Op.LIST_GET, Op.LIST_LENGTH, Op.LIST_APPEND, Op.LIST_POP), "List"),
}


def decode(data: bytes) -> Code:
    """The code in `data`, checked, or CodeError `contract.code`."""
    try:
        item = codec.decode(data, bytes_max=limits.CODE_BYTES_MAX)
    except EncodingError as exc:
        raise CodeError(f"not a code: {exc.message}") from exc
    version, name, constants, records, errors, fields, functions = _shape(item, 7, "code")
    if version != CODE_VERSION:
        raise CodeError(
            f"code of version {version}, this is version {CODE_VERSION}" if type(version) is int else "no version"
        )
    names = _Names()
    names.add(name)
    all_constants = tuple(_constant(value) for value in _list(constants, limits.CONSTANTS_MAX, "constants"))
    if len({(type(value).__name__, str(value)) for value in all_constants}) != len(all_constants):
        raise CodeError("a constant stands twice")
    record_items = _list(records, limits.RECORDS_MAX, "records")
    code = Code(
        name=name,
        constants=all_constants,
        records=tuple(_record(record, names, all_constants, len(record_items)) for record in record_items),
        errors=tuple(names.add(error) for error in _list(errors, limits.ERRORS_MAX, "errors")),
        fields=tuple(
            _field(item, names, len(record_items)) for item in _list(fields, limits.FIELDS_MAX, "state fields")
        ),
        functions=(),
    )
    heads = [_head(item, names, code) for item in _list(functions, limits.FUNCTIONS_MAX, "functions")]
    kinds = [function.kind for function, _ in heads]
    if kinds.count("init") > 1 or kinds.count("migrate") > 1:
        raise CodeError("init and migrate stand once at most")
    code = _with_functions(code, tuple(function for function, _ in heads))
    code = _with_functions(code, tuple(_with_body(code, number, body) for number, (_, body) in enumerate(heads)))
    if encode(code) != data:
        raise CodeError("the bytes are not the canonical encoding of their code")
    return code


def _with_functions(code: Code, functions: tuple[Function, ...]) -> Code:
    return Code(code.name, code.constants, code.records, code.errors, code.fields, functions)


def _with_body(code: Code, number: int, body: bytes) -> Function:
    f = code.functions[number]
    checker = _Body(code, f, body)
    try:
        nodes = checker.block(1)
        checker.reader.end()
    except UnassignedError as exc:
        exc.function = number
        raise
    return Function(f.name, f.kind, f.parameters, f.returns, f.locals, nodes, checker.deepest)


class _Names:
    def __init__(self) -> None:
        self._seen: set[str] = set()

    def add(self, name: object) -> str:
        text = _name(name)
        if text in self._seen:
            raise CodeError(f"{text} is defined twice")
        self._seen.add(text)
        return text


def _name(name: object) -> str:
    if not (isinstance(name, str) and name.isascii() and name.isidentifier()) or name.startswith("__"):
        raise CodeError("a name is not an ASCII identifier")
    if len(name) > limits.NAME_CHARS_MAX:
        raise CodeError(f"a name has more than {limits.NAME_CHARS_MAX} characters")
    return name


def _shape(item: object, length: int, what: str) -> list[Any]:
    if not isinstance(item, list) or len(item) != length:
        raise CodeError(f"a {what} has {length} parts")
    return item


def _list(item: object, most: int, what: str) -> list[Any]:
    if not isinstance(item, list) or len(item) > most:
        raise CodeError(f"{what} are a list of at most {most}")
    return item


def _constant(item: object) -> int | str | bytes | Decimal:
    if isinstance(item, str):
        if len(item) > limits.TEXT_MAX or any("\ud800" <= char <= "\udfff" for char in item):
            raise CodeError("a text constant is too long or not text")
        return item
    if isinstance(item, bytes):
        return item
    kind, data = _shape(item, 2, "constant")
    if kind not in (0, 1) or type(kind) is not int or not isinstance(data, bytes) or not 1 <= len(data) <= 32:
        raise CodeError("a constant is a number of at most 32 bytes, a text or bytes")
    value = int.from_bytes(data, "big", signed=True)
    return Decimal(value) if kind == 1 else value


def _type(form: TypeForm, records: int, depth: int = 0) -> TypeForm:
    if depth > limits.TYPE_NESTING_MAX:
        raise CodeError("a type is nested too deep")
    if type(form) is int and 0 <= form < len(TYPES):
        if TYPES[form] in ("Optional", "list", "dict", "tuple", "record"):
            raise CodeError(f"the type {TYPES[form]} needs arguments")
        return form
    if not isinstance(form, list) or not form or type(form[0]) is not int or not 0 <= form[0] < len(TYPES):
        raise CodeError("a type is a number or a list")
    name, arguments = TYPES[form[0]], form[1:]
    if name == "record":
        if len(arguments) != 1 or type(arguments[0]) is not int or not 0 <= arguments[0] < records:
            raise CodeError("a type names no record")
        return form
    if name == "tuple" and 1 <= len(arguments) <= limits.PARAMETERS_MAX:
        pass
    elif TYPE_ARGUMENTS.get(name) != len(arguments):
        raise CodeError(f"the type {name} has other arguments")
    for argument in arguments:
        _type(argument, records, depth + 1)
    return form


def _parameter(item: object, constants: tuple[Any, ...], records: int) -> Parameter:
    name, form, default = _shape(item, 3, "parameter")
    node: Node | None = None
    if default is not None:
        if not isinstance(default, bytes) or not 1 <= len(default) <= 3 or default[0] not in _DEFAULTS:
            raise CodeError("a default is a constant")
        reader = _Reader(default, len(constants))
        node = (reader.byte(),)
        if node[0] == Op.CONST:
            node = (node[0], reader.below(len(constants), "constant"))
        reader.end()
    return Parameter(_name(name), _type(form, records), node)


def _parameters(items: object, most: int, constants: tuple[Any, ...], records: int, what: str) -> tuple[Parameter, ...]:
    found = tuple(_parameter(item, constants, records) for item in _list(items, most, what))
    if len({item.name for item in found}) != len(found):
        raise CodeError(f"two {what} have one name")
    defaulted = [item.default is not None for item in found]
    if sorted(defaulted) != defaulted:
        raise CodeError(f"{what} without a default stand before those with one")
    return found


def _record(item: object, names: _Names, constants: tuple[Any, ...], records: int) -> Record:
    name, fields = _shape(item, 2, "record")
    found = _parameters(fields, limits.FIELDS_MAX, constants, records, "fields of a record")
    return Record(names.add(name), found)


def _field(item: object, names: _Names, records: int) -> Field:
    name, kind, types = _shape(item, 3, "state field")
    if type(kind) is not int or not 0 <= kind < len(FIELD_KINDS):
        raise CodeError("a state field is a value, a Map or a List")
    forms = _list(types, 2, "types of a state field")
    if len(forms) != (2 if FIELD_KINDS[kind] == "Map" else 1):
        raise CodeError("a Map has two types, other state fields one")
    return Field(names.add(name), FIELD_KINDS[kind], tuple(_type(form, records) for form in forms))


def _head(item: object, names: _Names, code: Code) -> tuple[Function, bytes]:
    name, kind, parameters, returns, slots, body = _shape(item, 6, "function")
    if type(kind) is not int or not 0 <= kind < len(FUNCTION_KINDS):
        raise CodeError("a function's kind is unknown")
    if type(slots) is not int or not 0 <= slots <= limits.LOCALS_MAX or not isinstance(body, bytes):
        raise CodeError(f"a function has at most {limits.LOCALS_MAX} locals and a body")
    found = _parameters(parameters, limits.PARAMETERS_MAX, code.constants, len(code.records), "parameters")
    if len(found) > slots:
        raise CodeError("parameters are locals")
    form = _type(returns, len(code.records))
    return Function(names.add(name), FUNCTION_KINDS[kind], found, form, slots, ()), body


class _Reader:
    def __init__(self, data: bytes, constants: int) -> None:
        self.data = data
        self.at = 0
        self.constants = constants

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise CodeError("a body ends in the middle")
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 21:
                raise CodeError("a number in a body is too large")

    def below(self, bound: int, what: str) -> int:
        value = self.number()
        if value >= bound:
            raise CodeError(f"{what} {value} does not exist")
        return value

    def end(self) -> None:
        if self.at != len(self.data):
            raise CodeError("bytes after the end of a body")


class UnassignedError(CodeError):
    """A local is read where it may not be assigned; `end` is the place in the function's body behind the reading node."""

    def __init__(self, slot: int, end: int) -> None:
        super().__init__(f"local {slot} is read where it may not be assigned")
        self.slot = slot
        self.end = end
        self.function: int | None = None


class _Flow:
    """Which locals are surely assigned, as the bits of an integer, along the order of execution."""

    def __init__(self, parameters: int) -> None:
        self.assigned = (1 << parameters) - 1
        self.loops: list[int] = []
        self.handlers = 0
        self.final = 0


class _Body:
    def __init__(self, code: Code, function: Function, body: bytes) -> None:
        self.reader = _Reader(body, len(code.constants))
        self.flow = _Flow(len(function.parameters))
        self.deepest = 1
        self._code = code
        self._slots = function.locals

    # --- statements

    def block(self, depth: int) -> tuple[Node, ...]:
        count = self.reader.below(limits.ITEMS_MAX + 1, "a statement count of")
        return tuple(self._statement(depth + 1) for _ in range(count))

    def _statement(self, depth: int) -> Node:
        self._level(depth)
        op = self.reader.byte()
        flow = self.flow
        match op:
            case Op.EVALUATE:
                return (op, self.expression(depth))
            case Op.ASSIGN:
                # The value is evaluated first, so what the target names is assigned after it; the target stands first.
                target, pending = self._target(depth, assigning=True)
                value = self.expression(depth)
                flow.assigned |= pending
                return (op, target, value)
            case Op.AUGMENT:
                target, pending = self._target(depth, assigning=False)
                operator = self.reader.byte()
                if operator not in _AUGMENTING or target[0] == Op.TO_TUPLE:
                    raise CodeError("an augmented assignment has an operator and one target")
                return (op, target, operator, self.expression(depth))
            case Op.DELETE:
                target, _ = self._target(depth, assigning=False)
                if target[0] not in (Op.TO_INDEX, Op.TO_MAP):
                    raise CodeError("only items are deleted")
                return (op, target)
            case Op.IF:
                test = self.expression(depth)
                before = flow.assigned
                yes = self.block(depth)
                after, flow.assigned = flow.assigned, before
                no = self.block(depth)
                flow.assigned &= after
                return (op, test, yes, no)
            case Op.WHILE:
                test = self.expression(depth)
                before = flow.assigned
                body, broken = self._loop(depth)
                flow.assigned = broken if test[0] == Op.TRUE else before & broken
                return (op, test, body)
            case Op.FOR:
                return self._for(depth)
            case Op.BREAK | Op.CONTINUE:
                if not flow.loops:
                    raise CodeError("break and continue stand in loops")
                if op == Op.BREAK:
                    flow.loops[-1] &= flow.assigned
                flow.assigned = _EVERY_LOCAL
                return (op,)
            case Op.RETURN:
                if flow.final:
                    raise CodeError("finally does not return")
                returned = self._optional(depth)
                flow.assigned = _EVERY_LOCAL
                return (op, returned)
            case Op.RAISE:
                number = self._error()
                message = self.expression(depth)
                flow.assigned = _EVERY_LOCAL
                return (op, number, message)
            case Op.RERAISE:
                if not flow.handlers:
                    raise CodeError("raise alone stands in a handler")
                flow.assigned = _EVERY_LOCAL
                return (op,)
            case Op.ASSERT:
                test = self.expression(depth)
                before = flow.assigned
                otherwise = self._optional(depth)
                flow.assigned = before
                return (op, test, otherwise)
            case Op.TRY:
                return self._try(depth)
            case Op.EMIT:
                name = self._name()
                count = self.reader.below(limits.FIELDS_MAX + 1, "a value count of")
                return (op, name, tuple((self._name(), self.expression(depth)) for _ in range(count)))
        self._unknown(op, "a statement")

    def _loop(self, depth: int) -> tuple[tuple[Node, ...], int]:
        """A loop's body, and what is assigned at every break of it."""
        self.flow.loops.append(_EVERY_LOCAL)
        body = self.block(depth)
        return body, self.flow.loops.pop()

    def _for(self, depth: int) -> Node:
        target, pending = self._target(depth, assigning=True)
        iterable = self._iterable(depth)
        before = self.flow.assigned
        self.flow.assigned |= pending
        body, broken = self._loop(depth)
        self.flow.assigned = before & broken
        return (Op.FOR, target, iterable, body)

    def _try(self, depth: int) -> Node:
        flow = self.flow
        before = flow.assigned
        body = self.block(depth)
        ends = flow.assigned
        handlers = []
        leaving = _EVERY_LOCAL
        for _ in range(self.reader.below(limits.PARAMETERS_MAX + 1, "a handler count of")):
            flow.assigned = before
            kinds = tuple(
                self._error() for _ in range(self.reader.below(limits.PARAMETERS_MAX + 1, "an error count of"))
            )
            if not kinds:
                raise CodeError("a handler catches something")
            slot = self.reader.below(self._slots + 1, "local") - 1
            if slot >= 0:
                flow.assigned |= 1 << slot
            flow.handlers += 1
            handlers.append((kinds, None if slot < 0 else slot, self.block(depth)))
            flow.handlers -= 1
            leaving &= flow.assigned
        flow.assigned = ends
        otherwise = self.block(depth)
        leaving &= flow.assigned
        flow.assigned = before
        loops, flow.loops = flow.loops, []
        flow.final += 1
        final = self.block(depth)
        flow.final -= 1
        flow.loops = loops
        if not handlers and (not final or otherwise):
            raise CodeError("try has a handler or a finally, and else only after a handler")
        flow.assigned = leaving | flow.assigned
        return (Op.TRY, body, tuple(handlers), otherwise, final)

    # --- targets

    def _target(self, depth: int, *, assigning: bool) -> tuple[Node, int]:
        """A target, and the locals it assigns."""
        self._level(depth)
        op = self.reader.byte()
        match op:
            case Op.TO_LOCAL:
                slot = self.reader.below(self._slots, "local")
                if not assigning:
                    self._assigned(slot)
                return (op, slot), 1 << slot
            case Op.TO_TUPLE:
                count = self.reader.below(limits.PARAMETERS_MAX + 1, "a target count of")
                if not count:
                    raise CodeError("a target has parts")
                items, pending = [], 0
                for _ in range(count):
                    item, bits = self._target(depth + 1, assigning=assigning)
                    items.append(item)
                    pending |= bits
                return (op, tuple(items)), pending
            case Op.TO_INDEX:
                return (op, self.expression(depth), self.expression(depth)), 0
            case Op.TO_FIELD:
                return (op, self.expression(depth), self._name()), 0
            case Op.TO_STATE:
                return (op, self._field("value")), 0
            case Op.TO_MAP:
                return (op, self._field("Map"), self.expression(depth)), 0
            case Op.TO_LIST:
                return (op, self._field("List"), self.expression(depth)), 0
        self._unknown(op, "a target")

    # --- expressions

    def _iterable(self, depth: int) -> Node:
        reader = self.reader
        if reader.at < len(reader.data) and reader.data[reader.at] == Op.RANGE:
            self._level(depth + 1)
            reader.byte()
            return (Op.RANGE, self.expression(depth + 1), self.expression(depth + 1), self.expression(depth + 1))
        return self.expression(depth)

    def _optional(self, depth: int) -> Node | None:
        return self.expression(depth) if self.reader.below(2, "presence") else None

    def expression(self, depth: int) -> Node:
        depth += 1
        self._level(depth)
        op = self.reader.byte()
        flow = self.flow
        match op:
            case Op.LOCAL:
                slot = self.reader.below(self._slots, "local")
                self._assigned(slot)
                return (op, slot)
            case Op.SET_LOCAL:
                slot = self.reader.below(self._slots, "local")
                value = self.expression(depth)
                flow.assigned |= 1 << slot
                return (op, slot, value)
            case Op.AND | Op.OR:
                left = self.expression(depth)
                before = flow.assigned
                right = self.expression(depth)
                flow.assigned = before
                return (op, left, right)
            case Op.COND:
                test = self.expression(depth)
                before = flow.assigned
                yes = self.expression(depth)
                flow.assigned = before
                no = self.expression(depth)
                flow.assigned = before
                return (op, test, yes, no)
            case Op.LIST_COMP | Op.DICT_COMP:
                return self._comprehension(op, depth)
            case Op.CALL:
                number = self.reader.below(len(self._code.functions), "function")
                function = self._code.functions[number]
                if function.kind in ("init", "migrate"):
                    raise CodeError("init and migrate are not called by code")
                least = sum(1 for item in function.parameters if item.default is None)
                return (op, number, self._arguments(depth, least, len(function.parameters)))
            case Op.NEW:
                number = self.reader.below(len(self._code.records), "record")
                fields = self._code.records[number].fields
                least = sum(1 for item in fields if item.default is None)
                return (op, number, self._arguments(depth, least, len(fields)))
            case Op.BUILTIN | Op.HOST:
                table = BUILTINS if op == Op.BUILTIN else HOST
                number = self.reader.below(len(table), "function")
                return (op, number, self._arguments(depth, *table[number][1:]))
            case Op.METHOD:
                number = self.reader.below(len(METHODS), "method")
                value = self.expression(depth)
                return (op, number, value, self._arguments(depth, *METHODS[number][1:]))
            case Op.DICT:
                items = self._arguments(depth, 0, limits.ITEMS_MAX)
                if len(items) % 2:
                    raise CodeError("a dict has a value to each key")
                return (op, items)
            case Op.RANGE:
                raise CodeError("range stands behind in")
        operation = OPERATIONS.get(op)
        if operation is None or op >= Op.EVALUATE:
            self._unknown(op, "an expression")
        return (op, *(self._operand(op, kind, depth) for kind in operation.operands))

    def _operand(self, op: int, kind: str, depth: int) -> Any:
        match kind:
            case "e":
                return self.expression(depth)
            case "x":
                return self._optional(depth)
            case "E":
                return self._arguments(depth, 0, limits.ITEMS_MAX)
            case "k":
                return self.reader.below(len(self._code.constants), "constant")
            case "n":
                return self._name()
            case "d":
                return self._field(_FIELD_OF[op])
        raise AssertionError(f"operand {kind}")

    def _comprehension(self, op: int, depth: int) -> Node:
        flow = self.flow
        before = flow.assigned
        clauses = []
        count = self.reader.below(5, "a loop count of")
        if not count:
            raise CodeError("a comprehension loops")
        for _ in range(count):
            target, pending = self._target(depth, assigning=True)
            iterable = self._iterable(depth)
            flow.assigned |= pending
            clauses.append((target, iterable, self._arguments(depth, 0, limits.ITEMS_MAX)))
        values = tuple(self.expression(depth) for _ in range(1 if op == Op.LIST_COMP else 2))
        flow.assigned = before
        return (op, tuple(clauses), *values)

    def _arguments(self, depth: int, least: int, most: int) -> tuple[Node, ...]:
        count = self.reader.below(limits.ITEMS_MAX + 1, "an argument count of")
        if not least <= count <= most:
            raise CodeError(f"{count} arguments where {least} to {most} are taken")
        return tuple(self.expression(depth) for _ in range(count))

    # --- operands

    def _name(self) -> int:
        number = self.reader.below(len(self._code.constants), "constant")
        _name(self._code.constants[number])
        return number

    def _field(self, kind: str) -> int:
        number = self.reader.below(len(self._code.fields), "state field")
        if self._code.fields[number].kind != kind:
            raise CodeError(f"the state field {self._code.fields[number].name} is no {kind}")
        return number

    def _error(self) -> int:
        number = self.reader.number()
        if number < len(BUILTIN_ERRORS) or 0 <= number - USER_ERRORS_FROM < len(self._code.errors):
            return number
        raise CodeError(f"error {number} does not exist")

    def _assigned(self, slot: int) -> None:
        if not self.flow.assigned >> slot & 1:
            raise UnassignedError(slot, self.reader.at)

    def _level(self, depth: int) -> None:
        if depth > limits.CODE_NESTING_MAX:
            raise CodeError(f"a body is nested deeper than {limits.CODE_NESTING_MAX}")
        self.deepest = max(self.deepest, depth)

    def _unknown(self, op: int, what: str) -> NoReturn:
        raise CodeError(f"0x{op:02x} is not {what}")
