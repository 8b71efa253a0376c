"""Strict JSON: what it accepts it reads as the standard library does; what it refuses has a code."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.protocol.decimals import BadNumber
from althing.protocol.errors import PayloadError
from althing.protocol.jsontext import JSON_DEPTH_MAX, parse
from althing.protocol.limits import MESSAGE_BYTES_MAX

scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(st.characters(exclude_categories=["Cs"]))
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text('ab"\\[]{}', max_size=4), inner),
    max_leaves=20,
)


@given(documents, st.booleans())
def test_documents_come_back(document: Any, ascii_only: bool) -> None:
    assert parse(json.dumps(document, ensure_ascii=ascii_only).encode()) == document


def refusal(body: bytes) -> str:
    with pytest.raises(PayloadError) as caught:
        parse(body)
    return caught.value.code


def depth_of(body: str) -> int:
    """The deepest nesting, by the plain reading of the grammar."""
    depth = deepest = 0
    in_string = escaped = False
    for character in body:
        if in_string:
            in_string, escaped = escaped or character != '"', not escaped and character == "\\"
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


@given(
    st.integers(0, 70),
    st.sampled_from(['"]"', '"}]"', '"\\"]"', '"\\\\","]"', '"{"', "1", "{}", '{"a":[]}']),
    st.booleans(),
)
def test_depth_is_counted_outside_strings_only(levels: int, filler: str, objects: bool) -> None:
    opening, closing = (f'{{"a":[{filler},', "]}") if objects else (f"[{filler},", "]")
    body = opening * levels + filler.split(",")[0] + closing * levels
    if depth_of(body) > JSON_DEPTH_MAX:
        assert refusal(body.encode()) == "payload.too_deep"
    else:
        parse(body.encode())


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, '["]",' * 50_000, '["]",' * 40_000 + "1" + "]" * 40_000, '[{"a":' * 30_000, '["\\"]",' * 30_000],
    ids=["open", "strings", "closed", "objects", "escapes"],
)
def test_deep_texts_are_refused_before_the_parser_recurses(body: str) -> None:
    assert refusal(body.encode()) == "payload.too_deep"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "payload.json"),
        (b"\xef\xbb\xbf[]", "payload.json"),
        (b'"\xed\xa0\x80"', "payload.utf8"),
        (b'["\\udc00"]', "payload.utf8"),
        (b'{"\\ud800":1}', "payload.utf8"),
        (b'"a\nb"', "payload.json"),
        (b"[1,]", "payload.json"),
        (b"'a'", "payload.json"),
        (b"+1", "payload.json"),
        (b"1.", "payload.json"),
        (b"0x10", "payload.json"),
        (b'{"a":{"b":1,"b":2}}', "payload.json_duplicate"),
        (b'{"a":1,"\\u0061":2}', "payload.json_duplicate"),
        (b" " * (MESSAGE_BYTES_MAX + 1), "payload.too_large"),
    ],
)
def test_refusals(body: bytes, code: str) -> None:
    assert refusal(body) == code


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_numbers_keep_digits_and_constants_are_flagged() -> None:
    parsed = parse(b"[1, 1.50, 1e3, 123456789012345678901234567890, NaN, Infinity, -Infinity, 1e999]")
    assert parsed[:4] == [1, Decimal("1.50"), Decimal("1e3"), Decimal(123456789012345678901234567890)]
    assert str(parsed[1]) == "1.50"
    assert parsed[4:] == [BadNumber.NOT_FINITE] * 3 + [BadNumber.OUT_OF_RANGE]


def test_a_number_of_a_quarter_million_digits_is_no_work() -> None:
    assert parse(b"9" * (MESSAGE_BYTES_MAX - 1)) is BadNumber.OUT_OF_RANGE
