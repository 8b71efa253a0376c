"""Expressions of the source to operations, with the variables they name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, NoReturn

from althing.ledger.vm import limits
from althing.ledger.vm.errors import LanguageError
from althing.ledger.vm.ir import Node, Op, Parameter
from althing.ledger.vm.language import syntax as s
from althing.ledger.vm.language.names import BUILTIN_NUMBERS, HOST_NUMBERS, Head, Names, refuse
from althing.ledger.vm.surface import BUILTINS, HOST, METHODS, NO_LIMIT

__all__ = ["BINARY", "ExpressionCompiler"]

BINARY: Final = {
    **{"+": Op.ADD, "-": Op.SUB, "*": Op.MUL, "/": Op.DIV, "//": Op.FLOORDIV, "%": Op.MOD, "**": Op.POW},
    **{"<<": Op.LSHIFT, ">>": Op.RSHIFT, "|": Op.BITOR, "^": Op.BITXOR, "&": Op.BITAND},
}
_UNARY: Final = {"-": Op.NEG, "+": Op.POS, "~": Op.INVERT, "not": Op.NOT}
_COMPARE: Final = {
    **{"==": Op.EQ, "!=": Op.NE, "<": Op.LT, "<=": Op.LE, ">": Op.GT, ">=": Op.GE, "in": Op.IN, "not in": Op.NOT_IN},
}
_METHOD_NUMBERS: Final = {name: number for number, (name, _, _) in enumerate(METHODS)}
_SCAN_LIMIT: Final = 64

# Functions of Python that the language has not, and what to write.
_INSTEAD_OF: Final = {
    "print": 'Write event("name", field=value) for what others shall see.',
    "float": 'Decimal("0.5") is exact.',
    "set": "Use a list, or a dict whose values are True.",
    "isinstance": "A value's type is known from its declaration; for T | None compare with None.",
    "type": "A value's type is known from its declaration.",
    "hash": "sha256(…) is the same on every machine.",
    "id": "Compare values with ==.",
    "repr": "Write str(…).",
    "getattr": "Name the field.",
    "setattr": "Name the field.",
    "map": "Write [f(x) for x in …].",
    "filter": "Write [x for x in … if …].",
    "open": "A contract sees its state and its arguments only.",
    "input": "A contract sees its state and its arguments only.",
    "eval": "Code is what members approved, and nothing else.",
    "exec": "Code is what members approved, and nothing else.",
    "pow": "Write a ** b.",
    "frozenset": "Use a tuple.",
    "super": "A contract has no base but Contract.",
}


class ExpressionCompiler(ABC):
    """Of one function. `slots` is how many locals it has so far."""

    def __init__(self, names: Names, head: Head) -> None:
        self._names = names
        self._head = head
        self._locals: dict[str, int] = {item.name: number for number, item in enumerate(head.parameters)}
        self.slots = len(head.parameters)
        self._slot_names = [item.name for item in head.parameters]
        self._at: dict[int, s.Node] = {}
        self._depth = 0

    @abstractmethod
    def _target(self, target: s.Expression, *, assigning: bool = True) -> Node:
        """What a comprehension assigns to."""

    # --- variables

    def _assigned(self, name: str, at: s.Node) -> int:
        slot = self._locals.get(name)
        if slot is None:
            if self._names.hides(name):
                refuse(at, f"the variable {name} would hide something", "Choose another name.")
            slot = self._locals[name] = self._slot(name, at)
        return slot

    def _slot(self, name: str, at: s.Node) -> int:
        if self.slots >= limits.LOCALS_MAX:
            refuse(at, f"a function has at most {limits.LOCALS_MAX} variables", "Divide the function.")
        self._slot_names.append(name)
        self.slots += 1
        return self.slots - 1

    def _local(self, name: s.Name) -> int:
        slot = self._locals.get(name.name)
        if slot is None:
            self._unknown(name)
        return slot

    def _unknown(self, name: s.Name) -> NoReturn:
        text = name.name
        if text in _INSTEAD_OF:
            refuse(name, f"{text} is not part of the language", _INSTEAD_OF[text])
        if text in HOST_NUMBERS or text in ("Decimal", "event", "contract"):
            if text not in self._names.imported:
                self._names.library(name, text)
            refuse(name, f"{text} is called, not named", f"{text}(…)")
        if text == "self":
            refuse(name, "self is not a value", "Name the field or method: self.name")
        known = text in BUILTIN_NUMBERS or text in self._names.functions or text in self._names.records
        if known or text in self._names.error_numbers:
            refuse(name, f"{text} is called, not named", f"{text}(…)")
        raise LanguageError("contract.name", f"{text} is not defined here", name.line, name.column)

    # --- expressions

    def _expression(self, expression: s.Expression) -> Node:
        self._depth += 1
        if self._depth > limits.EXPRESSION_NESTING_MAX:
            refuse(expression, "the expression is too long", "Name a part of it on a line before.")
        node = self._written(expression)
        self._depth -= 1
        return node

    def _all(self, expressions: tuple[s.Expression, ...]) -> tuple[Node, ...]:
        return tuple(self._expression(item) for item in expressions)

    def _written(self, expression: s.Expression) -> Node:
        match expression:
            case s.Constant():
                return self._names.literal(expression)
            case s.Name(name=name):
                if name in self._names.constant_expressions and name not in self._locals:
                    return self._names.literal(self._names.constant_expressions[name])
                node = (Op.LOCAL, self._local(expression))
                self._at[id(node)] = expression  # determinism: an identity within this call, for messages
                return node
            case s.Format(parts=parts):
                return (Op.FORMAT, self._all(parts))
            case s.Unary(operator="-", operand=s.Constant(value=value)) if type(value) is int:
                return self._names.literal(expression)
            case s.Unary(operator=operator, operand=operand):
                return (_UNARY[operator], self._expression(operand))
            case s.Binary(operator=operator, left=left, right=right):
                return (BINARY[operator], self._expression(left), self._expression(right))
            case s.Boolean(operator=operator, left=left, right=right):
                return (Op.AND if operator == "and" else Op.OR, self._expression(left), self._expression(right))
            case s.Compare():
                return self._compare(expression)
            case s.Conditional(test=test, yes=yes, no=no):
                return (Op.COND, self._expression(test), self._expression(yes), self._expression(no))
            case s.Sequence(kind=kind, items=items):
                return (Op.LIST if kind == "list" else Op.TUPLE, self._all(items))
            case s.Dict(items=pairs):
                if 2 * len(pairs) > limits.ITEMS_MAX:
                    refuse(expression, "the dict is too large", "Fill it in parts.")
                return (Op.DICT, self._all(tuple(part for pair in pairs for part in pair)))
            case s.Comprehension():
                return self._comprehension(expression)
            case s.Subscript(value=value, index=index):
                return self._subscript(value, index)
            case s.Attribute(value=s.Name(name="self"), name=name) if "self" not in self._locals:
                return self._state(expression, name)
            case s.Attribute(value=value, name=name):
                return (Op.FIELD, self._expression(value), self._names.constants.number(name))
            case s.Call():
                return self._call(expression)
        refuse(expression, "a slice stands in brackets behind a value", "")

    def _compare(self, compare: s.Compare) -> Node:
        """a < b < c is a < b and b < c, with b evaluated once."""
        found: Node | None = None
        left = self._expression(compare.operands[0])
        for number, operator in enumerate(compare.operators):
            source = compare.operands[number + 1]
            if operator in ("is", "is not"):
                if not (isinstance(source, s.Constant) and source.value is None):
                    refuse(source, "only None is compared with 'is'", "Write == or !=.")
                right = None
                node: Node = (Op.IS_NONE if operator == "is" else Op.NOT_NONE, left)
            elif operator in ("in", "not in") and (field := self._state_field(source, "Map")) is not None:
                right = None
                node = (Op.MAP_HAS, field, left)
                node = (Op.NOT, node) if operator == "not in" else node
            else:
                right = self._expression(source)
                following = None
                if number + 1 < len(compare.operators) and right[0] not in (Op.CONST, Op.LOCAL):
                    slot = self._slot("a value between two comparisons", source)
                    right, following = (Op.SET_LOCAL, slot, right), (Op.LOCAL, slot)
                    self._at[id(following)] = source  # determinism: an identity within this call, for messages
                node = (_COMPARE[operator], left, right)
                left = following or right
            if right is None and number + 1 < len(compare.operators):
                refuse(compare, "this comparison ends a chain", "Join comparisons with and.")
            found = node if found is None else (Op.AND, found, node)
        assert found is not None, "a comparison has an operator"
        return found

    def _state_field(self, value: s.Expression, kind: str) -> int | None:
        """The number of `self.name`, when it is a state field of that kind."""
        if isinstance(value, s.Attribute) and isinstance(value.value, s.Name) and value.value.name == "self":
            number, found = self._names.fields.get(value.name, (0, ""))
            if found == kind:
                self._inside(value)
                return number
        return None

    def _inside(self, at: s.Node) -> None:
        if not self._head.method:
            refuse(at, "functions outside the contract see no state", "Make it a method, or pass the value.")

    def _state(self, at: s.Node, name: str) -> Node:
        self._inside(at)
        if name in self._names.methods:
            refuse(at, f"{name} is a method", f"self.{name}(…)")
        if name not in self._names.fields:
            refuse(at, f"the contract has no state field {name}", f"Declare it in the class: {name}: type")
        number, kind = self._names.fields[name]
        if kind == "Map":
            refuse(
                at, f"{name} is a Map: it is read by key", f"self.{name}[key], .get(key, default), .keys(after, limit)"
            )
        if kind == "List":
            refuse(at, f"{name} is a List: it is read by index", f"self.{name}[i], len(self.{name})")
        return (Op.STATE, number)

    def _subscript(self, value: s.Expression, index: s.Expression) -> Node:
        for kind, operation in (("Map", Op.MAP_GET), ("List", Op.LIST_GET)):
            field = self._state_field(value, kind)
            if field is not None:
                if isinstance(index, s.Slice):
                    refuse(index, f"a {kind} has no slices", "Read item by item.")
                return (operation, field, self._expression(index))
        if isinstance(index, s.Slice):
            bounds = [None if part is None else self._expression(part) for part in (index.lower, index.upper)]
            return (Op.SLICE, self._expression(value), *bounds)
        return (Op.INDEX, self._expression(value), self._expression(index))

    def _iterable(self, value: s.Expression) -> Node:
        if isinstance(value, s.Call) and isinstance(value.function, s.Name) and value.function.name == "range":
            parts = list(self._all(value.arguments))
            if value.named or not 1 <= len(parts) <= 3:
                refuse(value, "range takes one to three numbers", "range(start, stop, step)")
            zero, one = (Op.CONST, self._names.constants.number(0)), (Op.CONST, self._names.constants.number(1))
            if len(parts) == 1:
                parts = [zero, *parts]
            if len(parts) == 2:
                parts = [*parts, one]
            return (Op.RANGE, *parts)
        for kind in ("Map", "List"):
            if self._state_field(value, kind) is not None:
                instead = "for key in self.….keys(after, limit)" if kind == "Map" else "for i in range(len(self.…))"
                refuse(value, f"a {kind} may be larger than a call can read", instead)
        return self._expression(value)

    def _comprehension(self, expression: s.Comprehension) -> Node:
        outer = dict(self._locals)
        clauses = []
        for clause in expression.clauses:
            iterable = self._iterable(clause.iterable)
            # Variables of a comprehension are its own, also when the function has one of the same name.
            for name in _target_names(clause.target):
                if self._names.hides(name):
                    refuse(clause, f"the variable {name} would hide something", "Choose another name.")
                self._locals[name] = self._slot(name, clause)
            clauses.append((self._target(clause.target), iterable, self._all(clause.conditions)))
        values = [self._expression(expression.element)]
        if expression.value is not None:
            values.append(self._expression(expression.value))
        self._locals = outer
        return (Op.LIST_COMP if expression.value is None else Op.DICT_COMP, tuple(clauses), *values)

    # --- calls

    def _call(self, call: s.Call) -> Node:
        match call.function:
            case s.Name():
                return self._named_call(call, call.function)
            case s.Attribute(value=s.Name(name="self"), name=name):
                return self._self_call(call, name)
            case s.Attribute(value=s.Attribute(value=s.Name(name="self")) as value, name=name) if (
                self._names.fields.get(value.name, (0, "value"))[1] != "value"
            ):
                return self._collection_call(call, value, name)
            case s.Attribute(value=s.Call(function=s.Name(name="contract"), arguments=address, named=()), name=name):
                self._names.library(call, "contract")
                if len(address) != 1:
                    refuse(call, "contract takes one address", "contract(address).method(…)")
                if call.named:
                    refuse(call, "another contract's method takes its arguments by position", "")
                return (
                    Op.REMOTE,
                    self._expression(address[0]),
                    self._names.constants.number(name),
                    self._all(call.arguments),
                )
            case s.Attribute(value=value, name=name):
                return self._method_call(call, value, name)
        refuse(call, "this cannot be called", "")

    def _named_call(self, call: s.Call, function: s.Name) -> Node:
        name = function.name
        if name in self._locals:
            refuse(function, f"{name} is a variable, not a function", "")
        if name in self._names.functions:
            number, head = self._names.functions[name]
            return (Op.CALL, number, self._filled(call, name, head.parameters))
        if name in self._names.records:
            return (Op.NEW, self._names.records[name], self._filled(call, name, self._names.record_fields[name]))
        if name == "Decimal":
            self._names.library(function, name)
            if len(call.arguments) == 1 and isinstance(call.arguments[0], s.Constant | s.Unary) and not call.named:
                return self._names.literal(call)
        if name == "range":
            refuse(call, "range stands behind in", "Write [i for i in range(n)] for a list.")
        if name in BUILTIN_NUMBERS:
            return self._builtin(call, name)
        if name in HOST_NUMBERS:
            self._names.library(function, name)
            number = HOST_NUMBERS[name]
            return (Op.HOST, number, self._counted(call, name, *HOST[number][1:]))
        if name == "event":
            self._names.library(function, name)
            refuse(call, "an event has no value", "Write it on a line of its own.")
        if name in self._names.error_numbers:
            refuse(function, f"{name} is an error: it is raised", f"raise {name}(…)")
        self._unknown(function)

    def _builtin(self, call: s.Call, name: str) -> Node:
        number = BUILTIN_NUMBERS[name]
        arguments, named = call.arguments, dict(call.named)
        if name == "len" and len(arguments) == 1 and not named:
            field = self._state_field(arguments[0], "List")
            if field is not None:
                return (Op.LIST_LENGTH, field)
            if self._state_field(arguments[0], "Map") is not None:
                refuse(call, "a Map does not know how many keys it has", "Count in a field of its own.")
        keyword = {"sorted": "reverse", "enumerate": "start", "sum": "start"}.get(name)
        if keyword in named and len(arguments) == 1:
            arguments = (*arguments, named.pop(keyword))
        elif name == "sorted" and len(arguments) > 1:
            refuse(call, "sorted takes reverse by name", "sorted(values, reverse=True)")
        if named:
            refuse(call, f"{name} takes no argument {next(iter(named))}", "")
        return (Op.BUILTIN, number, self._counted(call, name, *BUILTINS[number][1:], arguments=arguments))

    def _self_call(self, call: s.Call, name: str) -> Node:
        self._inside(call)
        if name not in self._names.methods:
            refuse(call, f"the contract has no method {name}", "")
        number, head = self._names.methods[name]
        if head.kind in ("init", "migrate"):
            refuse(call, f"{name} runs by itself, once", "Put what is shared into another method.")
        return (Op.CALL, number, self._filled(call, name, head.parameters))

    def _collection_call(self, call: s.Call, value: s.Attribute, name: str) -> Node:
        self._inside(value)
        field, kind = self._names.fields[value.name]
        if kind == "List":
            if name == "append":
                return (Op.LIST_APPEND, field, *self._counted(call, name, 1, 1))
            if name == "pop":
                self._counted(call, name, 0, 0)
                return (Op.LIST_POP, field)
            refuse(call, f"a List has no {name}", "append(value), pop(), [i], len()")
        if name == "get":
            arguments = self._counted(call, name, 1, 2)
            return (Op.MAP_FIND, field, arguments[0], arguments[1] if len(arguments) == 2 else (Op.NONE,))
        if name == "keys":
            parameters = (Parameter("after", 0, (Op.NONE,)), Parameter("limit", 0, (Op.NONE,)))
            given = self._filled(call, name, parameters)
            limit = given[1] if len(given) > 1 else (Op.CONST, self._names.constants.number(_SCAN_LIMIT))
            return (Op.MAP_KEYS, field, given[0] if given else (Op.NONE,), limit)
        refuse(call, f"a Map has no {name}", "[key], get(key, default), keys(after=…, limit=…), key in …, del")

    def _method_call(self, call: s.Call, value: s.Expression, name: str) -> Node:
        number = _METHOD_NUMBERS.get(name)
        if number is None:
            instead = {
                "format": 'Write f"…{value}…".',
                "lstrip": "Use strip().",
                "rstrip": "Use strip().",
                "title": "Use upper() or lower().",
                "isalpha": "Compare the characters.",
            }.get(name, "Methods: " + ", ".join(sorted(_METHOD_NUMBERS)) + ".")
            refuse(call, f"no value has a method {name}", instead)
        receiver = self._expression(value)
        return (Op.METHOD, number, receiver, self._counted(call, name, *METHODS[number][1:]))

    def _counted(
        self, call: s.Call, name: str, least: int, most: int, *, arguments: tuple[s.Expression, ...] | None = None
    ) -> tuple[Node, ...]:
        given = call.arguments if arguments is None else arguments
        if call.named and arguments is None:
            refuse(call, f"{name} takes its arguments by position", "")
        if not least <= len(given) <= most:
            wanted = f"{least}" if least == most else f"at least {least}" if most == NO_LIMIT else f"{least} to {most}"
            refuse(call, f"{name} takes {wanted} argument{'' if wanted == '1' else 's'}, not {len(given)}", "")
        return self._all(given)

    def _filled(self, call: s.Call, name: str, parameters: tuple[Parameter, ...]) -> tuple[Node, ...]:
        """Arguments by position and by name, in the parameters' order; evaluated in that order too."""
        if len(call.arguments) > len(parameters):
            refuse(call, f"{name} takes {len(parameters)} arguments, not {len(call.arguments)}", "")
        by_name = dict(call.named)
        known = [item.name for item in parameters]
        for given in by_name:
            if given not in known:
                refuse(call, f"{name} has no parameter {given}", "It has: " + ", ".join(known) + ".")
            if known.index(given) < len(call.arguments):
                refuse(call, f"{given} is given twice", "")
        if [known.index(given) for given in by_name] != sorted(known.index(given) for given in by_name):
            refuse(
                call, "arguments by name stand in another order than the parameters", "Use the order of the definition."
            )
        found: list[Node] = list(self._all(call.arguments))
        last = max((known.index(given) for given in by_name), default=len(found) - 1)
        for number in range(len(found), len(parameters)):
            parameter = parameters[number]
            if parameter.name in by_name:
                found.append(self._expression(by_name[parameter.name]))
            elif parameter.default is None:
                refuse(call, f"{name} needs {parameter.name}", "")
            elif number < last:
                found.append(parameter.default)
        return tuple(found)


def _target_names(target: s.Expression) -> list[str]:
    match target:
        case s.Name(name=name):
            return [name]
        case s.Sequence(items=items):
            return [name for item in items for name in _target_names(item)]
    return []
