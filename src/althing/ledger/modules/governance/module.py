"""Handlers of `governance`, and what it offers to other modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from althing.ledger.modules.governance.needs import Accounts, Bonds
from althing.ledger.modules.governance.proposals import Proposals
from althing.ledger.modules.governance.state import (
    BARRED,
    CHAIN,
    KIND,
    NAMES,
    ORGANISATIONS,
    PARAMETERS,
    UPGRADE,
    VERSIONS,
    Barred,
    Chain,
    Kind,
    Owner,
)
from althing.ledger.modules.governance.validators import ValidatorGuard
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.fees import Fees
from althing.ledger.runtime.misconduct import Misconduct
from althing.ledger.runtime.module import Handler, Migration
from althing.ledger.runtime.overlay import State
from althing.protocol.hashing import sha256
from althing.protocol.limits import TX_SIGNATURES_MAX, TX_SIGNERS_MAX
from althing.protocol.messages.governance import (
    ORGANISATIONS_MAX,
    AdmitNode,
    AdmitOrganisation,
    AdmitReader,
    ExpelOrganisation,
    Genesis,
    GenesisOrganisation,
    GenesisReader,
    Organisation,
    Parameters,
    PrivateChain,
    Quota,
    RotateValidator,
    ScheduleUpgrade,
    SetNode,
    SetOrganisation,
    SetParameters,
    SetReader,
    SetValidator,
    Upgrade,
    Validator,
)
from althing.protocol.messages.identity import AccountKind, AccountStatus, Key
from althing.protocol.messages.staking import PublicChain
from althing.protocol.signatures import Suite

__all__ = ["GovernanceModule"]

GOVERNORS: Final = bytes(20)  # owner of the addresses of organisations that did not sign their admission
# A decision must remain possible: its transaction, signed by all it needs, and the bundle that carries it.
DECISION: Final = Quota(bytes=16_384, gas=1_000_000)

PRIVATE: Final = "private"
PUBLIC: Final = "public"

UPGRADE_NOTICE_BLOCKS: Final = 2  # validator updates and consensus parameters need two heights to take effect


class GovernanceModule:
    """Decisions of the governors: `governors_threshold` of them sign together, or vote on a proposal."""

    name: Final = "governance"
    version: Final = 1

    def __init__(self) -> None:
        self.accounts: Accounts  # wired by assembly: identity and governance need each other
        self.fees: Fees | None = None  # as bonds, where the rules have them
        self.bonds: Bonds | None = None
        self._decisions: dict[type, Handler] = {
            AdmitOrganisation: self._admit,
            SetOrganisation: self._set_organisation,
            SetParameters: self._set_parameters,
            SetValidator: self._set_validator,
            ScheduleUpgrade: self._schedule_upgrade,
            ExpelOrganisation: self._expel_organisation,
            AdmitNode: self._admit_node,
            SetNode: self._set_node,
            RotateValidator: self._rotate_validator,
            AdmitReader: self._admit_reader,
            SetReader: self._set_reader,
        }
        self._validators = ValidatorGuard(self._check_validator_key, self._convicted)
        self._proposals = Proposals(self._decisions)
        signed = {kind: self._signed(handler) for kind, handler in self._decisions.items()}
        self.handlers: Mapping[type, Handler] = {**signed, **self._proposals.handlers}
        self.migrations: Mapping[int, Migration] = {}

    def decide_also(self, decisions: Mapping[type, Handler]) -> None:
        """Messages of another module that governors decide on; wired by assembly."""
        self._decisions.update(decisions)
        self._proposals = Proposals(self._decisions)
        signed = {kind: self._signed(handler) for kind, handler in decisions.items()}
        self.handlers = {**self.handlers, **signed, **self._proposals.handlers}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        ctx.put(CHAIN, b"", Chain(genesis.chain_id, ctx.block.genesis_hash, genesis.initial_height))
        ctx.put(PARAMETERS, b"", genesis.parameters)
        self._found_kind(ctx, genesis)
        for founder in genesis.organisations:
            self._add(ctx, founder, founder.address)
        founders = []
        for validator in genesis.validators:
            owner = NAMES.get(ctx.state, validator.organisation.encode("ascii"))
            if owner is None:
                raise ModuleError("governance.validator", "a genesis validator names an unknown organisation")
            founders.append(Validator(validator.public, validator.power, owner.organisation))
        self._validators.found(ctx, founders)
        for node in genesis.nodes:
            owner = NAMES.get(ctx.state, node.organisation.encode("ascii"))
            if owner is None:
                raise ModuleError("governance.node", "a genesis node names an unknown organisation")
            self.accounts.create(
                ctx,
                address=node.key.address,
                kind=AccountKind.NODE,
                organisation=owner.organisation,
                name=node.name,
                roles=(),
                threshold=1,
                keys=(node.key,),
            )
        if isinstance(genesis.kind, PrivateChain):
            for reader in genesis.kind.readers:
                self._list(ctx, reader, reader.key.address)
        self.require_operable(ctx)

    def _found_kind(self, ctx: Context, genesis: Genesis) -> None:
        match genesis.kind:
            case PublicChain():
                ctx.put(KIND, b"", Kind(PUBLIC))  # `staking` writes the rest, and the unit of fees
                return
            case PrivateChain():
                ctx.put(KIND, b"", Kind(PRIVATE))
                if len(genesis.organisations) != 1:
                    raise ModuleError("governance.kind", "one organisation founds a private chain, and writes it")
        self._check_fees(ctx, genesis.parameters)

    # --- offered to other modules and to admission ---------------------------------------------------------------

    def active(self, state: State, organisation: bytes) -> bool:
        found = ORGANISATIONS.get(state, organisation)
        return found is not None and not found.suspended

    def parameters(self, state: State) -> Parameters:
        found = PARAMETERS.get(state, b"")
        assert found is not None, "genesis writes the parameters"
        return found

    def organisation(self, state: State, address: bytes) -> Organisation | None:
        return ORGANISATIONS.get(state, address)

    def upgrade(self, state: State) -> Upgrade | None:
        return UPGRADE.get(state, b"")

    def barred(self, ctx: Context, node: bytes) -> bool:
        """True for a node that the governors have suspended."""
        return ctx.get(BARRED, node) is not None

    def judge(self, ctx: Context, found: Sequence[Misconduct]) -> None:
        """Act on a block's evidence."""
        self._validators.judge(ctx, found)

    def require_operable(self, ctx: Context) -> None:
        """Refuse a change that locks the governors out: whatever they decide needs a transaction and a bundle.

        1. As many governors are active as must sign, and a transaction has room for them and for their signatures.
        2. Each active governor could pay for a decision.
        3. Some active organisation has an active node and quota left for a bundle.
        """
        parameters = self.parameters(ctx.state)
        needed = parameters.governors_threshold
        thresholds = []
        bundled = False
        for address, member in ctx.scan(ORGANISATIONS):
            if member.suspended:
                continue
            pays = member.quota.bytes >= DECISION.bytes and member.quota.gas >= DECISION.gas
            if member.governor:
                if not pays:  # 2
                    raise ModuleError(
                        "governance.quota",
                        f"governor {member.name} could not pay for a decision",
                        hint=f"a governor's quota is at least {DECISION.bytes} bytes and {DECISION.gas} gas",
                    )
                account = self.accounts.account(ctx.state, address)
                assert account is not None, "a member has an account"
                thresholds.append(account.threshold)
            bundled = bundled or (pays and self.accounts.active_nodes(ctx, address) > 0)
        if not bundled:  # 3
            raise ModuleError(
                "governance.last_node", "no active node of an active organisation with quota would remain"
            )
        if len(thresholds) < needed:  # 1
            raise ModuleError("governance.threshold", f"{len(thresholds)} governors would remain, {needed} must sign")
        if needed > TX_SIGNERS_MAX or sum(sorted(thresholds)[:needed]) > TX_SIGNATURES_MAX:
            raise ModuleError(
                "governance.threshold",
                f"{needed} governors could not sign one transaction",
                hint=f"it takes {TX_SIGNERS_MAX} signers and {TX_SIGNATURES_MAX} signatures",
            )
        if parameters.tx_bytes_max < DECISION.bytes:
            raise ModuleError("governance.parameters", f"a decision needs tx_bytes_max ≥ {DECISION.bytes}")

    # --- offered to `staking` -------------------------------------------------------------------------------------

    def register(self, ctx: Context, founder: GenesisOrganisation, sponsor: bytes) -> bytes:
        """Make a member of an organisation that nobody needs to admit; its address."""
        address = self.accounts.new_address(ctx, sponsor, founder.keys[0])
        self._require_room(ctx)
        self._add(ctx, founder, address)
        return address

    def resign(self, ctx: Context, organisation: bytes) -> None:
        """End a membership, as expulsion does."""
        self._proposals.drop_of(ctx, organisation)
        ctx.delete(ORGANISATIONS, organisation)
        self.require_operable(ctx)

    def validators(self, ctx: Context) -> dict[bytes, Validator]:
        """The set as the engine will have it two heights on, by public key."""
        return self._validators.members(ctx)

    def waiting(self, ctx: Context) -> frozenset[bytes]:
        """Keys that evidence convicts and that stay validators until governors decide."""
        return self._validators.deferred(ctx)

    def unfit(self, ctx: Context, public: bytes) -> bool:
        """True for a key that evidence convicts."""
        return self._validators.barred(ctx, public)

    def check_validator(self, ctx: Context, public: bytes) -> None:
        """Refuse what cannot become a validator's key."""
        self._check_validator_key(ctx, public)
        self._validators.require_unconvicted(ctx, public)

    def departures_left(self, ctx: Context) -> int:
        """How many validators may leave now."""
        return self._validators.departures_left(ctx)

    def change_validators(self, ctx: Context, changes: Sequence[Validator]) -> None:
        """Change several validators at once, without it being a decision of governors."""
        self._validators.change(ctx, changes)

    def replace_key(self, ctx: Context, public: bytes, successor: bytes) -> None:
        """Put another key in the place of a validator's."""
        self._validators.rotate(ctx, public, successor, decided=False)

    # --- handlers -------------------------------------------------------------------------------------------------

    def _convicted(self, ctx: Context, organisation: bytes, public: bytes, height: int) -> None:
        if self.bonds is not None:
            self.bonds.convicted(ctx, organisation, public, height)

    def _is(self, ctx: Context, kind: str) -> bool:
        found = ctx.get(KIND, b"")
        return found is not None and found.name == kind

    def _signed(self, decision: Handler) -> Handler:
        def decide(ctx: Context, message: object) -> None:
            self._require_governors(ctx)
            decision(ctx, message)

        return decide

    def _check_validator_key(self, ctx: Context, public: bytes) -> None:
        self.accounts.check_keys(ctx, (Key(Suite.ED25519, public),))

    def _require_governors(self, ctx: Context) -> None:
        signing = 0
        for signer in sorted(ctx.signers):
            member = ctx.get(ORGANISATIONS, signer)
            signing += member is not None and member.governor and not member.suspended
        needed = self.parameters(ctx.state).governors_threshold
        if signing < needed:
            raise ModuleError(
                "auth.governors", f"{signing} governors signed, {needed} must", hint="collect more signatures"
            )

    def _check_fees(self, ctx: Context, parameters: Parameters) -> None:
        if parameters.gas_price_min and (self.fees is None or not self.fees.takes(ctx.state)):
            raise ModuleError("governance.fees", "this chain has nothing to pay fees in", hint="gas_price_min is 0")

    def _require_room(self, ctx: Context) -> None:
        if sum(1 for _ in ctx.scan(ORGANISATIONS)) >= ORGANISATIONS_MAX:
            raise ModuleError("governance.organisations", f"there are at most {ORGANISATIONS_MAX} organisations")

    def _add(self, ctx: Context, founder: GenesisOrganisation, address: bytes) -> None:
        own = founder.name.encode("ascii")
        if ctx.get(NAMES, own) is not None:
            raise ModuleError("governance.name_taken", f"there is an organisation {founder.name} already")
        self.accounts.create(
            ctx,
            address=address,
            kind=AccountKind.ORGANISATION,
            organisation=address,
            name=founder.name,
            roles=(),
            threshold=founder.threshold,
            keys=founder.keys,
        )
        ctx.put(NAMES, own, Owner(address))
        ctx.put(ORGANISATIONS, address, Organisation(1, address, founder.name, founder.governor, False, founder.quota))
        ctx.emit("governance.admitted", address, founder.name)

    def _admit(self, ctx: Context, message: AdmitOrganisation) -> None:
        if self._is(ctx, PRIVATE):
            raise ModuleError("governance.kind", "one organisation writes a private chain", hint="list a reader")
        self._require_room(ctx)
        founder = message.organisation
        self._add(ctx, founder, self.accounts.new_address(ctx, GOVERNORS, founder.keys[0]))
        self.require_operable(ctx)

    def _set_organisation(self, ctx: Context, message: SetOrganisation) -> None:
        member = ctx.get(ORGANISATIONS, message.organisation)
        if member is None:
            raise ModuleError("governance.unknown", "there is no such organisation")
        if message.governor is not None:
            member = replace(member, governor=message.governor)
        if message.suspended is not None:
            member = replace(member, suspended=message.suspended)
        if message.quota is not None:
            member = replace(member, quota=message.quota)
        ctx.put(ORGANISATIONS, message.organisation, member)
        self.require_operable(ctx)
        ctx.emit("governance.organisation", message.organisation)

    def _set_parameters(self, ctx: Context, message: SetParameters) -> None:
        if sha256(self.parameters(ctx.state).to_bytes()) != message.replaces:
            raise ModuleError("governance.crossed", "the parameters have changed since", hint="read them again")
        self._check_fees(ctx, message.parameters)
        ctx.put(PARAMETERS, b"", message.parameters)
        self.require_operable(ctx)
        ctx.emit("governance.parameters")

    def _set_validator(self, ctx: Context, message: SetValidator) -> None:
        wanted = message.validator
        if self._is(ctx, PUBLIC) and (wanted.power or not self._validators.barred(ctx, wanted.public)):
            raise ModuleError(
                "governance.kind", "bonds decide on validators here", hint="governors remove those convicted"
            )
        self._check_validator_key(ctx, wanted.public)
        if ctx.get(ORGANISATIONS, wanted.organisation) is None:
            raise ModuleError("governance.unknown", "the validator's organisation is not a member")
        self._validators.set(ctx, wanted)

    def _rotate_validator(self, ctx: Context, message: RotateValidator) -> None:
        if self._is(ctx, PUBLIC):
            raise ModuleError("governance.kind", "organisations name their validators' keys here")
        self._validators.rotate(ctx, message.public, message.successor)

    def _expel_organisation(self, ctx: Context, message: ExpelOrganisation) -> None:
        if ctx.get(ORGANISATIONS, message.organisation) is None:
            raise ModuleError("governance.unknown", "there is no such organisation")
        if self.bonds is not None and self.bonds.bonded(ctx, message.organisation):
            raise ModuleError("governance.bonded", "the organisation has a bond; it leaves by unbonding")
        self._validators.remove_of(ctx, message.organisation)
        self._proposals.drop_of(ctx, message.organisation)
        # Name and account stay taken: nobody can stand in its place, and its history stays readable.
        ctx.delete(ORGANISATIONS, message.organisation)
        self.require_operable(ctx)
        ctx.emit("governance.expelled", message.organisation)

    def _admit_node(self, ctx: Context, message: AdmitNode) -> None:
        if ctx.get(ORGANISATIONS, message.organisation) is None:
            raise ModuleError("governance.unknown", "there is no such organisation")
        self.accounts.create(
            ctx,
            address=self.accounts.new_address(ctx, message.organisation, message.key),
            kind=AccountKind.NODE,
            organisation=message.organisation,
            name=message.name,
            roles=(),
            threshold=1,
            keys=(message.key,),
        )

    def _set_node(self, ctx: Context, message: SetNode) -> None:
        if message.status == AccountStatus.ACTIVE:
            if ctx.get(BARRED, message.node) is not None:
                ctx.delete(BARRED, message.node)
        else:
            ctx.put(BARRED, message.node, Barred(ctx.block.time_s))
        self.accounts.set_status(ctx, message.node, AccountKind.NODE, message.status)
        self.require_operable(ctx)

    def _admit_reader(self, ctx: Context, message: AdmitReader) -> None:
        if not self._is(ctx, PRIVATE):
            raise ModuleError("governance.kind", "everybody reads this chain")
        self._list(ctx, message.reader, self.accounts.new_address(ctx, GOVERNORS, message.reader.key))

    def _list(self, ctx: Context, reader: GenesisReader, address: bytes) -> None:
        writer = next(own for own, _ in ctx.scan(ORGANISATIONS))
        self.accounts.create(
            ctx,
            address=address,
            kind=AccountKind.READER,
            organisation=writer,
            name=reader.name,
            roles=(),
            threshold=1,
            keys=(reader.key,),
        )

    def _set_reader(self, ctx: Context, message: SetReader) -> None:
        self.accounts.set_status(ctx, message.reader, AccountKind.READER, message.status)

    def _schedule_upgrade(self, ctx: Context, message: ScheduleUpgrade) -> None:
        if message.upgrade is None:
            if ctx.get(UPGRADE, b"") is None:
                raise ModuleError("governance.upgrade", "no upgrade is scheduled")
            ctx.delete(UPGRADE, b"")
        else:
            if message.upgrade.height < ctx.block.height + UPGRADE_NOTICE_BLOCKS:
                raise ModuleError("governance.upgrade", f"an upgrade needs {UPGRADE_NOTICE_BLOCKS} blocks of notice")
            versions = ctx.get(VERSIONS, b"")
            assert versions is not None, "genesis writes the versions"
            if message.upgrade.app_version <= versions.app_version:
                raise ModuleError("governance.upgrade", f"rules {versions.app_version} are in force already")
            ctx.put(UPGRADE, b"", message.upgrade)
        ctx.emit("governance.upgrade", message.upgrade.height if message.upgrade else 0)
