"""Handlers of `identity`, and what it offers to other modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from althing.ledger.modules.identity.needs import Organisations
from althing.ledger.modules.identity.state import (
    ACCOUNTS,
    ATTRIBUTE_COUNTS,
    ATTRIBUTES,
    NODES,
    REVOKED,
    Attribute,
    Count,
    Revocation,
)
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.module import Handler, Migration
from althing.ledger.runtime.overlay import State
from althing.protocol.address import format_address, key_id
from althing.protocol.limits import ACCOUNT_KEYS_MAX, ATTRIBUTES_MAX
from althing.protocol.messages.governance import Genesis
from althing.protocol.messages.identity import (
    Account,
    AccountKind,
    AccountStatus,
    CreateAccount,
    Key,
    KeyEntry,
    Role,
    RotateKeys,
    SetAccountStatus,
    SetAttribute,
)

__all__ = ["IdentityModule"]


class IdentityModule:
    """Accounts and authority."""

    name: Final = "identity"
    version: Final = 1

    def __init__(self, organisations: Organisations) -> None:
        self._organisations = organisations
        self.handlers: Mapping[type, Handler] = {
            CreateAccount: self._create,
            RotateKeys: self._rotate,
            SetAccountStatus: self._set_status,
            SetAttribute: self._set_attribute,
        }
        self.migrations: Mapping[int, Migration] = {}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        """Founders' accounts are made by `governance`, which knows the members."""

    # --- offered to other modules and to admission ---------------------------------------------------------------

    def account(self, state: State, address: bytes) -> Account | None:
        return ACCOUNTS.get(state, address)

    def usable(self, state: State, account: Account) -> bool:
        """True when neither the account nor its organisation is suspended or closed."""
        return account.status == AccountStatus.ACTIVE and self._organisations.active(state, account.organisation)

    def create(
        self,
        ctx: Context,
        *,
        address: bytes,
        kind: AccountKind,
        organisation: bytes,
        name: str,
        roles: tuple[Role, ...],
        threshold: int,
        keys: tuple[Key, ...],
    ) -> None:
        """Make an account at `address` with keys valid from now on."""
        if ctx.get(ACCOUNTS, address) is not None:
            raise ModuleError("identity.exists", f"there is an account {format_address(address)} already")
        if threshold > len(keys) or (keys and threshold < 1):
            raise ModuleError("identity.threshold", "the threshold is between 1 and the number of keys")
        self.check_keys(ctx, keys)
        entries = tuple(KeyEntry(key, ctx.block.time_s, None, None) for key in keys)
        account = Account(1, kind, organisation, name, AccountStatus.ACTIVE, threshold, roles, entries)
        ctx.put(ACCOUNTS, address, account)
        if kind == AccountKind.NODE:
            self._count_nodes(ctx, organisation, 1)
        ctx.emit("identity.created", address, int(kind), organisation, name)

    def close(self, ctx: Context, address: bytes, status: AccountStatus) -> None:
        """Set the status of an account on behalf of the module that owns it (devices)."""
        account = ctx.get(ACCOUNTS, address)
        assert account is not None
        ctx.put(ACCOUNTS, address, replace(account, status=status))
        ctx.emit("identity.status", address, int(status))

    def set_status(self, ctx: Context, address: bytes, kind: AccountKind, status: AccountStatus) -> None:
        """Set the status of a node or a reader on behalf of `governance`."""
        account = self._existing(ctx, address)
        if account.kind != kind:
            raise ModuleError("identity.kind", f"the account is not a {kind.name.lower()}'s")
        if account.status == AccountStatus.CLOSED:
            raise ModuleError("identity.closed", "a closed account stays closed")
        self._write_status(ctx, address, account, status)

    def new_address(self, ctx: Context, owner: bytes, key: Key) -> bytes:
        """Where a new account with this first key stands: at the key's own address only if the key itself signs.

        Without that proof of possession anybody could occupy the address of a key that he has merely seen.
        """
        return key.address if key.address in ctx.signers else key.address_under(owner)

    def active_nodes(self, ctx: Context, organisation: bytes) -> int:
        found = ctx.get(NODES, organisation)
        return 0 if found is None else found.value

    def check_keys(self, ctx: Context, keys: tuple[Key, ...]) -> None:
        """Refuse weak keys (`key.*`), and two of one key id: signatures would be ambiguous."""
        seen = set()
        for key in keys:
            ctx.gas.charge(ctx.gas.prices.key)
            key.check()
            seen.add(key_id(key.suite, key.public))
        if len(seen) != len(keys):
            raise ModuleError("identity.duplicate_key", "a key is named twice")

    def authorised(self, ctx: Context, organisation: bytes, role: Role) -> bool:
        """True when a signer may act for the organisation: its own account, or one of its accounts with the role."""
        for signer in sorted(ctx.signers):
            account = ctx.get(ACCOUNTS, signer)
            if account is None or account.organisation != organisation:
                continue
            # A person whose own address is named as the organisation must not pass for one.
            if account.kind == AccountKind.ORGANISATION or {Role.ADMIN, role} & {*account.roles}:
                return True
        return False

    def require(self, ctx: Context, organisation: bytes, role: Role) -> None:
        """Refuse with `auth.organisation` unless `authorised`."""
        if not self.authorised(ctx, organisation, role):
            raise ModuleError(
                "auth.organisation",
                f"no signer may act as {role.name.lower()} for {format_address(organisation)}",
                hint="sign with the organisation's key or that of an account with this role",
            )

    # --- handlers -------------------------------------------------------------------------------------------------

    def _create(self, ctx: Context, message: CreateAccount) -> None:
        self.require(ctx, message.organisation, Role.ADMIN)
        if message.kind in (AccountKind.ORGANISATION, AccountKind.DEVICE, AccountKind.READER):
            raise ModuleError(
                "identity.kind", "governance admits organisations and lists readers; devices registers devices"
            )
        self.create(
            ctx,
            address=self.new_address(ctx, message.organisation, message.keys[0]),
            kind=message.kind,
            organisation=message.organisation,
            name=message.name,
            roles=message.roles,
            threshold=message.threshold,
            keys=message.keys,
        )

    def _rotate(self, ctx: Context, message: RotateKeys) -> None:
        account = self._existing(ctx, message.account)
        if account.kind == AccountKind.ORGANISATION:
            # An administrator who could replace these keys could make itself the organisation, and a governor.
            if message.account not in ctx.signers:
                raise ModuleError("auth.account", "only the organisation's own account changes its keys")
        else:
            self._require_self_or_admin(ctx, message.account, account)
        self.check_keys(ctx, message.add)
        now = ctx.block.time_s
        valid_from = now if message.valid_from is None else message.valid_from
        if valid_from < now:
            raise ModuleError("identity.valid_from", "a key cannot become valid in the past")
        known = {key_id(entry.key.suite, entry.key.public) for entry in account.keys}
        if not known.issuperset(message.end):
            raise ModuleError("identity.unknown_key", "a key to end is not in the account's record")
        if any(key_id(key.suite, key.public) in known for key in message.add):
            raise ModuleError("identity.known_key", "a key to add is in the account's record already")
        for key in message.add:
            if ctx.get(REVOKED, message.account + key_id(key.suite, key.public)) is not None:
                raise ModuleError("identity.revoked_key", "a key to add was compromised in this account before")
        entries = []
        for entry in account.keys:
            if key_id(entry.key.suite, entry.key.public) in message.end:
                ended = now if entry.valid_to is None else min(entry.valid_to, now)
                revoked = entry.revoked_at
                if message.compromised and revoked is None:
                    revoked = now
                entry = replace(entry, valid_to=ended, revoked_at=revoked)
            entries.append(entry)
        entries += [KeyEntry(key, valid_from, None, None) for key in message.add]
        if len(entries) > ACCOUNT_KEYS_MAX:
            entries, forgotten = _forget_oldest_ended(entries, now)
            for entry in forgotten:
                if entry.revoked_at is not None:
                    kid = key_id(entry.key.suite, entry.key.public)
                    ctx.put(REVOKED, message.account + kid, Revocation(entry.key, entry.revoked_at))
        threshold = account.threshold if message.threshold is None else message.threshold
        # Keys that become valid later do not count: until then nobody could sign, and perhaps never.
        lasting = sum(entry.valid_to is None and entry.active_at(now) for entry in entries)
        if not 1 <= threshold <= lasting:
            raise ModuleError("identity.threshold", "fewer keys would remain than the threshold asks for")
        ctx.put(ACCOUNTS, message.account, replace(account, keys=tuple(entries), threshold=threshold))
        if account.kind == AccountKind.ORGANISATION and threshold != account.threshold:
            self._organisations.require_operable(ctx)
        ctx.emit("identity.keys", message.account, len(message.add), len(message.end))

    def _set_status(self, ctx: Context, message: SetAccountStatus) -> None:
        account = self._existing(ctx, message.account)
        if account.kind in (AccountKind.ORGANISATION, AccountKind.DEVICE, AccountKind.READER):
            raise ModuleError(
                "identity.kind", "use governance for organisations and readers, devices.set_state for devices"
            )
        if account.status == AccountStatus.CLOSED:
            raise ModuleError("identity.closed", "a closed account stays closed")
        if message.status == AccountStatus.CLOSED:
            self._require_self_or_admin(ctx, message.account, account)
        else:
            self.require(ctx, account.organisation, Role.ADMIN)
        if message.status == AccountStatus.ACTIVE and self._organisations.barred(ctx, message.account):
            raise ModuleError("identity.barred", "the governors have suspended this node", hint="they must wake it")
        self._write_status(ctx, message.account, account, message.status)
        if account.kind == AccountKind.NODE and message.status != AccountStatus.ACTIVE:
            self._organisations.require_operable(ctx)

    def _write_status(self, ctx: Context, address: bytes, account: Account, status: AccountStatus) -> None:
        ctx.put(ACCOUNTS, address, replace(account, status=status))
        if account.kind == AccountKind.NODE:
            active = AccountStatus.ACTIVE
            self._count_nodes(ctx, account.organisation, (status == active) - (account.status == active))
        ctx.emit("identity.status", address, int(status))

    def _set_attribute(self, ctx: Context, message: SetAttribute) -> None:
        if message.account not in ctx.signers:
            raise ModuleError("auth.account", "only the account itself writes its registers")
        own = message.account + message.name.encode("ascii")
        present = ctx.has(ATTRIBUTES, own)
        if present != (message.value is not None):
            found = ctx.get(ATTRIBUTE_COUNTS, message.account)
            count = (0 if found is None else found.value) + (-1 if present else 1)
            # A DID document lists them all.
            if count > ATTRIBUTES_MAX:
                raise ModuleError("identity.attributes", f"an account has at most {ATTRIBUTES_MAX} registers")
            ctx.put(ATTRIBUTE_COUNTS, message.account, Count(count))
        if message.value is None:
            if present:
                ctx.delete(ATTRIBUTES, own)
        else:
            ctx.put(ATTRIBUTES, own, Attribute(message.value))
        ctx.emit("identity.attribute", message.account, message.name)

    def _existing(self, ctx: Context, address: bytes) -> Account:
        account = ctx.get(ACCOUNTS, address)
        if account is None:
            raise ModuleError("identity.unknown", f"there is no account {format_address(address)}")
        return account

    def _count_nodes(self, ctx: Context, organisation: bytes, change: int) -> None:
        if change:
            ctx.put(NODES, organisation, Count(self.active_nodes(ctx, organisation) + change))

    def _require_self_or_admin(self, ctx: Context, address: bytes, account: Account) -> None:
        if address not in ctx.signers:
            self.require(ctx, account.organisation, Role.ADMIN)


def _forget_oldest_ended(entries: list[KeyEntry], now: int) -> tuple[list[KeyEntry], list[KeyEntry]]:
    # The record is bounded because every proof carries it. Only keys that ended may leave, the earliest first;
    # proofs of what they signed are then made against an older state. Returns who stays and who leaves.
    ended = sorted((e.valid_to, i) for i, e in enumerate(entries) if e.valid_to is not None and e.valid_to <= now)
    excess = len(entries) - ACCOUNT_KEYS_MAX
    if len(ended) < excess:
        raise ModuleError("identity.keys", f"an account has at most {ACCOUNT_KEYS_MAX} keys", hint="end some first")
    leaving = {index for _, index in ended[:excess]}
    return (
        [entry for index, entry in enumerate(entries) if index not in leaving],
        [entry for index, entry in enumerate(entries) if index in leaving],
    )
