"""Reads that are checked: a state answer counts only with a header the trusted validators signed.

Trust moves forward: each newer header that verifies becomes the trusted one. Without a trust file the first answer is
taken on faith and pinned (`trust on first use`); later ones must follow from it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import cbor2

from althing.client.errors import LyingNodeError, NodeError
from althing.client.transport import Transport
from althing.light.headers import LightError, verify_adjacent, verify_commit, verify_skipping
from althing.protocol.block import Commit, Header, SignedHeader, Validator, ValidatorSet
from althing.protocol.errors import ProtocolError, UnavailableError
from althing.protocol.stateproof import PresenceProof, proof_from_cbor_obj, verify_absence, verify_presence
from althing.protocol.trust import Trust

__all__ = ["VerifiedReader"]

_ATTEMPTS: Final = 400
_PAUSE_S: Final = 0.025


class VerifiedReader:
    """State reads against one chain of trusted headers."""

    def __init__(self, transport: Transport, trust: Trust) -> None:
        self._transport = transport
        self._trust = trust
        self._header: Header | None = None
        self._validators = trust.validators

    @property
    def trust(self) -> Trust:
        """What is trusted now: the newest header verified so far."""
        if self._header is None:
            return self._trust
        header = self._header
        return Trust(header.chain_id, self._trust.genesis_hash, header.height, header.hash(), self._validators)

    async def state(self, key: bytes, *, at_least: int = 0) -> tuple[int, bytes | None]:
        """The value of a state key (None: proved absent) and the version; LyingNodeError when it does not verify.

        A version is proved by the header after it. `at_least` waits for that of the caller's own last write.
        """
        for _ in range(_ATTEMPTS):
            data = await self._transport.get_bytes(f"/v1/state/{key.hex()}")
            try:
                version, value = self._check(key, data)
            except (LightError, ProtocolError) as exc:
                raise LyingNodeError(f"state answer for {key!r} does not verify: {exc.message}") from exc
            if version >= at_least:
                return version, value
            await asyncio.sleep(_PAUSE_S)
        raise UnavailableError("node.behind", f"the node has no header over version {at_least} yet", retry_after_s=1)

    def _check(self, key: bytes, data: bytes) -> tuple[int, bytes | None]:
        try:
            item = cbor2.loads(data, max_depth=8, allow_indefinite=False)
        except (cbor2.CBORDecodeError, ValueError) as exc:
            raise NodeError("node.answer", "the node did not answer with CBOR", status=502) from exc
        match item:
            case [int() as version, value, proof, bytes() as header_bytes, bytes() as commit_bytes, list() as members]:
                header, commit = Header.decode(header_bytes), Commit.decode(commit_bytes)
                validators = ValidatorSet.of(_validator(member) for member in members)
            case _:
                raise LyingNodeError("a state answer is not of the form")
        self.advance(SignedHeader(header, commit), validators)
        parsed = proof_from_cbor_obj(proof)
        if isinstance(parsed, PresenceProof):
            if type(value) is not bytes:
                raise LyingNodeError("a proof of presence came without a value")
            verify_presence(header.app_hash, key, value, parsed)
            return version, value
        if value is not None:
            raise LyingNodeError("a proof of absence came with a value")
        verify_absence(header.app_hash, key, parsed)
        return version, None

    def advance(self, signed: SignedHeader, validators: ValidatorSet) -> None:
        """Verify a header from what is trusted; a newer one becomes the trusted one."""
        header = signed.header
        trusted = self._header
        if trusted is None:
            if header.chain_id != self._trust.chain_id or header.height < self._trust.height:
                raise LyingNodeError("the node is behind the trusted height, or on another chain")
            if header.height == self._trust.height and header.hash() != self._trust.header_hash:
                raise LyingNodeError("the node has another block at the trusted height")
            if validators.hash() != self._trust.validators.hash():
                raise LyingNodeError("the node's validators are not the trusted ones; get a newer trust file")
            verify_commit(header.chain_id, header, signed.commit, validators)
        elif header.height == trusted.height:
            if header.hash() != trusted.hash():
                raise LyingNodeError(f"two blocks at height {header.height}")
            return
        elif header.height < trusted.height:
            # An older answer (another node, a cached one): fine if the same validators signed it.
            if validators.hash() != self._validators.hash():
                raise LyingNodeError("an older header of other validators")
            verify_commit(trusted.chain_id, header, signed.commit, validators)
            return
        elif header.height == trusted.height + 1:
            verify_adjacent(trusted, signed, validators, freshness=None)
        else:
            verify_skipping(trusted, self._validators, signed, validators, freshness=None)
        self._header = header
        self._validators = validators


def _validator(member: Any) -> Validator:
    match member:
        case [bytes() as public, int() as power]:
            return Validator(public, power)
    raise LyingNodeError("a validator is not of the form")
