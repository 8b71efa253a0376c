"""Source to code: names are resolved, each construct becomes one operation or says why it cannot.

Numbers are given in the order in which things stand in the source: module functions, then methods; a constant at its
first use. So one source has one code, whatever Python compiles it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, NoReturn

from althing.ledger.vm import limits
from althing.ledger.vm.checking import USER_ERRORS_FROM, UnassignedError, decode
from althing.ledger.vm.errors import BUILTIN_ERRORS, CodeError, LanguageError
from althing.ledger.vm.ir import TYPES, Code, Field, Function, Parameter, Record, TypeForm, encode
from althing.ledger.vm.language import syntax as s
from althing.ledger.vm.language.body import BodyCompiler
from althing.ledger.vm.language.names import LIBRARY_NAMES, Head, Names, refuse
from althing.ledger.vm.language.parser import parse

__all__ = ["COMPILER_VERSION", "Compiled", "compile_source"]

COMPILER_VERSION: Final = 1
_SIMPLE_TYPES: Final = {name: TYPES.index(name) for name in ("int", "bool", "str", "bytes", "Decimal", "None")}
_KINDS: Final = {"call": "call", "view": "view"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A source, compiled. `lines` leads from (function, place behind a node in its body) to the node's line."""

    code: Code
    data: bytes
    source_hash: bytes
    code_hash: bytes
    lines: dict[tuple[int, int], int]


def compile_source(source: str) -> Compiled:
    """The code of a source text, or LanguageError with line, column, reason and what to write instead."""
    return _Compiler(parse(source)).compiled(source)


