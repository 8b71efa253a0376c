"""The checker against known histories, and against all orders of small ones."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.testing.linearizability import Operation, check_registers, linearizable


def op(kind, value, called, returned, register="r"):
    return Operation("c", register, kind, value, called, returned)


def write(value, called, returned):
    return op("write", value, called, returned)


def read(value, called, returned):
    return op("read", value, called, returned)


GOOD = [
    [],
    [read(None, 0, 1)],
    [write("a", 0, 1), read("a", 2, 3)],
    [write("a", 0, 10), read(None, 1, 2), read("a", 3, 4)],
    [write("a", 0, 10), write("b", 0, 10), read("b", 11, 12), read("b", 13, 14)],
    [write("a", 0, None), read(None, 5, 6), read("a", 7, 8)],
    [write("a", 0, None), write("b", 5, 6), read("b", 7, 8), read("a", 9, 10)],
    [write("a", 0, None), read(None, 1, 2)],
    [read("a", 0, 10), write("a", 1, 2)],
    [read("z", 0, None)],
]
BAD = [
    [read("a", 0, 1)],
    [write("a", 0, 1), read(None, 2, 3)],
    [write("a", 0, 10), read("a", 1, 2), read(None, 3, 4)],
    [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
    [write("a", 0, 10), write("b", 0, 10), read("a", 11, 12), read("b", 13, 14)],
    [write("a", 0, None), read("a", 1, 2), write("b", 3, 4), read("a", 5, 6)],
    [read("a", 0, 1), write("a", 2, 3)],
]


@pytest.mark.parametrize("history", GOOD)
def test_what_one_register_can_do(history):
    assert linearizable(history) is None
    assert check_registers(history) == len(history)


@pytest.mark.parametrize("history", BAD)
def test_what_no_register_does(history):
    assert linearizable(history)
    with pytest.raises(AssertionError, match="not linearizable"):
        check_registers(history)


def test_each_register_by_itself():
    history = [op("write", "a", 0, 1, "x"), op("read", None, 2, 3, "y"), op("read", "a", 2, 3, "x")]
    assert check_registers(history) == 3
    with pytest.raises(AssertionError, match="register y"):
        check_registers([*history, op("read", "a", 4, 5, "y")])


def by_all_orders(history):
    """The definition, word by word: some order of some of the unanswered and all of the answered operations."""
    answered = [one for one in history if one.returned is not None]
    open_writes = [one for one in history if one.returned is None and one.kind == "write"]
    for chosen in range(1 << len(open_writes)):
        part = answered + [one for bit, one in enumerate(open_writes) if chosen >> bit & 1]
        for order in permutations(part):
            value, fits = None, True
            for at, one in enumerate(order):
                fits = fits and all(later.returned is None or later.returned >= one.called for later in order[at + 1 :])
                fits = fits and (one.kind == "write" or one.value == value)
                value = one.value
            if fits:
                return True
    return False


@st.composite
def histories(draw):
    history = []
    for _ in range(draw(st.integers(1, 5))):
        called = draw(st.integers(0, 8))
        returned = draw(st.none() | st.integers(called, 10))
        kind = draw(st.sampled_from(["read", "write"]))
        history.append(op(kind, draw(st.sampled_from(["a", "b", None])), called, returned))
    return history


@given(histories())
def test_as_the_definition_says(history):
    assert (linearizable(history) is None) == by_all_orders(history)


@given(st.randoms(use_true_random=False))
def test_what_a_register_did_is_accepted(random):
    """Operations around moments at which they really took effect; some answers are lost."""
    value, history = None, []
    for moment in range(0, 400, 4):
        called, returned = moment - random.randrange(20), moment + random.randrange(20)
        if random.random() < 0.5:
            value = f"v{moment}"
            history.append(write(value, called, None if random.random() < 0.2 else returned))
        else:
            history.append(read(value, called, returned))
    assert linearizable(history) is None
    late = max(one.returned or 0 for one in history)
    first = next((one.value for one in history if one.kind == "write" and one.returned is not None), None)
    if first is not None and value != first:
        final = [write("end", late + 1, late + 2), read(first, late + 3, late + 4)]
        assert linearizable([*history, *final])
