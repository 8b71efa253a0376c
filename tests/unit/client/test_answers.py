"""What a node answers in CBOR is taken strictly: a node is not trusted with its form either."""

from __future__ import annotations

import cbor2
import pytest

from althing.client.errors import NodeError
from althing.client.transport import item_of
from althing.protocol.limits import CBOR_BYTES_MAX

STRING = cbor2.dumps(b"x" * 1000)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        b"\x84\xd8\x1c" + STRING + b"\xd8\x1d\x00" * 3,  # one value and references to it
        b"\xd9\x01\x00\x82\x44name\xd8\x19\x00",  # a table of strings, and one by its number
        b"\xc2\x49" + b"\x01" * 9,  # an integer of any size
        b"\xd9\x01\x02\x81\x01",  # a set
        b"\x81\xfb" + b"\0" * 8,  # a float
        b"\x9f\x01\xff",  # an array without a length
        b"\x81\x01\x01",  # more than one value
        b"\x81" * 20 + b"\x01",
        b"\x81" * 100_000,
    ],
)
def test_anything_but_plain_values_is_refused(answer: bytes) -> None:
    with pytest.raises(NodeError) as error:
        item_of(answer, "http://node/v1/state")
    assert error.value.code == "node.answer"


def test_large_answers_are_taken() -> None:
    parts = [[b"\1" * 32, "", "", number, b"r" * 4000] for number in range(2000)]
    answer = cbor2.dumps(parts)
    assert len(answer) > CBOR_BYTES_MAX
    assert item_of(answer, "http://node/v1/transactions") == parts
