"""Gas, bounds and state: what every node must decide alike."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.ledger.vm import runtime
from althing.ledger.vm.checking import decode
from althing.ledger.vm.errors import CodeError
from althing.ledger.vm.language.compiler import compile_source
from althing.protocol import codec

from .conftest import HEAD, Bench, MemoryHost, contract, method

TOKEN = (
    HEAD
    + """
class Token(Contract):
    total: int
    balances: Map[str, int]
    history: List[tuple[str, int]]
    price: Decimal
    note: str | None

    def init(self, supply: int):
        self.total = supply
        self.balances[caller()] = supply

    @call
    def transfer(self, to: str, amount: int) -> bool:
        have = self.balances.get(caller(), 0)
        if amount <= 0 or have < amount:
            raise Refused(f"{have} is not enough")
        self.balances[caller()] -= amount
        self.balances[to] = self.balances.get(to, 0) + amount
        self.history.append((to, amount))
        event("transfer", to=to, amount=amount)
        return True

    @call
    def undo(self) -> int:
        to, amount = self.history.pop()
        del self.balances[to]
        self.price = Decimal("0.5") * 3
        self.note = "undone"
        return amount

    @view
    def known(self, who: str) -> bool:
        return who in self.balances

    @view
    def pages(self, after: str | None) -> list[str]:
        return self.balances.keys(after, 2)

    @view
    def last(self) -> tuple[str, int]:
        return self.history[-1]

    @view
    def state(self) -> tuple[int, Decimal, str | None]:
        return (len(self.history), self.price, self.note)

    @view
    def sneaky(self) -> int:
        self.total = 1
        return 1
"""
)


def token() -> Bench:
    bench = contract(TOKEN)
    bench.call("init", 1000)
    return bench


def test_state_is_kept_by_type() -> None:
    bench = token()
    for who in ("bob", "carol", "dora"):
        assert bench.call("transfer", who, 5) is True
    assert bench.call("known", "bob") is True
    assert bench.call("known", "eve") is False
    assert bench.call("pages", None) == ["bob", "dora"]  # by length, then bytes: the order of encoded keys
    assert bench.call("pages", "dora") == ["alice", "carol"]
    assert bench.call("last") == ["dora", 5]
    assert bench.call("undo") == 5
    assert bench.call("known", "dora") is False
    assert bench.call("state") == [2, 1_500_000_000_000_000_000, "undone"]
    assert bench.host.events[0] == ("transfer", [("to", "bob"), ("amount", 5)])


def test_a_refusal_is_named_and_says_why() -> None:
    outcome = token().outcome("transfer", "bob", 5000)
    assert (outcome.error, outcome.message) == ("Refused", "1000 is not enough")


def test_a_view_writes_nothing() -> None:
    bench = token()
    before = dict(bench.host.state)
    assert bench.outcome("sneaky").error == "TypeError"
    assert bench.host.state == before


@pytest.mark.parametrize("arguments", [[], ["bob"], ["bob", "five"], [5, 5], ["bob", 5, 5], ["bob", None]])
def test_arguments_are_checked_by_type(arguments: list[object]) -> None:
    assert token().outcome("transfer", *arguments).error in ("TypeError", "ValueError")


def test_gas_ends_a_run_exactly_at_the_limit_and_nothing_catches_it() -> None:
    tried = "    try:\n        t += [1, 2, 3][i % 4]\n    except Exception:\n        t += 1\n"
    body = f"t = 0\nfor i in range(50):\n{tried}return str(t)"
    bench = contract(method(body))
    whole = bench.outcome("run")
    assert whole.error == ""
    assert bench.outcome("run", gas=whole.gas) == whole
    for gas in range(0, whole.gas, 7):
        outcome = bench.outcome("run", gas=gas)
        assert (outcome.error, outcome.gas) == ("halt.gas", gas)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("while True:\n    pass", "halt.gas"),
        ("x = 'a'\nwhile True:\n    x = x + x", "ValueError"),
        ("x = [1]\nwhile True:\n    x = x + x", "ValueError"),
        ("x = []\nwhile True:\n    x = [x]", "halt.memory"),
        ("x = []\nfor i in range(100000):\n    x = [x]\nreturn str(x == x)", "halt.depth"),
        ("x = []\nx.append(x)\nreturn str(x)", "halt.depth"),
        ("x = []\nx.append(x)\nreturn str(x < x)", "halt.depth"),
        ("x = 1\nwhile True:\n    x = x * x + 1", "OverflowError"),
        ("return str(7 ** 10 ** 50)", "OverflowError"),
        ("return str(1 << 10 ** 50)", "OverflowError"),
        ("d = {}\nfor i in range(20000):\n    d[i * (2 ** 61 - 1)] = i\nreturn ''", "ValueError"),
        ("return str(sum([i for i in range(10 ** 9)]))", "ValueError"),
        ("return 'x'.join(['y' * 60000] * 16000)", "ValueError"),
        ("return str([['y' * 60000]] * 16000)", "halt.memory"),
        ("t = 0\nfor i in range(2 ** 254):\n    t += 1", "halt.gas"),
    ],
)
def test_bombs_end_within_their_bounds(body: str, error: str) -> None:
    outcome = contract(method(body)).outcome("run", gas=20_000_000)
    assert outcome.error == error


def test_recursion_is_bounded_by_the_machine_not_by_python() -> None:
    source = HEAD + "class C(Contract):\n    @view\n    def run(self, n: int) -> int:\n        return self.run(n + 1)\n"
    bench = contract(source)
    assert bench.outcome("run", 0).error == "halt.depth"


def test_errors_of_the_contract_itself_are_named_and_caught_by_name() -> None:
    before = "class TooHot(Exception):\n    pass\n"
    body = (
        "try:\n    raise TooHot('9')\nexcept ValueError:\n    return 'no'\nexcept TooHot as e:\n    return f'hot {e}'"
    )
    assert contract(method(body, before=before)).call("run") == "hot 9"
    assert contract(method("raise TooHot('9')", before=before)).outcome("run").error == "TooHot"


# --- code that no compiler makes

GOOD = compile_source(TOKEN).data


@settings(max_examples=100)
@given(st.data())
def test_doctored_code_is_refused_or_runs_within_its_bounds(data: st.DataObject) -> None:
    """Bytes of a real code are changed, removed, repeated: the validator refuses, or the machine stays in its rules."""
    raw = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from("sdi")):
            case "s":
                raw[place] = data.draw(st.integers(0, 255))
            case "d":
                del raw[place]
            case "i":
                raw.insert(place, data.draw(st.integers(0, 255)))
    _tried(bytes(raw))


@settings(max_examples=100)
@given(st.data())
def test_doctored_bodies_are_refused_or_run_within_their_bounds(data: st.DataObject) -> None:
    """The outer form stays right, so that the change reaches the operations."""
    item = codec.decode(GOOD)
    function = item[6][data.draw(st.integers(0, len(item[6]) - 1))]
    body = bytearray(function[5])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        if data.draw(st.booleans()):
            body[place] = data.draw(st.integers(0, 0xC8))
        else:
            body[place : place + 1] = data.draw(st.binary(max_size=3))
    function[5] = bytes(body)
    _tried(codec.encode(item))


def _tried(raw: bytes) -> None:
    try:
        program = runtime.load(raw)
    except CodeError:
        return
    assert decode(raw) == program.code
    for function in program.code.functions:
        for arguments in ([], ["bob", 5], [1], [None]):
            data = codec.encode(arguments)
            outcome = runtime.call(program, function.name, data, MemoryHost(), 50_000, kinds=(function.kind,))
            assert outcome.gas <= 50_000
