"""Reads that are checked: a state answer counts only with a header the trusted validators signed.

Trust moves forward: each newer header that verifies becomes the trusted one. Without a trust file the first answer is
taken on faith and pinned (`trust on first use`); later ones must follow from it. Where validators changed since, headers
in between are asked for until each follows from the one before (docs/spec/blocks.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from althing.client.errors import LyingNodeError
from althing.client.transport import Transport, item_of
from althing.light.errors import AttackError, ExpiredError, LightError
from althing.light.headers import verify_adjacent, verify_commit, verify_skipping
from althing.protocol.block import Commit, Header, SignedHeader, Validator, ValidatorSet
from althing.protocol.codec import encode
from althing.protocol.errors import ProtocolError, UnavailableError
from althing.protocol.stateproof import PresenceProof, proof_from_cbor_obj, verify_absence, verify_presence
from althing.protocol.trust import Trust

__all__ = ["VerifiedReader", "pinned"]

_ATTEMPTS: Final = 400
_PAUSE_S: Final = 0.025
_KEYS_MAX: Final = 256  # of one request
_BISECTIONS_MAX: Final = 64
_BACKWARDS_MAX: Final = 256


def pinned(trust: Trust | None) -> dict[str, Any]:
    """How a request for proofs names a trust file."""
    if trust is None:
        return {}
    return {
        "trusted_height": trust.height,
        "trusted_header": trust.header_hash.hex(),
        "trusted_validators": trust.validators.hash().hex(),
    }


@dataclass(slots=True)
class _Newest:
    """The newest header that was verified, and the validators that signed it."""

    header: Header | None
    validators: ValidatorSet


class VerifiedReader:
    """State reads against one chain of trusted headers. `attempts` bounds the wait for a node that is behind."""

    def __init__(self, transport: Transport, trust: Trust, *, attempts: int = _ATTEMPTS) -> None:
        self._transport = transport
        self._trust = trust
        self._attempts = attempts
        self._newest = _Newest(None, trust.validators)

    def through(self, transport: Transport) -> VerifiedReader:
        """A reader of the same chain through other nodes: what one of both has verified, both trust."""
        reader = VerifiedReader(transport, self._trust, attempts=self._attempts)
        reader._newest = self._newest
        return reader

    @property
    def trust(self) -> Trust:
        """What is trusted now: the newest header verified so far."""
        if self._newest.header is None:
            return self._trust
        header = self._newest.header
        return Trust(header.chain_id, self._trust.genesis_hash, header.height, header.hash(), self._newest.validators)

    @property
    def version(self) -> int:
        """The newest version of the state that a verified header proves; 0 before the first."""
        return 0 if self._newest.header is None else self._newest.header.height - 1

    async def state(self, key: bytes, *, at_least: int = 0) -> tuple[int, bytes | None]:
        """The value of a state key (None: proved absent) and the version; LyingNodeError when it does not verify.

        A version is proved by the header after it. `at_least` waits for that of the caller's own last write.
        """
        for _ in range(self._attempts):
            data = await self._transport.get_bytes(f"/v1/state/{key.hex()}")
            with _verifying(f"the state answer for {key!r}"):
                match item_of(data, self._transport.url):
                    case [int() as version, value, proof, bytes() as header, bytes() as commit, list() as members]:
                        pass
                    case _:
                        raise LyingNodeError("a state answer is not of the form")
                trusted = await self._follow(header, commit, members)
                _check_version(version, trusted)
                _check_value(trusted, key, value, proof)
            if version >= at_least:
                return version, value
            await asyncio.sleep(_PAUSE_S)
        raise _behind(at_least)

    async def states(
        self, keys: Sequence[bytes], *, at_least: int = 0, version: int | None = None
    ) -> tuple[int, list[bytes | None]]:
        """As `state` for many keys, all of one version: `version` if given, else the newest that is proved."""
        found: list[bytes | None] = []
        for first in range(0, len(keys), _KEYS_MAX):
            version, values = await self._states(keys[first : first + _KEYS_MAX], at_least, version)
            found.extend(values)
        assert version is not None, "at least one key is asked for"
        return version, found

    async def _states(self, keys: Sequence[bytes], at_least: int, wanted: int | None) -> tuple[int, list[bytes | None]]:
        body = encode(list(keys))
        params = {} if wanted is None else {"height": wanted + 1}
        for _ in range(self._attempts):
            answer = await self._transport.post_cbor("/v1/state", body, params, timeout_s=30)
            with _verifying("a state answer"):
                match answer:
                    case [int() as version, bytes() as header, bytes() as commit, list() as members, list() as proofs]:
                        pass
                    case _:
                        raise LyingNodeError("a state answer is not of the form")
                trusted = await self._follow(header, commit, members)
                _check_version(version, trusted)
                if len(proofs) != len(keys) or wanted not in (None, version):
                    raise LyingNodeError("a state answer is not for what was asked")
                values = []
                for key, item in zip(keys, proofs, strict=True):
                    match item:
                        case [value, proof]:
                            values.append(_check_value(trusted, key, value, proof))
                        case _:
                            raise LyingNodeError("a state answer is not of the form")
            if version >= at_least:
                return version, values
            await asyncio.sleep(_PAUSE_S)
        raise _behind(at_least)

    async def header(self, height: int = 0) -> Header:
        """The verified header of a height; 0 is the node's latest."""
        with _verifying(f"the header of height {height}"):
            signed, validators = await self._light(height)
            if height and signed.header.height != height:
                raise LyingNodeError(f"asked for height {height}, the node answered with {signed.header.height}")
            await self.follow(signed, validators)
            return signed.header

    async def _backwards(self, trusted: Header, wanted: Header) -> None:
        """An older header of other validators: each header names the hash of the one before."""
        if trusted.height - wanted.height > _BACKWARDS_MAX:
            raise UnavailableError("node.behind", f"height {wanted.height} is too far back to be verified from here")
        for height in range(trusted.height - 1, wanted.height - 1, -1):
            header = wanted if height == wanted.height else (await self._light(height))[0].header
            if header.hash() != trusted.last_block_id.hash:
                raise LyingNodeError(f"the header of height {height} is not the one its successor names")
            trusted = header

    async def _follow(self, header: bytes, commit: bytes, members: list[Any]) -> Header:
        signed = SignedHeader(Header.decode(header), Commit.decode(commit))
        await self.follow(signed, ValidatorSet.of(_validator(member) for member in members))
        return signed.header

    async def follow(self, signed: SignedHeader, validators: ValidatorSet) -> None:
        """Verify a header from what is trusted, through headers in between where validators have changed too much."""
        trusted, others = self._newest.header, validators.hash() != self._newest.validators.hash()
        if trusted is None and others:
            await self._begin()
        elif trusted is not None and others and signed.header.height < trusted.height:
            await self._backwards(trusted, signed.header)
            return
        steps = [(signed, validators)]
        for _ in range(_BISECTIONS_MAX):
            try:
                self.advance(*steps[-1])
            except LightError as exc:
                trusted, wanted = self._newest.header, steps[-1][0].header.height
                if exc.code != "light.trust" or trusted is None or wanted <= trusted.height + 1:
                    raise
                steps.append(await self._light((trusted.height + wanted) // 2))
                continue
            steps.pop()
            if not steps:
                return
        raise LyingNodeError(f"no way of headers leads from the trusted one to height {signed.header.height}")

    async def _begin(self) -> None:
        """Trust begins with the header that the trust file pins."""
        signed, validators = await self._light(self._trust.height)
        if signed.header.height != self._trust.height:
            raise LyingNodeError("the node answers with another height than the trusted one")
        self.advance(signed, validators)

    async def _light(self, height: int) -> tuple[SignedHeader, ValidatorSet]:
        found = await self._transport.get_json(f"/v1/light/{height}")
        try:
            signed = SignedHeader(
                Header.decode(bytes.fromhex(found["header"])), Commit.decode(bytes.fromhex(found["commit"]))
            )
            members = [[bytes.fromhex(one["public_key"]), one["power"]] for one in found["validators"]]
        except (KeyError, TypeError, ValueError) as exc:
            raise LyingNodeError("a light block is not of the form") from exc
        return signed, ValidatorSet.of(_validator(member) for member in members)

    def advance(self, signed: SignedHeader, validators: ValidatorSet) -> None:
        """Verify a header from what is trusted; a newer one becomes the trusted one."""
        header = signed.header
        trusted = self._newest.header
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
            if validators.hash() != self._newest.validators.hash():
                raise LyingNodeError("an older header of other validators")
            verify_commit(trusted.chain_id, header, signed.commit, validators)
            return
        elif header.height == trusted.height + 1:
            verify_adjacent(trusted, signed, validators, freshness=None)
        else:
            verify_skipping(trusted, self._newest.validators, signed, validators, freshness=None)
        self._newest.header = header
        self._newest.validators = validators


def _check_value(header: Header, key: bytes, value: Any, proof: Any) -> bytes | None:
    parsed = proof_from_cbor_obj(proof)
    if isinstance(parsed, PresenceProof):
        if type(value) is not bytes:
            raise LyingNodeError("a proof of presence came without a value")
        verify_presence(header.app_hash, key, value, parsed)
        return value
    if value is not None:
        raise LyingNodeError("a proof of absence came with a value")
    verify_absence(header.app_hash, key, parsed)
    return None


def _check_version(version: int, header: Header) -> None:
    if version != header.height - 1:
        raise LyingNodeError(f"the header of height {header.height} does not prove version {version}")


def _behind(at_least: int) -> UnavailableError:
    return UnavailableError("node.behind", f"the node has no header over version {at_least} yet", retry_after_s=1)


@contextmanager
def _verifying(what: str) -> Iterator[None]:
    try:
        yield
    except (AttackError, ExpiredError):
        raise  # not this node's doing alone: a person must look at it
    except (LightError, ProtocolError) as exc:
        raise LyingNodeError(f"{what} does not verify: {exc.message}") from exc


def _validator(member: Any) -> Validator:
    match member:
        case [bytes() as public, int() as power]:
            return Validator(public, power)
    raise LyingNodeError("a validator is not of the form")
