"""The canonical intermediate representation (docs/spec/contracts.md): what the chain stores and executes.

A function's body is a prefix code: an operation's byte, then its operands, in the order of OPERATIONS' patterns.
In memory a node is a tuple (operation, operand, …) with nodes as operands. One code has one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from althing.ledger.vm.decimal import Decimal
from althing.ledger.vm.limits import INT_MAX, INT_MIN
from althing.protocol import codec

__all__ = [
    "CODE_VERSION",
    "FIELD_KINDS",
    "FUNCTION_KINDS",
    "OPERATIONS",
    "TYPES",
    "TYPE_ARGUMENTS",
    "Code",
    "Field",
    "Function",
    "Node",
    "Op",
    "Operation",
    "Parameter",
    "Record",
    "TypeForm",
    "encode",
    "encode_body",
    "integer_bytes",
]

CODE_VERSION: Final = 1

Node = tuple[Any, ...]
TypeForm = Any
"""A type as it stands in the code: a number of TYPES, or [number, argument, …]."""


class Op:
    """Operation bytes. Expressions are below 0x80, statements below 0xc0, targets from there."""

    CONST, NONE, TRUE, FALSE, LOCAL, SET_LOCAL = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
    ADD, SUB, MUL, DIV, FLOORDIV, MOD, POW = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16
    LSHIFT, RSHIFT, BITOR, BITXOR, BITAND = 0x17, 0x18, 0x19, 0x1A, 0x1B
    NEG, POS, INVERT, NOT = 0x1C, 0x1D, 0x1E, 0x1F
    EQ, NE, LT, LE, GT, GE, IN, NOT_IN, IS_NONE, NOT_NONE = 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29
    AND, OR, COND = 0x2A, 0x2B, 0x2C
    LIST, TUPLE, DICT, INDEX, SLICE, FIELD, FORMAT = 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36
    LIST_COMP, DICT_COMP, RANGE = 0x37, 0x38, 0x39
    CALL, NEW, BUILTIN, METHOD, HOST, REMOTE = 0x40, 0x41, 0x42, 0x43, 0x44, 0x45
    STATE, MAP_GET, MAP_FIND, MAP_HAS, MAP_KEYS = 0x50, 0x51, 0x52, 0x53, 0x54
    LIST_GET, LIST_LENGTH, LIST_APPEND, LIST_POP = 0x55, 0x56, 0x57, 0x58
    EVALUATE, ASSIGN, AUGMENT, DELETE = 0x80, 0x81, 0x82, 0x83
    IF, WHILE, FOR, BREAK, CONTINUE, RETURN = 0x84, 0x85, 0x86, 0x87, 0x88, 0x89
    RAISE, RERAISE, ASSERT, TRY, EMIT = 0x8A, 0x8B, 0x8C, 0x8D, 0x8E
    TO_LOCAL, TO_TUPLE, TO_INDEX, TO_FIELD, TO_STATE, TO_MAP, TO_LIST = 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation's name, operands and fixed price. Operands:

    e expression · x expression or none · i expression or RANGE · E expressions · s block · t target · T targets
    l local · k constant · n name, a constant of type str · u number below 256 · f function · r record · d state field
    C clauses of a comprehension · H handlers · A named values of an event
    """

    name: str
    operands: str
    gas: int


def _operations() -> dict[int, Operation]:
    binary = dict.fromkeys(
        ("ADD", "SUB", "MUL", "DIV", "FLOORDIV", "MOD", "POW", "LSHIFT", "RSHIFT", "BITOR", "BITXOR", "BITAND"),
        ("ee", 3),
    )
    compare = dict.fromkeys(("EQ", "NE", "LT", "LE", "GT", "GE", "IN", "NOT_IN"), ("ee", 3))
    table: dict[str, tuple[str, int]] = {
        **{
            "CONST": ("k", 1),
            "NONE": ("", 1),
            "TRUE": ("", 1),
            "FALSE": ("", 1),
            "LOCAL": ("l", 1),
            "SET_LOCAL": ("le", 1),
        },
        **binary,
        **{"NEG": ("e", 2), "POS": ("e", 2), "INVERT": ("e", 2), "NOT": ("e", 2)},
        **compare,
        **{"IS_NONE": ("e", 1), "NOT_NONE": ("e", 1), "AND": ("ee", 2), "OR": ("ee", 2), "COND": ("eee", 2)},
        **{"LIST": ("E", 4), "TUPLE": ("E", 4), "DICT": ("E", 6), "INDEX": ("ee", 4), "SLICE": ("exx", 6)},
        **{
            "FIELD": ("en", 3),
            "FORMAT": ("E", 5),
            "LIST_COMP": ("Ce", 8),
            "DICT_COMP": ("Cee", 8),
            "RANGE": ("eee", 4),
        },
        **{"CALL": ("fE", 12), "NEW": ("rE", 8), "BUILTIN": ("uE", 8), "METHOD": ("ueE", 8), "HOST": ("uE", 10)},
        **{"REMOTE": ("enE", 100)},
        **{"STATE": ("d", 5), "MAP_GET": ("de", 10), "MAP_FIND": ("dee", 10), "MAP_HAS": ("de", 10)},
        **{"MAP_KEYS": ("dee", 20), "LIST_GET": ("de", 10), "LIST_LENGTH": ("d", 5), "LIST_APPEND": ("de", 10)},
        **{"LIST_POP": ("d", 10)},
        **{"EVALUATE": ("e", 1), "ASSIGN": ("te", 1), "AUGMENT": ("tue", 3), "DELETE": ("t", 2)},
        **{"IF": ("ess", 1), "WHILE": ("es", 1), "FOR": ("tis", 4), "BREAK": ("", 1), "CONTINUE": ("", 1)},
        **{"RETURN": ("x", 1), "RAISE": ("ue", 10), "RERAISE": ("", 10), "ASSERT": ("ex", 2), "TRY": ("sHss", 4)},
        **{"EMIT": ("nA", 20)},
        **{
            "TO_LOCAL": ("l", 1),
            "TO_TUPLE": ("T", 3),
            "TO_INDEX": ("ee", 4),
            "TO_FIELD": ("en", 3),
            "TO_STATE": ("d", 5),
        },
        **{"TO_MAP": ("de", 10), "TO_LIST": ("de", 10)},
    }
    return {getattr(Op, name): Operation(name, operands, gas) for name, (operands, gas) in table.items()}