class _Compiler:
    def __init__(self, module: s.Module) -> None:
        self._module = module
        contracts = [item for item in module.classes if item.base == "Contract"]
        if not contracts:
            raise LanguageError(
                "contract.language", "there is no contract", 1, 1, instead="Write class Name(Contract): …"
            )
        if len(contracts) > 1:
            refuse(contracts[1], "a source holds one contract", "Put the other one into a source of its own.")
        self._contract = contracts[0]
        self.names = Names()

    def compiled(self, source: str) -> Compiled:
        names, contract = self.names, self._contract
        self._declare()
        records = tuple(self._record(item) for item in self._module.classes if item.base == "Record")
        fields = tuple(self._field(item) for item in contract.fields)
        names.fields = {item.name: (number, item.kind) for number, item in enumerate(fields)}
        heads = [self._head(item, "internal") for item in self._module.functions]
        heads += [self._head(item, self._kind(item)) for item in contract.methods]
        names.set_functions(heads, len(self._module.functions))
        lines: dict[tuple[int, int], int] = {}
        functions = []
        compilers = []
        for number, head in enumerate(heads):
            body = BodyCompiler(names, head)
            nodes = body.compiled()
            compilers.append(body)
            functions.append(Function(head.name, head.kind, head.parameters, head.returns, body.slots, nodes))
            lines.update({(number, end): line for end, line in body.places().items()})
        code = Code(
            contract.name,
            tuple(names.constants.values),
            records,
            tuple(names.errors),
            fields,
            tuple(functions),
        )
        data = encode(code)
        if len(data) > limits.CODE_BYTES_MAX:
            refuse(contract, f"the code has more than {limits.CODE_BYTES_MAX} bytes", "Divide the contract.")
        checked = self._checked(data, compilers)
        return Compiled(checked, data, hashlib.sha256(source.encode()).digest(), hashlib.sha256(data).digest(), lines)

    def _checked(self, data: bytes, compilers: list[BodyCompiler]) -> Code:
        """Through the validator, as every node will: what only it can see is said in terms of the source."""
        try:
            return decode(data)
        except UnassignedError as exc:
            name, line, column = compilers[exc.function or 0].local_at(exc.end, exc.slot)
            raise LanguageError(
                "contract.name",
                f"{name} may have no value here",
                line,
                column,
                instead=f"Give {name} a value before the branch or loop that may be passed over.",
            ) from exc
        except CodeError as exc:
            raise LanguageError("contract.language", exc.message, self._contract.line, self._contract.column) from exc

    def _declare(self) -> None:
        names = self.names
        for imported in self._module.imports:
            for name in imported.names:
                if name not in LIBRARY_NAMES:
                    refuse(
                        imported, f"althing.contract has no {name}", "It has: " + ", ".join(sorted(LIBRARY_NAMES)) + "."
                    )
                names.imported.add(name)
        for constant in self._module.constants:
            assert isinstance(constant.target, s.Name), "the parser lets nothing else through"
            names.define(constant.target.name, constant)
            names.constant_expressions[constant.target.name] = constant.value
        for item in self._module.classes:
            names.define(item.name, item)
            if item.base in ("Contract", "Record"):
                names.library(item, item.base)
                if item.base == "Record":
                    names.records[item.name] = len(names.records)
            elif item.base in BUILTIN_ERRORS:
                if item.fields or item.methods:
                    refuse(item, "an error holds nothing but its message", "Write pass as its body.")
                names.errors.append(item.name)
                names.error_numbers[item.name] = USER_ERRORS_FROM + len(names.errors) - 1
            else:
                refuse(item, f"a class cannot be a {item.base}", "Derive from Contract, Record or Exception.")
        for function in self._module.functions:
            names.define(function.name, function)

    def _record(self, item: s.Class) -> Record:
        if item.methods:
            refuse(item.methods[0], "a record holds fields only", "Write a function that takes the record.")
        parameters = tuple(
            Parameter(field.name, self._type(field.annotation), self._default(field.value)) for field in item.fields
        )
        self.names.record_fields[item.name] = parameters
        self._defaults_last(parameters, item)
        return Record(item.name, parameters)

    def _field(self, item: s.Declaration) -> Field:
        self.names.define(item.name, item, member=True)
        annotation = item.annotation
        if item.value is not None:
            refuse(item, "state is given its first value in init", f"Write self.{item.name} = … in init.")
        wanted = {"Map": 2, "List": 1}.get(annotation.name)
        if wanted is None:
            return Field(item.name, "value", (self._type(annotation),))
        self.names.library(annotation, annotation.name)
        if len(annotation.arguments) != wanted:
            refuse(annotation, f"{annotation.name} has {wanted} type arguments", "Map[key, value], List[element]")
        types = tuple(self._type(argument) for argument in annotation.arguments)
        if annotation.name == "Map" and not _is_key(types[0]):
            refuse(annotation, "a Map's key is int, bool, str, bytes or a tuple of these", "")
        return Field(item.name, annotation.name, types)

    def _kind(self, item: s.Function) -> str:
        names = [decorator.name for decorator in item.decorators]
        for decorator in item.decorators:
            if decorator.name not in _KINDS:
                refuse(decorator, f"there is no decorator {decorator.name}", "Write @call or @view.")
            self.names.library(decorator, decorator.name)
        if len(names) > 1:
            refuse(item, "a method is a call or a view", "Keep one of the decorators.")
        if item.name in ("init", "migrate"):
            if names:
                refuse(item, f"{item.name} has no decorator", "It runs by itself, at deployment or upgrade.")
            return item.name
        return _KINDS[names[0]] if names else "internal"

    def _head(self, item: s.Function, kind: str) -> Head:
        method = item in self._contract.methods
        parameters = list(item.parameters)
        if method:
            self.names.define(item.name, item, member=True)
            if not parameters or parameters[0].name != "self" or parameters[0].annotation or parameters[0].default:
                refuse(item, "a method's first parameter is self", f"def {item.name}(self, …):")
            parameters = parameters[1:]
        elif item.decorators:
            refuse(item.decorators[0], "functions outside the contract have no decorator", "Only methods are called.")
        found = []
        for parameter in parameters:
            if parameter.name == "self":
                refuse(parameter, "only a method's first parameter is self", "Rename it.")
            if parameter.annotation is None and kind != "internal":
                refuse(parameter, "what is called from outside states its types", f"{parameter.name}: type")
            form = 0 if parameter.annotation is None else self._type(parameter.annotation)
            found.append(Parameter(parameter.name, form, self._default(parameter.default)))
        self._defaults_last(tuple(found), item)
        if len(found) > limits.PARAMETERS_MAX:
            refuse(item, f"more than {limits.PARAMETERS_MAX} parameters", "Take a record.")
        if item.returns is not None:
            returns = self._type(item.returns)
        else:
            returns = 0 if kind == "internal" else _SIMPLE_TYPES["None"]
        return Head(item.name, kind, tuple(found), returns, method, item)

    def _defaults_last(self, parameters: tuple[Parameter, ...], at: s.Node) -> None:
        given = [item.default is not None for item in parameters]
        if sorted(given) != given:
            refuse(at, "what has a default stands behind what has none", "Change their order.")
        seen: list[str] = []
        for item in parameters:
            if item.name in seen:
                refuse(at, f"{item.name} stands twice", "Rename one.")
            seen.append(item.name)

    def _default(self, value: s.Expression | None) -> tuple[int, ...] | None:
        return None if value is None else self.names.literal(value)

    def _type(self, annotation: s.Annotation, depth: int = 0) -> TypeForm:
        name, arguments = annotation.name, annotation.arguments
        if depth > limits.TYPE_NESTING_MAX:
            refuse(annotation, "the type is nested too deep", "Use records.")
        if name in _SIMPLE_TYPES and not arguments:
            if name == "Decimal":
                self.names.library(annotation, name)
            return _SIMPLE_TYPES[name]
        if name in self.names.records and not arguments:
            return [TYPES.index("record"), self.names.records[name]]
        wanted = {"Optional": 1, "list": 1, "dict": 2}.get(name)
        if name == "tuple" and 1 <= len(arguments) <= limits.PARAMETERS_MAX:
            wanted = len(arguments)
        if wanted is None or wanted != len(arguments):
            instead = {
                "float": "Use Decimal.",
                "set": "Use list, or dict with True as values.",
                "list": "Write list[type].",
                "dict": "Write dict[key, value].",
                "tuple": "Write tuple[type, …].",
                "Map": "A Map is a field of the contract's state only.",
                "List": "A List is a field of the contract's state only.",
            }.get(name, "Types: int, bool, str, bytes, Decimal, list[…], dict[…, …], tuple[…], records, T | None.")
            self._fail(annotation, f"{name} is no type here", instead)
        forms = [self._type(argument, depth + 1) for argument in arguments]
        if name == "dict" and not _is_key(forms[0]):
            refuse(annotation, "a dict's key is int, bool, str, bytes or a tuple of these", "")
        return [TYPES.index(name), *forms]

    def _fail(self, at: s.Node, message: str, instead: str) -> NoReturn:
        raise LanguageError("contract.type", message, at.line, at.column, instead=instead)


def _is_key(form: TypeForm) -> bool:
    if isinstance(form, list):
        return TYPES[form[0]] == "tuple" and all(_is_key(item) for item in form[1:])
    return TYPES[form] in ("int", "bool", "str", "bytes")
