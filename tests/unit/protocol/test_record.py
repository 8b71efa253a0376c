"""Records: one array form, and EncodingError for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.protocol.errors import EncodingError
from althing.protocol.limits import INT_MAX
from althing.protocol.record import (
    ADDRESS,
    BOOL,
    CHAIN_ID,
    HASH,
    NAME,
    UINT,
    Record,
    array,
    blob,
    integer,
    mapping,
    of,
    optional,
    record,
    text,
)


@dataclass(frozen=True, slots=True)
class Inner(Record):
    name: str = of(NAME)
    count: int = of(integer(-5, 5))


@dataclass(frozen=True, slots=True)
class Outer(Record):
    inner: Inner = of(record(Inner))
    many: tuple[Inner, ...] = of(array(record(Inner), 3, 1))
    maybe: bytes | None = of(optional(blob(1, 4)))
    flag: bool = of(BOOL)
    pairs: tuple[tuple[str, str], ...] = of(mapping(2, key_chars=3, value_chars=4))
    words: str = of(text(0, 5))


GOOD: list[Any] = [["a", 1], [["b", -5]], b"x", True, [["k", "v"], ["l", ""]], "hello"]
INNERS = st.builds(Inner, st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True), st.integers(-5, 5))


@given(
    st.builds(
        Outer,
        INNERS,
        st.lists(INNERS, min_size=1, max_size=3).map(tuple),
        st.none() | st.binary(min_size=1, max_size=4),
        st.booleans(),
        st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "v"]), max_size=2).map(
            lambda d: tuple(sorted(d.items()))
        ),
        st.text("abcä😀", max_size=5),
    )
)
def test_round_trip(value: Outer) -> None:
    assert Outer.from_bytes(value.to_bytes()) == value
    assert hash(Outer.from_item(value.to_item())) == hash(value)


def test_the_good_form_is_good() -> None:
    assert Outer.from_item(GOOD).to_item() == GOOD


BAD = {
    "not an array": {},
    "text": "abc",
    "too short": GOOD[:-1],
    "too long": [*GOOD, None],
    "inner too long": [["a", 1, 1], *GOOD[1:]],
    "inner of other type": [["a", True], *GOOD[1:]],
    "integer below": [["a", -6], *GOOD[1:]],
    "integer above": [["a", 6], *GOOD[1:]],
    "name in capitals": [["A", 1], *GOOD[1:]],
    "array empty": [GOOD[0], [], *GOOD[2:]],
    "array too long": [GOOD[0], [["b", 0]] * 4, *GOOD[2:]],
    "array a map": [GOOD[0], {1: 2}, *GOOD[2:]],
    "blob empty": [*GOOD[:2], b"", *GOOD[3:]],
    "blob a text": [*GOOD[:2], "x", *GOOD[3:]],
    "blob too long": [*GOOD[:2], b"xxxxx", *GOOD[3:]],
    "boolean an integer": [*GOOD[:3], 1, *GOOD[4:]],
    "boolean null": [*GOOD[:3], None, *GOOD[4:]],
    "pairs out of order": [*GOOD[:4], [["l", ""], ["k", "v"]], "hello"],
    "pair twice": [*GOOD[:4], [["k", "v"], ["k", "v"]], "hello"],
    "pair of three": [*GOOD[:4], [["k", "v", "w"]], "hello"],
    "pairs not arrays": [*GOOD[:4], ["kv"], "hello"],
    "too many pairs": [*GOOD[:4], [["a", ""], ["b", ""], ["c", ""]], "hello"],
    "key too long": [*GOOD[:4], [["kkkk", "v"]], "hello"],
    "key of bytes": [*GOOD[:4], [[b"k", "v"]], "hello"],
    "text too long": [*GOOD[:5], "hello!"],
    "text with a line break": [*GOOD[:5], "a\nb"],
    "text with a C1 control": [*GOOD[:5], "a\x9fb"],
    "text of bytes": [*GOOD[:5], b"hello"],
}


@pytest.mark.parametrize("item", BAD.values(), ids=BAD.keys())
def test_other_forms_are_refused(item: Any) -> None:
    with pytest.raises(EncodingError, match=r"\[record\."):
        Outer.from_item(item)


def test_a_wrong_value_is_not_written_either() -> None:
    with pytest.raises(EncodingError, match=r"Inner\.count"):
        Inner("a", 6).to_bytes()
    with pytest.raises(EncodingError, match=r"Outer\.inner"):
        Outer(("a", 1), (Inner("a", 1),), None, True, (), "").to_bytes()  # type: ignore[arg-type]
    with pytest.raises(EncodingError, match=r"Outer\.many"):
        Outer(Inner("a", 1), [Inner("a", 1)], None, True, (), "").to_bytes()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (UINT, [0, INT_MAX], [-1, INT_MAX + 1, True, None, "1"]),
        (HASH, [bytes(32)], [bytes(31), bytes(33), "", None]),
        (ADDRESS, [bytes(20)], [bytes(19), bytes(21)]),
        (NAME, ["a", "a" * 63, "a.b_c-d", "0"], ["", "a" * 64, "-a", "a-", "A", "ä", "a b", "a\n", ".", "ſ", b"a"]),
        (CHAIN_ID, ["a", "a" * 50, "a-b"], ["", "a" * 51, "a.b", "a_b", "-a", "a-", "a\n"]),
    ],
)
def test_bounds_of_the_common_forms(form: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert form.unpack(form.pack(value)) == value
    for value in bad:
        with pytest.raises(ValueError, match="not"):
            form.unpack(value)
        with pytest.raises(ValueError, match="not"):
            form.pack(value)