OPERATIONS: Final = _operations()
"""By byte."""

FUNCTION_KINDS: Final = ("internal", "init", "call", "view", "migrate")
TYPES: Final = ("any", "int", "bool", "str", "bytes", "Decimal", "None", "Optional", "list", "dict", "tuple", "record")
TYPE_ARGUMENTS: Final = {"Optional": 1, "list": 1, "dict": 2, "record": 1}
FIELD_KINDS: Final = ("value", "Map", "List")


@dataclass(frozen=True, slots=True)
class Parameter:
    """`default` is an expression of constants: CONST, NONE, TRUE or FALSE."""

    name: str
    type: TypeForm
    default: Node | None


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    fields: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A state field: a value, a Map (key and value types) or a List (element type)."""

    name: str
    kind: str
    types: tuple[TypeForm, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """`depth` is the nesting of its body: what a call of it takes of the depth a run has."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...]
    returns: TypeForm
    locals: int
    body: tuple[Node, ...]
    depth: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Code:
    """A contract, as it is executed."""

    name: str
    constants: tuple[int | str | bytes | Decimal, ...]
    records: tuple[Record, ...]
    errors: tuple[str, ...]
    fields: tuple[Field, ...]
    functions: tuple[Function, ...]


def encode(code: Code) -> bytes:
    """The canonical bytes of a code; their SHA-256 is its code hash."""
    return codec.encode(
        [
            CODE_VERSION,
            code.name,
            [_constant(value) for value in code.constants],
            [[record.name, [_parameter(item) for item in record.fields]] for record in code.records],
            list(code.errors),
            [[item.name, FIELD_KINDS.index(item.kind), list(item.types)] for item in code.fields],
            [
                [
                    function.name,
                    FUNCTION_KINDS.index(function.kind),
                    [_parameter(item) for item in function.parameters],
                    function.returns,
                    function.locals,
                    encode_body(function.body),
                ]
                for function in code.functions
            ],
        ]
    )


def encode_body(body: tuple[Node, ...], ends: dict[int, int] | None = None) -> bytes:
    """A block as a prefix code. `ends` takes, by a node's id, the place behind it: a compiler's way back to its source."""
    out = bytearray()
    _block(out, body, ends)
    return bytes(out)


def integer_bytes(value: int) -> bytes:
    """Two's complement, big-endian, as short as it can be (DER's rule for INTEGER, ITU-T X.690 8.3)."""
    assert INT_MIN <= value <= INT_MAX, "integers have 256 bits"
    return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True)


def _constant(value: int | str | bytes | Decimal) -> codec.Item:
    if isinstance(value, int):
        return [0, integer_bytes(value)]
    if isinstance(value, Decimal):
        return [1, integer_bytes(value.units)]
    return value


def _parameter(parameter: Parameter) -> codec.Item:
    default = None if parameter.default is None else bytes(_written(parameter.default))
    return [parameter.name, parameter.type, default]


def _written(node: Node) -> bytearray:
    out = bytearray()
    _node(out, node, None)
    return out


def _number(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _block(out: bytearray, block: tuple[Node, ...], ends: dict[int, int] | None) -> None:
    _number(out, len(block))
    for node in block:
        _node(out, node, ends)


def _node(out: bytearray, node: Node, ends: dict[int, int] | None) -> None:
    out.append(node[0])
    for kind, operand in zip(OPERATIONS[node[0]].operands, node[1:], strict=True):
        match kind:
            case "e" | "i" | "t":
                _node(out, operand, ends)
            case "x":
                _block(out, () if operand is None else (operand,), ends)
            case "E" | "T" | "s":
                _block(out, operand, ends)
            case "C":
                _number(out, len(operand))
                for target, iterable, conditions in operand:
                    _node(out, target, ends)
                    _node(out, iterable, ends)
                    _block(out, conditions, ends)
            case "H":
                _number(out, len(operand))
                for kinds, slot, body in operand:
                    _number(out, len(kinds))
                    for number in kinds:
                        _number(out, number)
                    _number(out, 0 if slot is None else slot + 1)
                    _block(out, body, ends)
            case "A":
                _number(out, len(operand))
                for name, value in operand:
                    _number(out, name)
                    _node(out, value, ends)
            case _:
                _number(out, operand)
    if ends is not None:
        ends[id(node)] = len(out)  # determinism: an identity within this call, which no byte depends on
