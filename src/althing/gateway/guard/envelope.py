"""Taking signed messages apart and verifying them, many at once, wherever it runs: a pure function of its arguments.

A worker gets (body, keys) pairs and answers with plain tuples, so that it can be a thread or another process.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from althing.protocol.address import key_id
from althing.protocol.errors import ProtocolError
from althing.protocol.message import parse_message
from althing.protocol.signatures import Suite, verify

__all__ = ["Job", "Verdict", "check_envelope", "check_envelopes"]

Job = tuple[bytes, tuple[tuple[int, bytes], ...]]  # body, and (suite, public key) of the device's active keys

_SIGNATURE_TAIL: Final = 66  # 0x58 0x40 and 64 bytes stand behind the payload


class Verdict(NamedTuple):
    """What a signed message says; `code` is "" when its signature verifies, else why it is refused."""

    code: str
    reason: str
    chain_id: str = ""
    stream: str = ""
    counter: int = 0
    time_ns: int | None = None
    content_type: str = ""
    payload_bytes: int = 0
    key: int = 0  # which of the keys it was

    def payload(self, body: bytes) -> bytes:
        end = len(body) - _SIGNATURE_TAIL
        return body[end - self.payload_bytes : end]


def check_envelope(genesis_hash: bytes, job: Job) -> Verdict:
    """Parse and verify one message (docs/spec/device-message.md §5, steps 1 to 4)."""
    body, keys = job
    try:
        message = parse_message(body, genesis_hash)
    except ProtocolError as error:
        return Verdict(error.code, error.message)
    signature = message.signature
    for index, (suite, public) in enumerate(keys):
        own = Suite(suite)
        if signature.suite is not own or key_id(own, public) != signature.kid:
            continue
        if not verify(own, public, signature.signed, signature.value):
            return Verdict("message.signature", "the signature does not verify with the key it names")
        return Verdict(
            "",
            "",
            message.chain_id,
            message.stream,
            message.counter,
            message.time_ns,
            message.content_type,
            len(message.payload),
            index,
        )
    return Verdict("message.key", f"the device has no active key {signature.kid.hex()} of this algorithm")


def check_envelopes(genesis_hash: bytes, jobs: list[Job]) -> list[Verdict]:
    """The verdict of each job, in order."""
    return [check_envelope(genesis_hash, job) for job in jobs]
