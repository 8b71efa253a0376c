"""Handlers of `staking`: bonds on a public chain. On other chains every message is refused with `staking.kind`.

What is bonded or unbonding is held here: taken from a balance (`assets`), counted in a Stake, and given back or destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from althing.ledger.modules.staking.election import Candidate, elect, power_of
from althing.ledger.modules.staking.needs import Accounts, Members, Units
from althing.ledger.modules.staking.state import (
    AGENDA,
    CHAIN,
    HOLDERS,
    PARAMETERS,
    STAKES,
    UNBONDINGS,
    Holder,
    StakedChain,
    StakingAgenda,
    own_unbonding,
)
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.module import Handler, Migration
from althing.protocol.address import format_address
from althing.protocol.block import validator_address
from althing.protocol.hashing import sha256
from althing.protocol.limits import INT_MAX
from althing.protocol.messages.governance import Genesis, GenesisOrganisation, Quota
from althing.protocol.messages.identity import Role
from althing.protocol.messages.staking import (
    PPM,
    UNBONDINGS_MAX,
    Bond,
    Join,
    PublicChain,
    SetStaking,
    SetValidatorKey,
    Stake,
    StakingParameters,
    Unbond,
    Unbonding,
    Unjail,
)

__all__ = ["StakingModule"]

_RELEASES_MAX: Final = 50  # in one block: its work is bounded whatever was unbonded together
_IDLE: Final = StakingAgenda(stale=False, due=0, height=0, next=0)


class StakingModule:
    """Bonds and the validators that follow from them."""

    name: Final = "staking"
    version: Final = 1

    def __init__(self, accounts: Accounts, members: Members, units: Units) -> None:
        self._accounts = accounts
        self._members = members
        self._units = units
        self.handlers: Mapping[type, Handler] = {
            Join: self._join,
            Bond: self._bond,
            Unbond: self._unbond,
            SetValidatorKey: self._set_key,
            Unjail: self._unjail,
        }
        self.decisions: Mapping[type, Handler] = {SetStaking: self._set_parameters}
        # Governors sign or vote on these, as on their own; `governance` runs them.
        self.migrations: Mapping[int, Migration] = {}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        public = genesis.kind
        if not isinstance(public, PublicChain):
            return
        chain = StakedChain(public.symbol, public.evidence_age_s, public.evidence_age_blocks)
        ctx.put(CHAIN, b"", chain)
        _check(chain, public.parameters)
        ctx.put(PARAMETERS, b"", public.parameters)
        supply = sum(one.balance + one.bond for one in public.allocations)
        if not 1 <= supply <= INT_MAX:
            raise ModuleError("staking.genesis", "all amounts together are from 1 to 2⁶³ − 1")
        self._units.found(ctx, symbol=public.symbol, title=public.title, decimals=public.decimals, supply=supply)
        founders = {founder.name: founder.address for founder in genesis.organisations}
        keys = {validator.organisation: validator for validator in genesis.validators}
        if len(keys) != len(genesis.validators):
            raise ModuleError("staking.genesis", "an organisation has one validator on a public chain")
        if len(keys) > public.parameters.validators_max:
            raise ModuleError("staking.genesis", "genesis names more validators than validators_max")
        named = [one.organisation for one in public.allocations]
        if len(set(named)) != len(named) or not set(named) <= founders.keys() or not keys.keys() <= set(named):
            raise ModuleError(
                "staking.genesis", "allocations name founding organisations, each once, and all that validate"
            )
        for one in public.allocations:
            address, validator = founders[one.organisation], keys.get(one.organisation)
            if one.balance:
                self._units.hand_out(ctx, public.symbol, address, one.balance)
            if validator is not None and (
                one.bond < public.parameters.bond_min
                or validator.power != power_of(one.bond, public.parameters.power_unit)
            ):
                raise ModuleError(
                    "staking.genesis", f"the power of {one.organisation}'s validator is not that of its bond"
                )
            if one.bond:
                key = None if validator is None else validator.public
                stake = Stake(1, address, False, one.bond, 0, 0, key, 0, None)
                ctx.put(STAKES, address, stake)
                if key is not None:
                    ctx.put(HOLDERS, key, Holder(address))
        ctx.put(AGENDA, b"", _IDLE)

    # --- offered to `governance` ----------------------------------------------------------------------------------

    def bonded(self, ctx: Context, organisation: bytes) -> bool:
        stake = ctx.get(STAKES, organisation)
        return stake is not None

    def convicted(self, ctx: Context, organisation: bytes, public: bytes, height: int) -> None:
        """Slash what was bonded when the offence was done, also what has begun to unbond since, and jail."""
        stake = ctx.get(STAKES, organisation)
        if stake is None:
            return
        rules = self._rules(ctx)
        lost = stake.bond * rules.slash_ppm // PPM
        released = 0
        if stake.unbonding:
            for own, entry in list(ctx.scan(UNBONDINGS)):
                if entry.organisation == organisation and entry.height >= height:
                    part = entry.amount * rules.slash_ppm // PPM
                    ctx.put(UNBONDINGS, own, replace(entry, amount=entry.amount - part))
                    released += part
        if lost + released:
            self._units.destroy(ctx, self._chain(ctx).unit, lost + released)
        jailed = ctx.block.time_s + rules.jail_s
        ctx.put(
            STAKES,
            organisation,
            replace(stake, bond=stake.bond - lost, unbonding=stake.unbonding - released, jailed_until=jailed),
        )
        self._stale(ctx)
        ctx.emit("staking.slashed", organisation, public, lost + released, jailed)

    # --- the end of a block ---------------------------------------------------------------------------------------

    def close(self, ctx: Context, proposer: bytes) -> None:
        """1. Release what is due. 2. Elect validators anew where bonds have changed. 3. Share out the fees."""
        agenda = AGENDA.get(ctx.state, b"")
        if agenda is None:
            return  # not a public chain
        after = agenda
        if agenda.due and self._ready(ctx, self._chain(ctx), agenda.due, agenda.height):
            after = self._release(ctx, agenda)
        if after.stale:
            after = replace(after, stale=self._elect(ctx))
        if after != agenda:
            ctx.put(AGENDA, b"", after)
        self._share(ctx, proposer)

    def _ready(self, ctx: Context, chain: StakedChain, due: int, height: int) -> bool:
        # The engine takes evidence until it is too old by blocks and by time.
        return due <= ctx.block.time_s and ctx.block.height > height + chain.evidence_age_blocks

    def _release(self, ctx: Context, agenda: StakingAgenda) -> StakingAgenda:
        chain, members = self._chain(ctx), self._members.validators(ctx)
        unit = self._rules(ctx).power_unit
        for own, entry in list(ctx.scan(UNBONDINGS))[:_RELEASES_MAX]:
            if not self._ready(ctx, chain, int.from_bytes(own[:8], "big"), entry.height):
                break
            stake = ctx.get(STAKES, entry.organisation)
            assert stake is not None, "what unbonds is counted in a stake"
            present = None if stake.validator is None else members.get(stake.validator)
            ctx.delete(UNBONDINGS, own)
            if present is not None and present.power > power_of(stake.bond, unit):
                # It still validates with the power of what it takes away: that must stay at stake.
                later = own_unbonding(ctx.block.time_s + chain.evidence_age_s, agenda.next)
                agenda = replace(agenda, next=agenda.next + 1)
                ctx.put(UNBONDINGS, later, replace(entry, height=ctx.block.height))
                continue
            if entry.amount:
                self._units.hand_out(ctx, chain.unit, entry.recipient, entry.amount)
            stake = replace(stake, unbonding=stake.unbonding - entry.amount, unbondings=stake.unbondings - 1)
            if stake.bond or stake.unbondings:
                ctx.put(STAKES, entry.organisation, stake)
            else:
                self._forget(ctx, stake)
            ctx.emit("staking.released", entry.organisation, entry.recipient, entry.amount)
        for own, entry in ctx.scan(UNBONDINGS):
            return replace(agenda, due=int.from_bytes(own[:8], "big"), height=entry.height)
        return replace(agenda, due=0, height=0)

    def _elect(self, ctx: Context) -> bool:
        """Change validators as their bonds ask for; True when more is left for later blocks."""
        rules = self._rules(ctx)
        changes, more = elect(
            self._members.validators(ctx),
            self._candidates(ctx, rules),
            fixed=self._members.waiting(ctx),
            seats=rules.validators_max,
            changes_max=rules.changes_max,
            leaves_max=self._members.departures_left(ctx),
        )
        if changes:
            self._members.change_validators(ctx, changes)
        return more

    def _candidates(self, ctx: Context, rules: StakingParameters) -> list[Candidate]:
        found = []
        for organisation, stake in ctx.scan(STAKES):
            power = power_of(stake.bond, rules.power_unit)
            if (
                stake.validator is not None
                and stake.jailed_until is None
                and stake.bond >= rules.bond_min
                and power >= 1
                and not self._members.unfit(ctx, stake.validator)
            ):
                found.append(Candidate(stake.validator, organisation, stake.bond, power))
        return found

    def _share(self, ctx: Context, proposer: bytes) -> None:
        fees = self._units.collect(ctx)
        if not fees:
            return
        unit = self._chain(ctx).unit
        earned = fees - fees * self._rules(ctx).fee_burn_ppm // PPM
        account = self._earner(ctx, proposer)
        if account is None:
            earned = 0
        if earned and account is not None:
            self._units.hand_out(ctx, unit, account, earned)
        if fees - earned:
            self._units.destroy(ctx, unit, fees - earned)

    def _earner(self, ctx: Context, proposer: bytes) -> bytes | None:
        # A proposer that has left the set since, or its organisation the chain, earns nothing: it is burned.
        for public, member in self._members.validators(ctx).items():
            if validator_address(public) == proposer:
                organisation = member.organisation
                return organisation if self._members.organisation(ctx.state, organisation) is not None else None
        return None

    # --- handlers -------------------------------------------------------------------------------------------------

    def _join(self, ctx: Context, message: Join) -> None:
        chain, rules = self._chain(ctx), self._rules(ctx)
        if message.sponsor not in ctx.signers:
            raise ModuleError("auth.account", "only the account itself gives away what it has")
        if message.amount < rules.bond_min:
            raise ModuleError("staking.bond_min", f"who joins bonds at least {rules.bond_min} of {chain.unit}")
        quota = Quota(rules.quota_bytes, rules.quota_gas)
        founder = GenesisOrganisation(message.name, False, message.threshold, message.keys, quota)
        self._units.hold(ctx, chain.unit, message.sponsor, message.amount)
        address = self._members.register(ctx, founder, message.sponsor)
        stake = Stake(1, address, True, message.amount, 0, 0, None, 0, None)
        ctx.put(STAKES, address, stake)
        ctx.emit("staking.joined", address, message.name, message.amount)

    def _bond(self, ctx: Context, message: Bond) -> None:
        chain = self._chain(ctx)
        if message.account not in ctx.signers:
            raise ModuleError("auth.account", "only the account itself gives away what it has")
        stake = ctx.get(STAKES, message.organisation)
        if self._members.organisation(ctx.state, message.organisation) is None:
            raise ModuleError(
                "staking.unknown", "the organisation is not a member", hint="join: althing validator join"
            )
        if stake is None:
            stake = Stake(1, message.organisation, False, 0, 0, 0, None, 0, None)
        self._units.hold(ctx, chain.unit, message.account, message.amount)
        ctx.put(STAKES, message.organisation, replace(stake, bond=stake.bond + message.amount))
        self._stale(ctx)
        ctx.emit("staking.bonded", message.organisation, message.account, message.amount)

    def _unbond(self, ctx: Context, message: Unbond) -> None:
        rules = self._rules(ctx)
        if message.organisation not in ctx.signers:
            raise ModuleError("auth.account", "only the organisation's own account takes from its bond")
        stake = self._stake(ctx, message.organisation)
        left = stake.bond - message.amount
        if left < 0:
            raise ModuleError("staking.bond", "the organisation has bonded less")
        if 0 < left < rules.bond_min:
            raise ModuleError(
                "staking.bond_min", f"a bond is at least {rules.bond_min}", hint="leave as much, or take all of it"
            )
        if stake.unbondings >= UNBONDINGS_MAX:
            raise ModuleError("staking.unbondings", f"at most {UNBONDINGS_MAX} parts unbond at a time", hint="wait")
        recipient = self._accounts.account(ctx.state, message.recipient)
        if recipient is None:
            raise ModuleError("staking.recipient", f"there is no account {format_address(message.recipient)}")
        leaves = stake.joined and not left
        if leaves and recipient.organisation == message.organisation:
            raise ModuleError(
                "staking.recipient",
                "the organisation leaves with its last bond: its own accounts could not use what they get",
                hint="name an account of another organisation",
            )
        due = ctx.block.time_s + rules.unbonding_s
        agenda = ctx.get(AGENDA, b"") or _IDLE
        entry = Unbonding(message.organisation, message.recipient, message.amount, ctx.block.height)
        ctx.put(UNBONDINGS, own_unbonding(due, agenda.next), entry)
        if not agenda.due or due < agenda.due:
            agenda = replace(agenda, due=due, height=ctx.block.height)
        ctx.put(AGENDA, b"", replace(agenda, stale=True, next=agenda.next + 1))
        parts = stake.unbondings + 1
        stake = replace(stake, bond=left, unbonding=stake.unbonding + message.amount, unbondings=parts)
        ctx.put(STAKES, message.organisation, stake)
        if not self._candidates(ctx, rules):
            raise ModuleError("staking.last_validator", "nobody with a bond would be left to validate")
        ctx.emit("staking.unbonding", message.organisation, message.recipient, message.amount, due)
        if leaves:
            self._members.resign(ctx, message.organisation)
            ctx.emit("staking.left", message.organisation)

    def _set_key(self, ctx: Context, message: SetValidatorKey) -> None:
        rules = self._rules(ctx)
        self._accounts.require(ctx, message.organisation, Role.ADMIN)
        stake = self._stake(ctx, message.organisation)
        before, after = stake.validator, message.validator
        if after is not None:
            self._members.check_validator(ctx, after)
            members = self._members.validators(ctx)
            if after in members or ctx.get(HOLDERS, after) is not None:
                raise ModuleError("staking.key", "the key is a validator's already", hint="make a new key")
            unfit = before is not None and self._members.unfit(ctx, before)
            # Old keys are kept while evidence may come, and there is room for so many only.
            if stake.key_since and not unfit and ctx.block.time_s < stake.key_since + rules.unbonding_s:
                raise ModuleError("staking.key", "a key is named once in an unbonding period", hint="wait")
            if before is not None and before in members and not unfit:
                self._members.replace_key(ctx, before, after)
            ctx.put(HOLDERS, after, Holder(message.organisation))
            stake = replace(stake, key_since=ctx.block.time_s)
        if before is not None:
            ctx.delete(HOLDERS, before)
        ctx.put(STAKES, message.organisation, replace(stake, validator=after))
        if after is None and not self._candidates(ctx, rules):
            raise ModuleError("staking.last_validator", "nobody with a bond would be left to validate")
        self._stale(ctx)
        ctx.emit("staking.key", message.organisation, after)

    def _unjail(self, ctx: Context, message: Unjail) -> None:
        rules = self._rules(ctx)
        self._accounts.require(ctx, message.organisation, Role.ADMIN)
        stake = self._stake(ctx, message.organisation)
        if stake.jailed_until is None:
            raise ModuleError("staking.jailed", "the organisation is not in jail")
        if ctx.block.time_s < stake.jailed_until:
            raise ModuleError("staking.jailed", f"it stays in jail until {stake.jailed_until}")
        members = self._members.validators(ctx).values()
        if stake.validator is None or any(one.organisation == message.organisation for one in members):
            # Evidence has suspended its validator, unless that would have halted the chain: then governors decide.
            raise ModuleError("staking.key", "its convicted key still validates, or it has no new one")
        self._members.check_validator(ctx, stake.validator)
        if stake.bond < rules.bond_min:
            raise ModuleError("staking.bond_min", f"a bond is at least {rules.bond_min}", hint="bond more")
        ctx.put(STAKES, message.organisation, replace(stake, jailed_until=None))
        self._stale(ctx)
        ctx.emit("staking.unjailed", message.organisation)

    def _set_parameters(self, ctx: Context, message: SetStaking) -> None:
        chain = self._chain(ctx)
        if sha256(self._rules(ctx).to_bytes()) != message.replaces:
            raise ModuleError("staking.crossed", "the parameters have changed since", hint="read them again")
        _check(chain, message.parameters)
        ctx.put(PARAMETERS, b"", message.parameters)
        if not self._candidates(ctx, message.parameters):
            raise ModuleError("staking.last_validator", "nobody's bond would be enough to validate")
        self._stale(ctx)
        ctx.emit("staking.parameters")

    # --- records --------------------------------------------------------------------------------------------------

    def _chain(self, ctx: Context) -> StakedChain:
        chain = ctx.get(CHAIN, b"")
        if chain is None:
            raise ModuleError("staking.kind", "nobody bonds on this chain: it is not a public one")
        return chain

    def _rules(self, ctx: Context) -> StakingParameters:
        self._chain(ctx)
        found = ctx.get(PARAMETERS, b"")
        assert found is not None, "genesis of a public chain writes them"
        return found

    def _stake(self, ctx: Context, organisation: bytes) -> Stake:
        stake = ctx.get(STAKES, organisation)
        if stake is None:
            raise ModuleError("staking.unknown", "the organisation has bonded nothing", hint="althing validator bond")
        return stake

    def _stale(self, ctx: Context) -> None:
        agenda = ctx.get(AGENDA, b"") or _IDLE
        if not agenda.stale:
            ctx.put(AGENDA, b"", replace(agenda, stale=True))

    def _forget(self, ctx: Context, stake: Stake) -> None:
        if stake.validator is not None:
            ctx.delete(HOLDERS, stake.validator)
        ctx.delete(STAKES, stake.organisation)


def _check(chain: StakedChain, rules: StakingParameters) -> None:
    """A bond outlasts all evidence against it, and evidence all that light clients rely on."""
    if not rules.unbonding_s >= chain.evidence_age_s >= rules.trusting_period_s:
        raise ModuleError(
            "staking.periods",
            f"unbonding_s ≥ {chain.evidence_age_s} (evidence_age_s) ≥ trusting_period_s must hold",
            hint="lengthen unbonding_s, or shorten trusting_period_s",
        )
