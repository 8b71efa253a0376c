"""Resolution as a whole: pure, repeatable, bounded; the short way through SenML equals the long one."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from althing.protocol import codec, senml
from althing.protocol.decimals import BadNumber, from_pair
from althing.protocol.errors import PayloadError
from althing.protocol.mapping import Field, Mapping, TimeField
from althing.protocol.readings import (
    Flag,
    Kind,
    Quantity,
    Reading,
    StreamSchema,
    Thresholds,
    flag_names,
    resolve,
    timing_flags,
)

NOW = 1_700_000_000 * 10**9
SCHEMA = StreamSchema(
    (
        Quantity("temperature", "Cel", label="t"),
        Quantity("humidity", "%RH"),
        Quantity("door", kind=Kind.BOOL),
        Quantity("free"),
    ),
)

numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.builds(lambda c, e: from_pair(c, e), st.integers(-(10**12), 10**12), st.integers(-12, 6)),
    st.builds(from_pair, st.integers(-(10**64) + 1, 10**64 - 1), st.integers(-400, 400)),
    st.sampled_from([*BadNumber, 0, Decimal("268435456"), Decimal("268435455.9999999999")]),
)
times = st.one_of(numbers, st.integers(1_699_900_000, 1_700_001_000), st.sampled_from([None, "noon", True]))
values = st.one_of(numbers, st.sampled_from([None, "21.5", True, [], {}]))
plain_records = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from(["t", "humidity", "x:t", "door", "free", "other", ""]),
        "u": st.sampled_from(["Cel", "%RH", "K", "degF", None]),
        "v": values,
        "t": times,
    },
)
other_records = st.fixed_dictionaries(
    {},
    optional={
        "bn": st.sampled_from(["", "dev:", "t"]),
        "bt": times,
        "bu": st.sampled_from(["", "Cel"]),
        "bv": numbers,
        "bs": numbers,
        "n": st.sampled_from(["t", "humidity"]),
        "v": values,
        "s": values,
        "vs": st.sampled_from(["a", 1]),
        "ut": times,
        "extra": st.integers(),
    },
)
packs = st.lists(plain_records | other_records, min_size=1, max_size=8)
moments = st.builds(
    senml.Moment,
    st.just(NOW),
    st.none() | st.integers(NOW - 10**12, NOW),
    st.none() | st.integers(NOW - 10**14, NOW),
    st.booleans(),
)


def outcome(records: list[Any], schema: StreamSchema, moment: senml.Moment, *, plain: bool) -> Any:
    try:
        return senml.resolve_pack([dict(record) for record in records], schema, moment, plain=plain)
    except PayloadError as error:
        return error.code, str(error)


@given(packs, moments, st.booleans())
def test_the_short_way_equals_the_long_way(records: list[Any], moment: senml.Moment, backfill: bool) -> None:
    schema = StreamSchema(SCHEMA.quantities, thresholds=Thresholds(10, 100, 1000), backfill=backfill)
    assert outcome(records, schema, moment, plain=True) == outcome(records, schema, moment, plain=False)


json_safe = st.fixed_dictionaries(
    {"n": st.sampled_from(["dev:t", "dev:humidity", "dev:odd"])},
    optional={
        "u": st.sampled_from(["Cel", "%RH"]),
        "t": st.integers(-1000, 1_800_000_000) | st.floats(-1000, 2e9),
        "bt": st.integers(0, 1_700_000_000),
        "bv": st.integers(-5, 5) | st.floats(-1e6, 1e6),
        "ut": st.floats(0, 1e5),
    },
)
one_value = st.one_of(
    st.fixed_dictionaries({"v": st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**63), 2**63)}),
    st.fixed_dictionaries({"vs": st.text(max_size=10)}),
    st.fixed_dictionaries({"vb": st.booleans()}),
    st.fixed_dictionaries({"vd": st.binary(max_size=10)}),
    st.fixed_dictionaries({"s": st.floats(-1e9, 1e9)}),
)
LABELS = {"bn": -2, "bt": -3, "bv": -5, "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8}


def as_json(record: dict[str, Any]) -> dict[str, Any]:
    octets = record.get("vd")
    return record if octets is None else {**record, "vd": base64.urlsafe_b64encode(octets).decode().rstrip("=")}


@given(st.lists(st.builds(lambda a, b: {**a, **b}, json_safe, one_value), min_size=1, max_size=5))
def test_json_and_cbor_of_one_pack_give_the_same_values(records: list[dict[str, Any]]) -> None:
    """Doubles are written with their shortest digits in both, so all that may differ is how many zeros are kept."""
    as_text = resolve("application/senml+json", json.dumps([as_json(r) for r in records]).encode(), SCHEMA, NOW)
    as_cbor = cbor2.dumps([{LABELS[name]: value for name, value in record.items()} for record in records])
    assert resolve("application/senml+cbor", as_cbor, SCHEMA, NOW) == as_text


@given(
    st.binary(max_size=120), st.sampled_from(["application/senml+json", "application/senml+cbor", "application/json"])
)
def test_any_bytes_are_resolved_or_refused(body: bytes, content_type: str) -> None:
    schema = StreamSchema(SCHEMA.quantities, mapping=Mapping((Field("/a", "free"),)))
    with contextlib.suppress(PayloadError):
        resolve(content_type, body, schema, NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda x: (
            st.lists(x, max_size=4)
            | st.dictionaries(st.sampled_from(["n", "v", "u", "t", "bn", "bt", "bver", "s", "vd", "x_"]), x, max_size=4)
        ),
    )
)
def test_any_json_is_resolved_or_refused(document: Any) -> None:
    body = json.dumps(document).encode()
    for content_type in ("application/senml+json", "application/json"):
        schema = StreamSchema(
            SCHEMA.quantities,
            mapping=Mapping((Field("/v", "free"), Field("/0", "door", kind=Kind.BOOL)), TimeField("/t", "unix_s")),
        )
        with contextlib.suppress(PayloadError):
            resolve(content_type, body, schema, NOW)


def test_resolution_does_not_depend_on_the_process() -> None:
    """The same bytes give the same readings in a fresh interpreter with another hash seed and another decimal context."""
    program = (
        "import decimal, sys; decimal.getcontext().prec = 2\n"
        "from althing.protocol.readings import *\n"
        "q = (Quantity('a', 'Cel'), Quantity('b'), Quantity('c'))\n"
        "r = resolve('application/senml+json', sys.stdin.buffer.read(), StreamSchema(q), 1700000000000000000)\n"
        "print(r)\n"
    )
    pack = [{"bn": "x:", "bt": 1699999999.123456789, "bv": 0.1, "n": "a", "v": 0.20}, {"n": "b", "v": 1e-9, "t": 3}]
    pack.append({"n": "zz", "v": 123456.789, "t": 0.000001})
    source = str(Path(senml.__file__).parents[2])
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(pack).encode(),
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": source},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "7")
    }
    assert len(seen) == 1
    assert b"Decimal('123456.889')" in seen.pop()


def test_a_pack_is_bounded_by_the_message() -> None:
    record = b'{"n":"a","v":1},'
    body = b"[" + record * (256 * 1024 // len(record)) + b'{"n":"a","v":1}]'
    with pytest.raises(PayloadError) as caught:
        resolve("application/senml+json", body, SCHEMA, NOW)
    assert caught.value.code == "payload.too_large"


def test_an_error_names_the_record_counting_from_one() -> None:
    """As RFC 8428 §9 numbers records."""
    with pytest.raises(PayloadError, match="SenML record 2:"):
        resolve("application/senml+json", b'[{"n":"a","v":1},{"n":"b"}]', SCHEMA, NOW)


def test_latest_is_carried_from_message_to_message() -> None:
    def send(*seconds: int, previous: int | None) -> Any:
        body = json.dumps([{"n": "t", "t": second, "v": 1} for second in seconds]).encode()
        return resolve("application/senml+json", body, SCHEMA, NOW, previous_max_ns=previous)

    base = NOW // 10**9
    first = send(base - 20, base - 10, previous=None)
    assert (first.flags, first.latest_ns) == (0, NOW - 10 * 10**9)
    second = send(base - 15, base - 10, base + 10_000, previous=first.latest_ns)
    assert [flag_names(reading.flags) for reading in second.records] == [("out_of_order",), (), ("future",)]
    # A clock gone wild does not make everything after it late.
    assert second.latest_ns == NOW - 10 * 10**9


@given(st.integers(-(2**62), 2**62), st.none() | st.integers(-(2**62), 2**62), st.booleans())
def test_timing_flags_follow_their_definitions(device: int, previous: int | None, backfill: bool) -> None:
    flags = timing_flags(device, NOW, previous, Thresholds(), backfill=backfill)
    age = NOW - device
    assert bool(flags & Flag.FUTURE) == (age < -300 * 10**9)
    assert bool(flags & Flag.BACKFILL) == (backfill or age > 86400 * 10**9)
    assert bool(flags & Flag.LATE) == (3600 * 10**9 < age <= 86400 * 10**9 and not backfill)
    assert bool(flags & Flag.OUT_OF_ORDER) == (previous is not None and device < previous)


units = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8)
schemas = st.builds(
    lambda names, kinds, unit, content, limits, backfill, mapped, time: StreamSchema(
        tuple(Quantity(name, unit, kind) for name, kind in zip(names, kinds, strict=False)),
        content,
        Mapping(
            tuple(Field(f"/{name}", name, unit) for name in names),
            time,
            missing=(None, "NA", unit + "?"),
        )
        if mapped
        else None,
        Thresholds(*limits),
        backfill,
    ),
    st.lists(st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True), min_size=1, max_size=6, unique=True),
    st.lists(st.sampled_from(Kind), min_size=6, max_size=6),
    units,
    st.sampled_from(["", "application/json", "text/plain; charset=utf-8"]),
    st.tuples(*[st.integers(0, 2**31 - 1)] * 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(
        [None, TimeField("/at"), TimeField("/at", "unix_ms", 0, True), TimeField("", "YYYY-MM-DD[ HH:mm]", -90)]
    ),
)


@given(schemas)
def test_a_schema_comes_back_from_its_bytes(schema: StreamSchema) -> None:
    encoded = codec.encode(schema.to_cbor_obj())
    assert StreamSchema.from_cbor_obj(codec.decode(encoded)) == schema


@given(schemas, st.data())
def test_a_schema_with_a_part_of_another_type_is_refused(schema: StreamSchema, data: st.DataObject) -> None:
    item = schema.to_cbor_obj()
    key = data.draw(st.sampled_from(sorted(item)))
    other = data.draw(st.sampled_from([7.5, b"x", (), "\x00"]))
    with pytest.raises(PayloadError):
        StreamSchema.from_cbor_obj({**item, key: other})


def test_a_reading_is_light() -> None:
    """Readings are tuples: equal by value, without a dictionary each."""
    reading = resolve("application/senml+json", b'[{"n":"t","v":1.0}]', SCHEMA, NOW).records[0]
    assert reading == Reading(0, "temperature", Kind.NUMBER, Decimal("1.0"), "Cel", NOW, int(Flag.NO_CLOCK))
    assert not hasattr(reading, "__dict__")
