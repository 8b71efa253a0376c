"""A contract in a variable: compiled, with a state of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from althing.ledger.vm import runtime
from althing.ledger.vm.language.compiler import compile_source
from althing.ledger.vm.machine.program import Program
from althing.ledger.vm.meter import Meter
from althing.ledger.vm.values import Value
from althing.protocol import codec


@dataclass
class MemoryHost:
    """A host over a dict, for contracts that stand alone."""

    state: dict[bytes, bytes] = field(default_factory=dict)
    events: list[tuple[str, list[tuple[str, Value]]]] = field(default_factory=list)
    caller: str = "alice"

    def get(self, key: bytes) -> bytes | None:
        return self.state.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.state[key] = value

    def delete(self, key: bytes) -> None:
        self.state.pop(key, None)

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[bytes]:
        return [key for key in sorted(self.state) if key.startswith(prefix) and key > after][:limit]

    def emit(self, name: str, values: list[tuple[str, Value]], meter: Meter) -> None:
        self.events.append((name, values))

    def ask(self, name: str, arguments: list[Value], meter: Meter) -> Value:
        return {"caller": self.caller, "now": 1_700_000_000_000, "height": 7}[name]

    def call(self, address: Value, method: str, arguments: list[Value], meter: Meter) -> Value:
        raise AssertionError("these contracts stand alone")


@dataclass
class Bench:
    program: Program
    host: MemoryHost = field(default_factory=MemoryHost)
    gas: int = 10_000_000

    def outcome(self, method: str, *arguments: Any, gas: int | None = None) -> runtime.Outcome:
        data = codec.encode(list(arguments))
        kinds = ("call", "view", "init")
        return runtime.call(self.program, method, data, self.host, self.gas if gas is None else gas, kinds=kinds)

    def call(self, method: str, *arguments: Any) -> Any:
        """The result, as a data item."""
        outcome = self.outcome(method, *arguments)
        assert outcome.error == "", f"{outcome.error}: {outcome.message}"
        return codec.decode(outcome.result)


HEAD = "from althing.contract import Contract, Record, Map, List, Decimal, call, view, event, caller, now, Refused\n"


def contract(source: str) -> Bench:
    return Bench(runtime.load(compile_source(source).data))


def method(body: str, parameters: str = "", returns: str = "str", before: str = "") -> str:
    """A source with one view, `run`, of that body."""
    lines = "\n".join("        " + line for line in body.splitlines())
    return f"{HEAD}{before}\nclass C(Contract):\n    @view\n    def run(self{parameters}) -> {returns}:\n{lines}\n"


@pytest.fixture(name="contract")
def _contract() -> Any:
    return contract
