"""A light client: one primary, several witnesses, a store of trusted blocks; what it returns is verified.

Every rule is in `althing.light`; here are the clock, the questions, and what happens when somebody does not answer or
lies. docs/spec/light-client.md. Source of the behaviour: CometBFT v0.39.4 `light/client.go`, `light/detector.go`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from althing.client.errors import ClientError
from althing.client.lightblocks import drive
from althing.client.lightsource import BadSourceError, NoBlockError, Source
from althing.client.lightstore import Anchor, LightStore
from althing.light.blocks import LightBlock
from althing.light.detection import Divergence, attack_of, examine, make_evidence
from althing.light.errors import AttackError, ExpiredError, InvalidHeaderError, LightError
from althing.light.following import Trace, follow_back, follow_by_skipping, follow_each
from althing.light.headers import ONE_THIRD, Freshness, TrustLevel
from althing.light.verification import expired, verify_first
from althing.protocol.block import Timestamp
from althing.protocol.block.evidence import LightClientAttackEvidence
from althing.protocol.errors import UnavailableError

__all__ = ["LightClient", "LightOptions"]

_log = structlog.get_logger("althing.client.light")
_NS: Final = 10**9
_LAG_POLL_S: Final = 0.25
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LightOptions:
    """How far trust reaches. Times in seconds."""

    trusting_period_s: int = 7 * 24 * 3600
    clock_drift_s: int = 10
    block_lag_s: int = 10  # how long a block may take to reach a correct witness
    trust_level: TrustLevel = ONE_THIRD
    one_by_one: bool = False
    alone: bool = False  # without witnesses: attacks by a third of the validators go unnoticed

    def __post_init__(self) -> None:
        if not (
            0 < self.trusting_period_s < 10**10 and 0 <= self.clock_drift_s < 10**6 and 0 <= self.block_lag_s < 10**6
        ):
            raise ClientError("client.light", "trusting period, clock drift or block lag is out of range")


class LightClient:
    """Trust in one chain. `start` once; then `block`, `update`, `accept` from any task."""

    def __init__(
        self,
        anchor: Anchor,
        primary: Source,
        witnesses: Sequence[Source],
        store: LightStore,
        options: LightOptions | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._anchor = anchor
        self._primary = primary
        self._witnesses = list(witnesses)
        self._store = store
        self._options = options or LightOptions()
        self._clock_ns = clock_ns
        self._lock = asyncio.Lock()
        if not self._witnesses and not self._options.alone:
            raise ClientError("client.witness", "a light client needs a witness", hint="name a second node")

    @property
    def chain_id(self) -> str:
        return self._anchor.chain_id

    @property
    def primary(self) -> str:
        """Address of the source that is asked first."""
        return self._primary.url

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Addresses of the others."""
        return tuple(witness.url for witness in self._witnesses)

    @property
    def options(self) -> LightOptions:
        return self._options

    @property
    def latest(self) -> LightBlock:
        """The highest block trusted; `start` must have returned."""
        block = self._store.latest()
        if block is None:
            raise UnavailableError("light.store", "the trusted blocks are gone", hint="start again with the trust file")
        return block

    async def start(self) -> None:
        """Take up what was trusted before, or begin with the anchor.

        1. The anchor's block comes from the primary, and has the hash that the user trusts.
        2. It is signed by two thirds of its validators.
        3. No witness has another block at that height.
        """
        async with self._lock:
            if self._store.open(self._anchor):
                self._check_no_attack()
                return
            block = await self._from_primary(self._anchor.height)
            if block.hash != self._anchor.hash:  # 1
                raise InvalidHeaderError(
                    "light.anchor", f"{self.primary} has another block at the trusted height {block.height}"
                )
            verify_first(self.chain_id, block)  # 2
            for witness in tuple(self._witnesses):  # 3
                try:
                    other = await witness.light_block(block.height)
                except (NoBlockError, UnavailableError) as error:
                    _log.info("a witness does not know the trusted block", witness=witness.url, reason=error.message)
                    continue
                except BadSourceError as error:
                    self._drop(witness, error)
                    continue
                if other.hash != block.hash:
                    raise AttackError(f"{witness.url} has another block at the trusted height {block.height}")
            self._store.add(block)

    async def block(self, height: int) -> LightBlock:
        """The verified block of a height; 0 is the chain's latest."""
        async with self._lock:
            self._check_no_attack()
            known = self._store.at(height) if height else None
            if known is not None:
                return known
            target = await self._from_primary(height)
            return await self._verified(target)

    async def update(self) -> LightBlock:
        """Follow the chain to its latest block."""
        return await self.block(0)

    async def accept(self, block: LightBlock) -> None:
        """Verify a block that came along with other data, from whomever."""
        # Compared with what the primary has, and not followed itself: who sent it may be anybody.
        if (await self.block(block.height)).hash != block.hash:
            raise InvalidHeaderError("light.chain", f"another block of height {block.height} is the chain's")

    async def aclose(self) -> None:
        for source in (self._primary, *self._witnesses):
            await source.aclose()

    # --- verification -----------------------------------------------------------------------------------------------

    async def _verified(self, target: LightBlock) -> LightBlock:
        """The target, or the block of its height that another primary gave, verified and kept."""
        for _ in range(2 + len(self._witnesses)):
            known = self._store.at(target.height)
            if known is not None:
                if known.hash != target.hash:
                    self._replace_primary(
                        InvalidHeaderError(
                            "light.chain", f"{self.primary} has another block {target.height} than before"
                        )
                    )
                return known
            freshness = self._freshness()
            try:
                trace = await self._trace(target, freshness)
            except (InvalidHeaderError, BadSourceError) as error:
                self._replace_primary(error)
            except (NoBlockError, UnavailableError) as error:
                self._rotate_primary(error)
            else:
                if trace[0].height < target.height:
                    await self._compare(trace, freshness)
                self._store.add(target)
                return target
            target = await self._from_primary(target.height)
        raise UnavailableError("light.source", f"no source has a way to height {target.height}", retry_after_s=5)

    async def _trace(self, target: LightBlock, freshness: Freshness) -> Trace:
        """The way to the target: forwards from the nearest block that has not expired, else backwards."""
        target.check(self.chain_id)
        base = self._store.below(target.height)
        if base is None or expired(base.header, freshness):
            newer = self._store.above(target.height)
            if newer is not None:
                verify_first(self.chain_id, target)  # the predecessors' hashes say nothing about its commit
                return await drive(follow_back(newer, target), self._primary.light_block)
        if base is None:
            raise UnavailableError("light.store", "the trusted blocks are gone", hint="start again with the trust file")
        if self._options.one_by_one:
            return await drive(follow_each(base, target, freshness), self._primary.light_block)
        return await drive(
            follow_by_skipping(base, target, freshness, self._options.trust_level), self._primary.light_block
        )

    def _freshness(self) -> Freshness:
        now = Timestamp.from_ns(self._clock_ns())
        return Freshness(now, self._options.trusting_period_s * _NS, self._options.clock_drift_s * _NS)

    # --- sources ----------------------------------------------------------------------------------------------------

    async def _from_primary(self, height: int) -> LightBlock:
        """From the primary, or from the first witness that answers, which then takes its place."""
        for _ in range(1 + len(self._witnesses)):
            try:
                return await self._primary.light_block(height)
            except BadSourceError as error:
                self._replace_primary(error)
            except (NoBlockError, UnavailableError) as error:
                last = error
                if not self._witnesses:
                    raise
                self._rotate_primary(error)
        raise last

    def _rotate_primary(self, reason: NoBlockError | UnavailableError) -> None:
        """The primary becomes the last witness."""
        if not self._witnesses:
            raise reason
        _log.info("another primary", old=self.primary, new=self._witnesses[0].url, reason=reason.message)
        self._witnesses.append(self._primary)
        self._primary = self._witnesses.pop(0)

    def _replace_primary(self, reason: BadSourceError | LightError) -> None:
        """The primary sent something that cannot be right: it is not asked again."""
        if len(self._witnesses) < (1 if self._options.alone else 2):
            raise reason
        _log.warning("primary dropped", old=self.primary, new=self._witnesses[0].url, reason=reason.message)
        self._primary = self._witnesses.pop(0)

    def _drop(self, witness: Source, reason: LightError | BadSourceError) -> None:
        _log.warning("witness dropped", witness=witness.url, reason=reason.message)
        self._witnesses.remove(witness)

    # --- witnesses --------------------------------------------------------------------------------------------------

    async def _compare(self, trace: Trace, freshness: Freshness) -> None:
        """Every witness has the target, or says nothing; at least one has it."""
        if self._options.alone and not self._witnesses:
            return
        witnesses = tuple(self._witnesses)
        answers = await asyncio.gather(*(self._ask(witness, trace[-1]) for witness in witnesses))
        agreed = 0
        for witness, answer in zip(witnesses, answers, strict=True):
            if isinstance(answer, BadSourceError):
                self._drop(witness, answer)
            elif answer is None:
                continue
            elif answer.hash == trace[-1].hash:
                agreed += 1
            else:
                await self._examine(witness, answer, trace, freshness)
        if not agreed:
            raise UnavailableError(
                "light.unwitnessed",
                f"no witness has the block of height {trace[-1].height}",
                hint="name other witnesses, or wait until they have caught up",
            )

    async def _ask(self, witness: Source, target: LightBlock) -> LightBlock | BadSourceError | None:
        """The witness's block of the target's height; one that conflicts with it by its time; or None."""
        deadline = asyncio.get_running_loop().time() + 2 * self._options.clock_drift_s + self._options.block_lag_s
        while True:
            try:
                try:
                    return await witness.light_block(target.height)
                except NoBlockError:
                    latest = await witness.light_block(0)
                if latest.height < target.height and latest.time >= target.time:
                    return latest
                if latest.height >= target.height:
                    return await witness.light_block(target.height)
            except (NoBlockError, UnavailableError) as error:
                _log.info("a witness says nothing", witness=witness.url, reason=error.message)
                return None
            except BadSourceError as error:
                return error
            if asyncio.get_running_loop().time() >= deadline:
                return None
            await asyncio.sleep(_LAG_POLL_S)

    async def _examine(self, witness: Source, challenge: LightBlock, trace: Trace, freshness: Freshness) -> None:
        """A witness contradicts: it is dropped, or there is an attack, and everything stops."""
        try:
            challenge.check(self.chain_id)
            level = self._options.trust_level
            found = await drive(examine(trace, challenge, freshness, level), witness.light_block)
        except (LightError, BadSourceError, NoBlockError, UnavailableError) as error:
            if isinstance(error, ExpiredError):
                raise
            self._drop(
                witness, InvalidHeaderError("light.witness", f"it contradicts, and cannot show why: {error.message}")
            )
            return
        documents = [await self._accuse(self.primary, witness, found)]
        try:
            back = await drive(examine(found.trace, found.block, freshness, level), self._primary.light_block)
        except (LightError, BadSourceError, NoBlockError, UnavailableError) as error:
            _log.warning("the primary cannot show its history", primary=self.primary, reason=error.message)
        else:
            documents.append(await self._accuse(witness.url, self._primary, back))
        self._store.save_attack({"chain_id": self.chain_id, "found": documents})
        raise AttackError(
            f"{self.primary} and {witness.url} have different signed histories from height {found.common.height} on"
        )

    async def _accuse(self, accused: str, judge: Source, found: Divergence) -> dict[str, Any]:
        """Make evidence against one side and hand it to the other, which counts as right for it."""
        evidence = make_evidence(found.block, found.source_block, found.common)
        attack = attack_of(found.block, found.source_block)
        _log.error("attack", kind=attack.value, accused=accused, reported_to=judge.url, height=found.block.height)
        reported = await _report(judge, evidence)
        return {"accused": accused, "kind": attack.value, "reported_to": judge.url, "reported": reported} | {
            "evidence": evidence.to_json(),
            "encoded": evidence.encode_evidence().hex(),
        }

    def _check_no_attack(self) -> None:
        if self._store.attack():
            raise AttackError("an attack on this chain was found before; its evidence is kept in attack.json")


async def _report(judge: Source, evidence: LightClientAttackEvidence) -> bool:
    try:
        await judge.report(evidence)
    except (BadSourceError, UnavailableError, NoBlockError) as error:
        _log.error("evidence was not taken", reported_to=judge.url, reason=error.message)
        return False
    return True
