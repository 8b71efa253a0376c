"""The port through which the ledger enters a contract engine: validate, load, call. This one is the interpreter's.

Another engine (Wasm, for heavy work) stands behind the same functions and outcomes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from althing.ledger.vm.checking import USER_ERRORS_FROM, decode
from althing.ledger.vm.errors import BUILTIN_ERRORS, Halt, Raised
from althing.ledger.vm.host import Host
from althing.ledger.vm.ir import Code, Function
from althing.ledger.vm.limits import STORED_BYTES_MAX
from althing.ledger.vm.machine.frames import Instance
from althing.ledger.vm.machine.program import Program
from althing.ledger.vm.meter import Meter
from althing.ledger.vm.typed import item_of, value_of
from althing.ledger.vm.values import Value, type_error, value_error
from althing.protocol import codec
from althing.protocol.errors import EncodingError

__all__ = ["Outcome", "call", "enter", "error_name", "load"]

_PYTHON_FRAMES: Final = 6000  # what DEPTH_UNITS_MAX can open, with room for whoever calls


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. `error` is empty when it returned; else an error's name, or halt.gas, halt.memory, halt.depth."""

    result: bytes
    error: str
    message: str
    gas: int


def load(data: bytes) -> Program:
    """A code that was checked, ready to run; CodeError otherwise. Costly: keep it by code hash."""
    # Depth is bounded by the meter. Python's own limit only has to be beyond what that bound can open.
    if sys.getrecursionlimit() < _PYTHON_FRAMES:
        sys.setrecursionlimit(_PYTHON_FRAMES)
    return Program(decode(data))


def call(
    program: Program, method: str, arguments: bytes, host: Host, gas: int, *, kinds: tuple[str, ...] = ("call", "view")
) -> Outcome:
    """Call a method with a CBOR array of arguments. What the host was told is for the caller to keep or to undo."""
    meter = Meter(gas)
    try:
        function = _function(program, method, kinds)
        values = _arguments(program, function, arguments, meter)
        result = enter(program, function, values, host, meter)
        data = codec.encode(item_of(result, function.returns, program.records, meter))
        if len(data) > STORED_BYTES_MAX:
            raise value_error(f"a result has at most {STORED_BYTES_MAX} bytes")
        meter.work(4 * len(data))
    except Raised as error:
        return Outcome(b"", error_name(program.code, error.kind), error.message, meter.used)
    except Halt as halt:
        return Outcome(b"", f"halt.{halt.code}", "", meter.used)
    return Outcome(data, "", "", meter.used)


def enter(program: Program, function: Function, values: list[Value], host: Host, meter: Meter) -> Value:
    """Run a function of a contract with values of its own; a view writes nothing."""
    instance = Instance(program.records, host, writable=function.kind != "view")
    return program.run(instance, program.by_name[function.name], values, meter)


def error_name(code: Code, kind: int) -> str:
    """An error's name, in the contract that raised it."""
    if kind < USER_ERRORS_FROM:
        return BUILTIN_ERRORS[kind]
    return code.errors[kind - USER_ERRORS_FROM]


def _function(program: Program, method: str, kinds: tuple[str, ...]) -> Function:
    number = program.by_name.get(method)
    if number is None or program.code.functions[number].kind not in kinds:
        raise type_error(f"{program.code.name} has no {' or '.join(kinds)} {method[:64]}")
    return program.code.functions[number]


def _arguments(program: Program, function: Function, data: bytes, meter: Meter) -> list[Value]:
    meter.work(4 * len(data))
    try:
        items = codec.decode(data, bytes_max=STORED_BYTES_MAX)
    except EncodingError:
        raise value_error("arguments are a CBOR array") from None
    parameters = function.parameters
    least = sum(1 for item in parameters if item.default is None)
    if not isinstance(items, list) or not least <= len(items) <= len(parameters):
        raise type_error(f"{function.name} takes {least} to {len(parameters)} arguments")
    given = [
        value_of(item, parameter.type, program.records, meter)
        for item, parameter in zip(items, parameters, strict=False)
    ]
    rest = [program.constant(item.default) for item in parameters[len(given) :] if item.default is not None]
    return [*given, *rest]
