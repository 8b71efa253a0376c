"""Receipts are hashed into headers: their codes must not depend on which fault a CBOR library meets first."""

from __future__ import annotations

import pytest

from althing.protocol.codec import encode
from althing.testing.harness import LedgerHarness


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc0\x60", b"\xf7", b"\xf9\x00\x00", b"\x18\x00", b"\xa2\x01\x00\x00\x00", b"\x9f\xff", b"\x00\x00"],
)
def test_bad_cbor_has_one_code(payload: bytes) -> None:
    chain = LedgerHarness()
    envelope = b"\xd2" + encode([encode({1: -8, 4: bytes(8)}), {}, payload, bytes(64)])
    bare = b"\xd2" + payload
    receipts = chain.block(envelope, bare)
    assert [receipt.code for receipt in receipts] == ["cbor.malformed"] * 2
