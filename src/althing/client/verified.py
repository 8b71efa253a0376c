"""Reads that are checked: a state answer counts only with a header the trusted validators signed.

Trust moves forward: each newer header that verifies becomes the trusted one. Without a trust file the first answer is
taken on faith and pinned (`trust on first use`); later ones must follow from it. Where validators changed since, headers
in between are asked for until each follows from the one before (docs/spec/light-client.md §4).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from althing.client.errors import LyingNodeError
from althing.client.lightblocks import drive, light_block_of_answer
from althing.client.transport import Transport, item_of
from althing.light.blocks import LightBlock
from althing.light.errors import AttackError, ExpiredError, LightError
from althing.light.following import follow_back, follow_by_skipping
from althing.light.headers import TIMELESS, Freshness
from althing.light.verification import verify_first
from althing.protocol.block import Commit, Header, SignedHeader, Timestamp, Validator, ValidatorSet
from althing.protocol.codec import encode
from althing.protocol.errors import ProtocolError, UnavailableError
from althing.protocol.stateproof import PresenceProof, proof_from_cbor_obj, verify_absence, verify_presence
from althing.protocol.trust import Trust

__all__ = ["VerifiedReader", "pinned"]

_ATTEMPTS: Final = 400
_PAUSE_S: Final = 0.025
_KEYS_MAX: Final = 256  # of one request
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
    """The newest block that was verified."""

    block: LightBlock | None


class VerifiedReader:
    """State reads against one chain of trusted headers. `attempts` bounds the wait for a node that is behind.

    `newest` is a block that was verified under the same trust before. With a `trusting_period_s` nothing follows from a
    header that is older by `clock_ns` (light.expired); without one, time says nothing.
    """

    def __init__(
        self,
        transport: Transport,
        trust: Trust,
        *,
        attempts: int = _ATTEMPTS,
        newest: LightBlock | None = None,
        trusting_period_s: int = 0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._transport = transport
        self._trust = trust
        self._attempts = attempts
        self._newest = _Newest(newest)
        self._period_s = trusting_period_s
        self._clock_ns = clock_ns

    def through(self, transport: Transport) -> VerifiedReader:
        """A reader of the same chain through other nodes: what one of both has verified, both trust."""
        reader = VerifiedReader(
            transport,
            self._trust,
            attempts=self._attempts,
            trusting_period_s=self._period_s,
            clock_ns=self._clock_ns,
        )
        reader._newest = self._newest
        return reader

    @property
    def newest(self) -> LightBlock | None:
        """The newest block verified; None before the first."""
        return self._newest.block

    @property
    def trust(self) -> Trust:
        """What is trusted now: the newest header verified so far."""
        block = self._newest.block
        if block is None:
            return self._trust
        return Trust(block.header.chain_id, self._trust.genesis_hash, block.height, block.hash, block.validators)

    @property
    def version(self) -> int:
        """The newest version of the state that a verified header proves; 0 before the first."""
        return 0 if self._newest.block is None else self._newest.block.height - 1

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
            block = await self._light(height)
            if height and block.height != height:
                raise LyingNodeError(f"asked for height {height}, the node answered with {block.height}")
            await self.follow(block)
            return block.header

    async def _follow(self, header: bytes, commit: bytes, members: list[Any]) -> Header:
        signed = SignedHeader(Header.decode(header), Commit.decode(commit))
        await self.follow(LightBlock(signed, ValidatorSet.of(_validator(member) for member in members)))
        return signed.header

    async def follow(self, block: LightBlock) -> None:
        """Verify a block from what is trusted; a newer one becomes the trusted one.

        1. The first follows from the one that the trust file pins.
        2. A newer one is skipped to, through headers in between where validators have changed too much.
        3. An older one (another node, a cached answer) has the same validators, or the hash that its successor names.
        """
        trusted = self._newest.block or await self._begin(block)  # 1
        if block.height > trusted.height:  # 2
            await drive(follow_by_skipping(trusted, block, self._freshness()), self._light)
            self._advance(block)
        elif block.height == trusted.height:
            if block.hash != trusted.hash:
                raise LyingNodeError(f"two blocks at height {block.height}")
        elif block.validators.hash() == trusted.validators.hash():  # 3
            verify_first(trusted.header.chain_id, block)
        elif trusted.height - block.height > _BACKWARDS_MAX:
            raise UnavailableError("node.behind", f"height {block.height} is too far back to be verified from here")
        else:
            await drive(follow_back(trusted, block), self._light)

    async def _begin(self, block: LightBlock) -> LightBlock:
        """The first trusted block: the one that the trust file pins.

        Where its validators still sign and its age does not count, one that they signed serves: a node need not have the
        pinned one any more.
        """
        trust = self._trust
        if block.height < trust.height or block.header.chain_id != trust.chain_id:
            raise LyingNodeError("the node is behind the trusted height, or on another chain")
        if block.height > trust.height and (self._period_s or block.validators.hash() != trust.validators.hash()):
            block = await self._light(trust.height)
            if block.height != trust.height:
                raise LyingNodeError("the node answers with another height than the trusted one")
        if block.height == trust.height and block.hash != trust.header_hash:
            raise LyingNodeError("the node has another block at the trusted height")
        if block.validators.hash() != trust.validators.hash():
            raise LyingNodeError("the node's validators are not the trusted ones; get a newer trust file")
        verify_first(trust.chain_id, block)
        self._advance(block)
        return block

    def _advance(self, block: LightBlock) -> None:
        # Another task may have come further meanwhile.
        if self._newest.block is None or self._newest.block.height < block.height:
            self._newest.block = block

    def _freshness(self) -> Freshness:
        if not self._period_s:
            return TIMELESS
        # A gateway's own clock may lag: that a header is from the future says nothing against it.
        now = Timestamp.from_ns(self._clock_ns())
        return Freshness(now, self._period_s * 1_000_000_000, TIMELESS.clock_drift_ns)

    async def _light(self, height: int) -> LightBlock:
        found = await self._transport.get_json(f"/v1/light/{height}")
        try:
            return light_block_of_answer(found)
        except ValueError as exc:
            raise LyingNodeError("a light block is not of the form") from exc


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
