"""A function's body: statements and targets of the source to operations."""

from __future__ import annotations

from althing.ledger.vm import limits
from althing.ledger.vm.errors import BUILTIN_ERRORS
from althing.ledger.vm.ir import Node, Op, encode_body
from althing.ledger.vm.language import syntax as s
from althing.ledger.vm.language.names import Head, Names, refuse
from althing.ledger.vm.language.values import BINARY, ExpressionCompiler

__all__ = ["BodyCompiler"]


class BodyCompiler(ExpressionCompiler):
    """One function."""

    def __init__(self, names: Names, head: Head) -> None:
        super().__init__(names, head)
        self._loops = 0
        self._handlers = 0
        self._final = False
        self._ends: dict[int, int] = {}
        self._kept: tuple[Node, ...] = ()

    def compiled(self) -> tuple[Node, ...]:
        for parameter in self._head.parameters:
            if self._names.hides(parameter.name):
                refuse(self._head.source, f"the parameter {parameter.name} hides something", "Choose another name.")
        nodes = self._block(self._head.source.body)
        encode_body(nodes, self._ends)
        self._kept = nodes  # what `_ends` names by identity
        return nodes

    def places(self) -> dict[int, int]:
        """From the place behind a node in the encoded body to its line."""
        return {end: self._at[key].line for key, end in self._ends.items() if key in self._at}

    def local_at(self, end: int, slot: int) -> tuple[str, int, int]:
        """The name, line and column of a local's reading."""
        for key, place in self._ends.items():
            if place == end and key in self._at:
                at = self._at[key]
                return self._slot_names[slot], at.line, at.column
        raise AssertionError("each reading of a local has a place")

    # --- statements

    def _block(self, body: tuple[s.Statement, ...]) -> tuple[Node, ...]:
        found: list[Node] = []
        for statement in body:
            node = self._statement(statement)
            if node is not None:
                self._at[id(node)] = statement  # determinism: an identity within this call, for messages
                found.append(node)
        return tuple(found)

    def _statement(self, statement: s.Statement) -> Node | None:
        match statement:
            case s.Pass():
                return None
            case s.Evaluate(value=s.Constant()):
                return None
            case s.Evaluate(value=s.Call(function=s.Name(name="event")) as call):
                return self._event(call)
            case s.Evaluate():
                return (Op.EVALUATE, self._expression(statement.value))
            case s.Declaration():
                if statement.value is None:
                    refuse(statement, "a declaration without a value does nothing", f"{statement.name} = …")
                value = self._expression(statement.value)
                return (Op.ASSIGN, (Op.TO_LOCAL, self._assigned(statement.name, statement)), value)
            case s.Assign():
                value = self._expression(statement.value)
                return (Op.ASSIGN, self._target(statement.target), value)
            case s.Augmented():
                return self._augmented(statement)
            case s.Delete():
                target = self._target(statement.target, assigning=False)
                if target[0] not in (Op.TO_INDEX, Op.TO_MAP):
                    refuse(statement, "only items of a dict, list or Map are deleted", "Assign None, or leave it.")
                return (Op.DELETE, target)
            case s.Return():
                if self._final:
                    refuse(statement, "finally does not return", "Return after it.")
                return (Op.RETURN, None if statement.value is None else self._expression(statement.value))
            case s.If():
                return (
                    Op.IF,
                    self._expression(statement.test),
                    self._block(statement.body),
                    self._block(statement.otherwise),
                )
            case s.While():
                return (Op.WHILE, self._expression(statement.test), self._loop(statement.body))
            case s.For():
                iterable = self._iterable(statement.iterable)
                return (Op.FOR, self._target(statement.target), iterable, self._loop(statement.body))
            case s.Break() | s.Continue():
                if not self._loops:
                    word = "break" if isinstance(statement, s.Break) else "continue"
                    refuse(statement, f"{word} stands outside of a loop it may leave", "")
                return (Op.BREAK,) if isinstance(statement, s.Break) else (Op.CONTINUE,)
            case s.Raise():
                return self._raise(statement)
            case s.Assert():
                message = None if statement.message is None else self._expression(statement.message)
                return (Op.ASSERT, self._expression(statement.test), message)
            case s.Try():
                return self._try(statement)
        raise AssertionError("every statement is compiled")

    def _loop(self, body: tuple[s.Statement, ...]) -> tuple[Node, ...]:
        self._loops += 1
        found = self._block(body)
        self._loops -= 1
        return found

    def _augmented(self, statement: s.Augmented) -> Node:
        target = self._target(statement.target, assigning=False)
        if target[0] == Op.TO_TUPLE:
            refuse(statement, "an augmented assignment has one target", "")
        return (Op.AUGMENT, target, BINARY[statement.operator], self._expression(statement.value))

    def _event(self, call: s.Call) -> Node:
        self._names.library(call, "event")
        if len(call.arguments) != 1 or not isinstance(call.arguments[0], s.Constant):
            refuse(call, "an event has a name and named values", 'event("breach", device=device, value=value)')
        name = self._names_constant(call.arguments[0])
        values = tuple((self._names.constants.number(key), self._expression(value)) for key, value in call.named)
        if len(values) > limits.FIELDS_MAX:
            refuse(call, f"an event has at most {limits.FIELDS_MAX} values", "")
        return (Op.EMIT, name, values)

    def _names_constant(self, constant: s.Constant) -> int:
        text = constant.value
        if not isinstance(text, str) or not (text.isascii() and text.isidentifier()) or text.startswith("__"):
            refuse(constant, "an event's name is written like a variable's", 'event("breach", …)')
        if len(text) > limits.NAME_CHARS_MAX:
            refuse(constant, f"a name has at most {limits.NAME_CHARS_MAX} characters", "")
        return self._names.constants.number(text)

    def _raise(self, statement: s.Raise) -> Node:
        value = statement.value
        if value is None:
            if not self._handlers:
                refuse(statement, "raise alone stands in a handler", 'raise Refused("why")')
            return (Op.RERAISE,)
        message: s.Expression = s.Constant(value.line, value.column, "")
        if (
            isinstance(value, s.Call)
            and isinstance(value.function, s.Name)
            and len(value.arguments) <= 1
            and not value.named
        ):
            name = value.function
            if value.arguments:
                message = value.arguments[0]
        elif isinstance(value, s.Name):
            name = value
        else:
            refuse(value, "raise takes an error with one message", 'raise Refused("why")')
        return (Op.RAISE, self._error(name), self._expression(message))

    def _error(self, name: s.Name) -> int:
        number = self._names.error_numbers.get(name.name)
        if number is None or name.name in self._locals:
            refuse(
                name, f"{name.name} is no error", "Errors: " + ", ".join(BUILTIN_ERRORS) + ", or class Name(Exception)."
            )
        if name.name in ("CallError", "Refused"):
            self._names.library(name, name.name)
        return number

    def _try(self, statement: s.Try) -> Node:
        body = self._block(statement.body)
        handlers = []
        for handler in statement.handlers:
            kinds = tuple(self._error(name) for name in handler.errors)
            slot = None if handler.name is None else self._assigned(handler.name, handler)
            self._handlers += 1
            handlers.append((kinds, slot, self._block(handler.body)))
            self._handlers -= 1
        otherwise = self._block(statement.otherwise)
        outer = self._loops, self._final
        self._loops, self._final = 0, True
        final = self._block(statement.final)
        self._loops, self._final = outer
        if not handlers and not final:
            refuse(statement, "finally does nothing", "Remove the try.")
        return (Op.TRY, body, tuple(handlers), otherwise, final)

    # --- targets

    def _target(self, target: s.Expression, *, assigning: bool = True) -> Node:
        match target:
            case s.Name(name=name):
                if assigning:
                    return (Op.TO_LOCAL, self._assigned(name, target))
                node = (Op.TO_LOCAL, self._local(target))
                self._at[id(node)] = target  # determinism: an identity within this call, for messages
                return node
            case s.Sequence(items=items):
                if not 1 <= len(items) <= limits.PARAMETERS_MAX:
                    refuse(target, f"a target has 1 to {limits.PARAMETERS_MAX} parts", "")
                return (Op.TO_TUPLE, tuple(self._target(item, assigning=assigning) for item in items))
            case s.Subscript(value=s.Attribute(value=s.Name(name="self"), name=name), index=index) if (
                self._names.fields.get(name, (0, "value"))[1] != "value"
            ):
                if isinstance(index, s.Slice):
                    refuse(target, "a slice is not assigned", "Assign item by item.")
                number, kind = self._names.fields[name]
                return (Op.TO_MAP if kind == "Map" else Op.TO_LIST, number, self._expression(index))
            case s.Subscript(value=value, index=index):
                if isinstance(index, s.Slice):
                    refuse(target, "a slice is not assigned", "Assign item by item.")
                return (Op.TO_INDEX, self._expression(value), self._expression(index))
            case s.Attribute(value=s.Name(name="self"), name=name):
                self._inside(target)
                if name not in self._names.fields:
                    refuse(target, f"the contract has no state field {name}", f"Declare it in the class: {name}: type")
                number, kind = self._names.fields[name]
                if kind != "value":
                    refuse(target, f"{name} is a {kind}: it is changed item by item", f"self.{name}[…] = …")
                return (Op.TO_STATE, number)
            case s.Attribute(value=value, name=name):
                return (Op.TO_FIELD, self._expression(value), self._names.constants.number(name))
        refuse(target, "this cannot be assigned to", "")
