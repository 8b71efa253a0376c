"""What names mean in a source, outside of a function's own: one namespace, in which nothing hides anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from althing.ledger.vm import limits
from althing.ledger.vm.decimal import Decimal
from althing.ledger.vm.errors import BUILTIN_ERRORS, LanguageError, Raised
from althing.ledger.vm.ir import Node, Op, Parameter, TypeForm
from althing.ledger.vm.language import syntax as s
from althing.ledger.vm.surface import BUILTINS, HOST

__all__ = ["BUILTIN_NUMBERS", "HOST_NUMBERS", "LIBRARY_NAMES", "Constants", "Head", "Names", "refuse"]

HOST_NUMBERS: Final = {name: number for number, (name, _, _) in enumerate(HOST)}
BUILTIN_NUMBERS: Final = {name: number for number, (name, _, _) in enumerate(BUILTINS)}
_LIBRARY_ERRORS: Final = ("CallError", "Refused")
LIBRARY_NAMES: Final = frozenset(
    (
        "Contract",
        "Record",
        "Map",
        "List",
        "Decimal",
        "call",
        "view",
        "event",
        "contract",
        *_LIBRARY_ERRORS,
        *HOST_NUMBERS,
    )
)
_KNOWN: Final = frozenset(
    (*BUILTIN_NUMBERS, *BUILTIN_ERRORS, "self", "range", "int", "bool", "str", "bytes", "list", "dict", "tuple")
)


def refuse(at: s.Node, message: str, instead: str) -> NoReturn:
    raise LanguageError("contract.language", message, at.line, at.column, instead=instead)


@dataclass(frozen=True, slots=True)
class Head:
    """What callers must know of a function."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...]
    returns: TypeForm
    method: bool
    source: s.Function


class Constants:
    """The constants of a code, each once, numbered by first use."""

    def __init__(self) -> None:
        self.values: list[int | str | bytes | Decimal] = []
        self._numbers: dict[tuple[str, object], int] = {}

    def number(self, value: int | str | bytes | Decimal) -> int:
        key = (type(value).__name__, value.units if isinstance(value, Decimal) else value)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.values)
            self.values.append(value)
        return found


class Names:
    """Filled by the compiler before any body is read."""

    def __init__(self) -> None:
        self.imported: set[str] = set()
        self.constants = Constants()
        self.constant_expressions: dict[str, s.Expression] = {}
        self.records: dict[str, int] = {}
        self.record_fields: dict[str, tuple[Parameter, ...]] = {}
        self.errors: list[str] = []
        self.error_numbers: dict[str, int] = {name: number for number, name in enumerate(BUILTIN_ERRORS)}
        self.fields: dict[str, tuple[int, str]] = {}
        self.functions: dict[str, tuple[int, Head]] = {}
        self.methods: dict[str, tuple[int, Head]] = {}
        self.members: set[str] = set()
        self._defined: dict[str, s.Node] = {}

    def define(self, name: str, at: s.Node, *, member: bool = False) -> None:
        """A name of the source's own, once. Members are only named behind `self.`, so they hide nothing."""
        if name in self._defined:
            refuse(at, f"{name} is defined twice (before on line {self._defined[name].line})", "Rename one.")
        if not member and (name in _KNOWN or name in LIBRARY_NAMES):
            refuse(at, f"{name} already means something", "Choose another name.")
        self._defined[name] = at
        if member:
            self.members.add(name)

    def hides(self, name: str) -> bool:
        """Whether a local of this name would hide something."""
        own = name in self._defined and name not in self.members
        return own or name in _KNOWN or name in self.imported

    def set_functions(self, heads: list[Head], functions: int) -> None:
        for number, head in enumerate(heads):
            (self.functions if number < functions else self.methods)[head.name] = (number, head)

    def library(self, at: s.Node, name: str) -> None:
        """A name of the library is used."""
        if name not in self.imported:
            refuse(at, f"{name} is not imported", f"from althing.contract import {name}")

    def literal(self, value: s.Expression) -> Node:
        """A value that is known before anything runs, as CONST, NONE, TRUE or FALSE."""
        found = self.literal_value(value)
        if found is None:
            return (Op.NONE,)
        if isinstance(found, bool):
            return (Op.TRUE,) if found else (Op.FALSE,)
        if isinstance(found, int) and not limits.INT_MIN <= found <= limits.INT_MAX:
            refuse(value, "integers have at most 256 bits", "")
        return (Op.CONST, self.constants.number(found))

    def literal_value(self, value: s.Expression) -> int | bool | str | bytes | Decimal | None:
        match value:
            case s.Constant(value=constant):
                return constant
            case s.Unary(operator="-" | "+" as sign, operand=s.Constant(value=int() as number)) if type(number) is int:
                return -number if sign == "-" else number
            case s.Name(name=name) if name in self.constant_expressions:
                return self.literal_value(self.constant_expressions[name])
            case s.Call(function=s.Name(name="Decimal"), arguments=(argument,), named=()):
                self.library(value, "Decimal")
                inner = self.literal_value(argument)
                if isinstance(inner, str) or type(inner) is int:
                    try:
                        return Decimal.of(inner)
                    except Raised as exc:
                        refuse(argument, exc.message, 'Decimal("12.5")')
        refuse(
            value, "this value is not known before the contract runs", "Write a number, text, bytes, Decimal or None."
        )
