"""The tree of a source: what the parser makes and the compiler reads. Each node knows its line and column."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Annotation",
    "Assert",
    "Assign",
    "Attribute",
    "Augmented",
    "Binary",
    "Boolean",
    "Break",
    "Call",
    "Class",
    "Clause",
    "Compare",
    "Comprehension",
    "Conditional",
    "Constant",
    "Continue",
    "Declaration",
    "Delete",
    "Dict",
    "Evaluate",
    "Expression",
    "For",
    "Format",
    "Function",
    "Handler",
    "If",
    "Import",
    "Module",
    "Name",
    "Node",
    "Parameter",
    "Pass",
    "Raise",
    "Return",
    "Sequence",
    "Slice",
    "Statement",
    "Subscript",
    "Try",
    "Unary",
    "While",
]


@dataclass(frozen=True, slots=True)
class Node:
    """Line and column count from 1."""

    line: int
    column: int


# --- expressions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant(Node):
    value: int | bool | str | bytes | None


@dataclass(frozen=True, slots=True)
class Name(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Format(Node):
    """An f-string."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Node):
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """a < b <= c: one more operand than operators."""

    operators: tuple[str, ...]
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Boolean(Node):
    """`and` or `or` of two."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    test: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """A list or tuple written out; `kind` is list or tuple."""

    kind: str
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Dict(Node):
    items: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True, slots=True)
class Clause(Node):
    """`for target in iterable if …`."""

    target: Expression
    iterable: Expression
    conditions: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Node):
    """Of a list (`value` is None) or of a dict."""

    element: Expression
    value: Expression | None
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Call(Node):
    function: Expression
    arguments: tuple[Expression, ...]
    named: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    value: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Slice(Node):
    lower: Expression | None
    upper: Expression | None


@dataclass(frozen=True, slots=True)
class Subscript(Node):
    value: Expression
    index: Expression


Expression = (
    Constant
    | Name
    | Format
    | Unary
    | Binary
    | Compare
    | Boolean
    | Conditional
    | Sequence
    | Dict
    | Comprehension
    | Call
    | Attribute
    | Slice
    | Subscript
)

# --- statements -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evaluate(Node):
    """An expression for its effect."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Assign(Node):
    target: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Augmented(Node):
    target: Expression
    operator: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Declaration(Node):
    """`name: type` or `name: type = value`."""

    name: str
    annotation: Annotation
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Delete(Node):
    target: Expression


@dataclass(frozen=True, slots=True)
class Return(Node):
    value: Expression | None


@dataclass(frozen=True, slots=True)
class If(Node):
    test: Expression
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class While(Node):
    test: Expression
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class For(Node):
    target: Expression
    iterable: Expression
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Break(Node):
    pass


@dataclass(frozen=True, slots=True)
class Continue(Node):
    pass


@dataclass(frozen=True, slots=True)
class Pass(Node):
    pass


@dataclass(frozen=True, slots=True)
class Raise(Node):
    """`raise Error("…")`, or `raise` alone inside a handler."""

    value: Expression | None


@dataclass(frozen=True, slots=True)
class Assert(Node):
    test: Expression
    message: Expression | None


@dataclass(frozen=True, slots=True)
class Handler(Node):
    errors: tuple[Name, ...]
    name: str | None
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Try(Node):
    body: tuple[Statement, ...]
    handlers: tuple[Handler, ...]
    otherwise: tuple[Statement, ...]
    final: tuple[Statement, ...]


Statement = (
    Evaluate
    | Assign
    | Augmented
    | Declaration
    | Delete
    | Return
    | If
    | While
    | For
    | Break
    | Continue
    | Pass
    | Raise
    | Assert
    | Try
)

# --- definitions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Annotation(Node):
    """A type: `name[arguments]`; `T | None` is `Optional[T]`."""

    name: str
    arguments: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    name: str
    annotation: Annotation | None
    default: Expression | None


@dataclass(frozen=True, slots=True)
class Function(Node):
    name: str
    decorators: tuple[Name, ...]
    parameters: tuple[Parameter, ...]
    returns: Annotation | None
    body: tuple[Statement, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Class(Node):
    """`base` is Contract, Record or the error it derives from."""

    name: str
    base: str
    fields: tuple[Declaration, ...]
    methods: tuple[Function, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`from althing.contract import names`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Module:
    text: str
    imports: tuple[Import, ...]
    constants: tuple[Assign, ...]
    classes: tuple[Class, ...]
    functions: tuple[Function, ...]
