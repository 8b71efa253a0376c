"""The one guard through which every change of validators passes: decisions, key rotation, expulsion, evidence.

An engine stops all nodes of a chain when it is told to remove an unknown or the last validator, one twice, or more power
than its arithmetic holds. `VALIDATORS` mirrors the set as the engine will have it two heights on, and a change is judged
against that mirror, so no sequence of messages and evidence makes an update the engine cannot take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from althing.ledger.modules.governance.state import (
    CONDUCT,
    DEPARTED,
    DEPARTURES,
    DEPARTURES_MAX,
    OFFENCES,
    VALIDATORS,
    Conduct,
    Departed,
    Departure,
    Departures,
    Offence,
)
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.misconduct import Misconduct
from althing.protocol.block import TOTAL_POWER_MAX, ConsensusParams, validator_address
from althing.protocol.messages.governance import VALIDATORS_MAX, Validator

__all__ = ["ValidatorGuard"]

# The engine's own bounds of evidence, twice: a key that left may sign one height more, whose time may be much later.
_KEPT_BLOCKS: Final = 2 * ConsensusParams().evidence_age_blocks_max
_KEPT_S: Final = 2 * ConsensusParams().evidence_age_ns_max // 1_000_000_000
_SHARE_FROM: Final = 4  # fewer validators cannot all stay below a third

_NOBODY: Final = Conduct(0, ())


class ValidatorGuard:
    """Judges and writes changes of validators.

    `check_key` refuses what is no good Ed25519 key; `convicted` is told of organisation, key and height of an offence.
    """

    def __init__(
        self, check_key: Callable[[Context, bytes], None], convicted: Callable[[Context, bytes, bytes, int], None]
    ) -> None:
        self._check_key = check_key
        self._convicted = convicted

    # --- decisions ------------------------------------------------------------------------------------------------

    def found(self, ctx: Context, validators: Sequence[Validator]) -> None:
        """The validators of genesis."""
        for validator in validators:
            self._check_key(ctx, validator.public)
            if VALIDATORS.get(ctx.state, validator.public) is not None:
                raise ModuleError("governance.validator", "genesis names a validator twice")
            ctx.put(VALIDATORS, validator.public, validator)

    def set(self, ctx: Context, wanted: Validator) -> None:
        """Add a validator, change its power or organisation, or remove it (power 0). Its key has been checked."""
        members = dict(ctx.scan(VALIDATORS))
        present = members.get(wanted.public)
        if wanted.power == 0:
            if present is None:
                raise ModuleError("governance.validator", "there is no such validator to remove")
            del members[wanted.public]
            self._require_some(members)
            self._leave(ctx, present, None)
        else:
            self.require_unconvicted(ctx, wanted.public)
            if present is None and len(members) >= VALIDATORS_MAX:
                raise ModuleError("governance.validators", f"there are at most {VALIDATORS_MAX} validators")
            members[wanted.public] = wanted
            if present is None or wanted.power > present.power:
                _require_share(members, wanted)
            self._enter(ctx, wanted)
        ctx.emit("governance.validator", wanted.public, wanted.power)
        self._settle(ctx)

    def rotate(self, ctx: Context, public: bytes, successor: bytes, *, decided: bool = True) -> None:
        """Put a new key in the place of another; `decided` by governors, or else by who runs the validator."""
        present = ctx.get(VALIDATORS, public)
        if present is None:
            raise ModuleError("governance.validator", "there is no such validator")
        if ctx.get(VALIDATORS, successor) is not None:
            raise ModuleError("governance.validator", "the new key is a validator's already")
        self._check_key(ctx, successor)
        for key in (public, successor):
            self.require_unconvicted(ctx, key)
        self._enter(ctx, replace(present, public=successor))
        self._leave(ctx, present, successor)
        ctx.emit("governance.validator", public, 0)
        ctx.emit("governance.validator", successor, present.power)
        if decided:
            self._settle(ctx)

    def change(self, ctx: Context, changes: Sequence[Validator]) -> None:
        """Add, change and remove (power 0) several validators by their bonds; judged by the set that results.

        No decision of governors: what evidence may take is not counted anew.
        """
        before = dict(ctx.scan(VALIDATORS))
        members = dict(before)
        for wanted in changes:
            if wanted.power:
                self.require_unconvicted(ctx, wanted.public)
                members[wanted.public] = wanted
            elif members.pop(wanted.public, None) is None:
                raise ModuleError("governance.validator", "there is no such validator to remove")
        self._require_some(members)
        if len(members) > VALIDATORS_MAX:
            raise ModuleError("governance.validators", f"there are at most {VALIDATORS_MAX} validators")
        for wanted in changes:
            present = before.get(wanted.public)
            if wanted.power and (present is None or wanted.power > present.power):
                _require_share(members, wanted)
        for wanted in changes:
            if wanted.power:
                self._enter(ctx, wanted)
            else:
                self._leave(ctx, before[wanted.public], None)
            ctx.emit("governance.validator", wanted.public, wanted.power)

    def members(self, ctx: Context) -> dict[bytes, Validator]:
        """The set as the engine will have it two heights on, by public key."""
        return dict(ctx.scan(VALIDATORS))

    def deferred(self, ctx: Context) -> frozenset[bytes]:
        """Convicted keys that stay validators until governors decide."""
        return frozenset((ctx.get(CONDUCT, b"") or _NOBODY).deferred)

    def departures_left(self, ctx: Context) -> int:
        """How many keys may leave by decision now."""
        kept = sum(not _forgotten(one, ctx) for one in self._left(ctx))
        return max(0, DEPARTURES_MAX - kept)

    def remove_of(self, ctx: Context, organisation: bytes) -> None:
        """Remove all validators of an organisation that leaves."""
        members = dict(ctx.scan(VALIDATORS))
        leaving = [member for member in members.values() if member.organisation == organisation]
        if not leaving:
            return
        for member in leaving:
            del members[member.public]
        self._require_some(members)
        for member in leaving:
            self._leave(ctx, member, None)
            ctx.emit("governance.validator", member.public, 0)
        self._settle(ctx)

    # --- evidence -------------------------------------------------------------------------------------------------

    def judge(self, ctx: Context, found: Sequence[Misconduct]) -> None:
        """Suspend the validators that evidence convicts, whatever their keys are by now; see `_suspend`."""
        for one in found:
            self._judge(ctx, one)

    def _judge(self, ctx: Context, found: Misconduct) -> None:
        members = {validator_address(public): member for public, member in VALIDATORS.scan(ctx.state)}
        if OFFENCES.get(ctx.state, found.address) is not None:
            return  # convicted before
        now = members.get(found.address)
        if now is not None:
            public, organisation = now.public, now.organisation
        else:
            departed = DEPARTED.get(ctx.state, found.address)
            if departed is None:
                ctx.emit("governance.alarm", found.address, "unknown")
                return
            public, organisation = departed.public, departed.organisation
            now = self._successor(ctx, departed)
        offence = Offence(public, organisation, found.kind, found.height, ctx.block.height)
        ctx.put(OFFENCES, found.address, offence)
        ctx.emit("governance.offence", public, organisation, found.kind, found.height)
        self._convicted(ctx, organisation, public, found.height)
        if now is None:
            return  # it left before
        if now.public != public:
            # Who rotated a key after misusing it keeps neither.
            ctx.put(OFFENCES, validator_address(now.public), replace(offence, public=now.public))
        conduct = CONDUCT.get(ctx.state, b"") or _NOBODY
        if now.public in conduct.deferred:
            return
        suspended = self._suspend(ctx, now, conduct)
        if suspended is None:
            ctx.put(CONDUCT, b"", replace(conduct, deferred=(*conduct.deferred, now.public)))
            ctx.emit("governance.alarm", validator_address(now.public), "deferred")
        else:
            ctx.put(CONDUCT, b"", suspended)

    def _successor(self, ctx: Context, departed: Departed) -> Validator | None:
        # Each key left after the one before it took over, so this ends.
        while departed.successor is not None:
            present = VALIDATORS.get(ctx.state, departed.successor)
            if present is not None:
                return present
            following = DEPARTED.get(ctx.state, validator_address(departed.successor))
            if following is None:
                return None
            departed = following
        return None

    def _suspend(self, ctx: Context, culprit: Validator, conduct: Conduct) -> Conduct | None:
        """Remove a convicted validator, or None where that must wait for the governors.

        Evidence alone takes at most a third of the power since they last decided on validators, and never the last
        one: if more misbehave, removing them would hand the chain to a minority, or end it.
        """
        members = dict(VALIDATORS.scan(ctx.state))
        gone = conduct.suspended_power + culprit.power
        if len(members) == 1 or 3 * gone > _total(members) + conduct.suspended_power:
            return None
        self._leave(ctx, culprit, None, decided=False)
        ctx.emit("governance.validator", culprit.public, 0)
        ctx.emit("governance.validator_suspended", culprit.public, culprit.organisation, culprit.power)
        return replace(conduct, suspended_power=gone)

    def _settle(self, ctx: Context) -> None:
        """Governors have decided: what evidence may take is counted anew, and suspensions that waited are tried again."""
        present = ctx.get(CONDUCT, b"")
        if present is None:
            return
        conduct = _NOBODY
        for public in present.deferred:
            culprit = ctx.get(VALIDATORS, public)
            if culprit is not None:
                suspended = self._suspend(ctx, culprit, conduct)
                conduct = replace(conduct, deferred=(*conduct.deferred, public)) if suspended is None else suspended
        if conduct == _NOBODY:
            ctx.delete(CONDUCT, b"")
        else:
            ctx.put(CONDUCT, b"", conduct)

    # --- the mirror -----------------------------------------------------------------------------------------------

    def barred(self, ctx: Context, public: bytes) -> bool:
        """True for a key that evidence convicts."""
        return ctx.get(OFFENCES, validator_address(public)) is not None

    def require_unconvicted(self, ctx: Context, public: bytes) -> None:
        if self.barred(ctx, public):
            raise ModuleError("governance.validator_barred", "evidence convicts this key", hint="make a new key")

    def _require_some(self, members: dict[bytes, Validator]) -> None:
        if not members:
            raise ModuleError("governance.last_validator", "the last validator cannot be removed")

    def _enter(self, ctx: Context, member: Validator) -> None:
        address = validator_address(member.public)
        if ctx.get(DEPARTED, address) is not None:
            ctx.delete(DEPARTED, address)
            self._departures(ctx, [one for one in self._left(ctx) if one.validator != address])
        ctx.put(VALIDATORS, member.public, member)

    def _leave(self, ctx: Context, member: Validator, successor: bytes | None, *, decided: bool = True) -> None:
        address = validator_address(member.public)
        left = self._left(ctx)
        while left and _forgotten(left[0], ctx):
            ctx.delete(DEPARTED, left.pop(0).validator)
        if len(left) >= DEPARTURES_MAX + VALIDATORS_MAX and not decided:
            ctx.delete(DEPARTED, left.pop(0).validator)  # evidence cannot be refused, so the oldest is given up
        elif decided and len(left) >= DEPARTURES_MAX:
            raise ModuleError(
                "governance.departures", f"{DEPARTURES_MAX} validators' keys have left within the age of evidence"
            )
        self._departures(ctx, [*left, Departure(address, ctx.block.height, ctx.block.time_s)])
        ctx.put(DEPARTED, address, Departed(member.public, member.organisation, successor))
        ctx.delete(VALIDATORS, member.public)

    def _left(self, ctx: Context) -> list[Departure]:
        found = ctx.get(DEPARTURES, b"")
        return [] if found is None else list(found.left)

    def _departures(self, ctx: Context, left: list[Departure]) -> None:
        ctx.put(DEPARTURES, b"", Departures(tuple(left)))


def _total(members: dict[bytes, Validator]) -> int:
    return sum(member.power for member in members.values())


def _require_share(members: dict[bytes, Validator], raised: Validator) -> None:
    total = _total(members)
    assert total <= TOTAL_POWER_MAX, "100 validators of 2⁴⁰ stay far below the engine's bound"
    # One that holds a third can stop the chain by itself, which four or more are there to prevent.
    if len(members) >= _SHARE_FROM and 3 * raised.power >= total:
        raise ModuleError(
            "governance.validator_power",
            "of four validators or more, none is raised to a third of the power",
            hint="raise the others first, or in smaller steps",
        )


def _forgotten(departure: Departure, ctx: Context) -> bool:
    aged = ctx.block.height - departure.height > _KEPT_BLOCKS
    return aged and ctx.block.time_s - departure.time > _KEPT_S
