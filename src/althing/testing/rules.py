"""Two versions of rules for tests of upgrades: a module of notes that behaves differently from version 2 on.

Version 1: `notes.write` keeps a text. Version 2: a note also counts its edits (state version 2, with a migration), texts
are limited, `notes.erase` exists, writing costs more gas, and fees are taken from balances that the migration gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from althing.ledger.assembly import Rulebook, Rules, version_1
from althing.ledger.modules.assets.module import AssetsModule
from althing.ledger.modules.devices.module import DevicesModule
from althing.ledger.modules.governance.module import GovernanceModule
from althing.ledger.modules.identity.module import IdentityModule
from althing.ledger.modules.streams.module import StreamsModule
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.gas import Prices
from althing.ledger.runtime.module import Handler, Migration, Module
from althing.ledger.runtime.overlay import State, Table
from althing.protocol.messages.governance import Genesis
from althing.protocol.record import ADDRESS, NAME, UINT, Record, of, text

__all__ = [
    "BALANCES",
    "GIFT",
    "NOTES_1",
    "NOTES_2",
    "Balance",
    "EraseNote",
    "Note1",
    "Note2",
    "Notes1",
    "Notes2",
    "WriteNote",
    "rulebook",
    "rules_1",
    "rules_2",
]

GIFT: Final = 1_000_000
TEXT_MAX: Final = 10
PRICES_2: Final = Prices(write=500)


@dataclass(frozen=True, slots=True)
class WriteNote(Record):
    """Keep a text under the signer's name."""

    TYPE: ClassVar[str] = "notes.write"
    account: bytes = of(ADDRESS)
    name: str = of(NAME)
    value: str = of(text(1, 100))


@dataclass(frozen=True, slots=True)
class EraseNote(Record):
    """Remove a note; from version 2 on."""

    TYPE: ClassVar[str] = "notes.erase"
    account: bytes = of(ADDRESS)
    name: str = of(NAME)


@dataclass(frozen=True, slots=True)
class Note1(Record):
    value: str = of(text(1, 100))


@dataclass(frozen=True, slots=True)
class Note2(Record):
    value: str = of(text(1, 100))
    edits: int = of(UINT)


@dataclass(frozen=True, slots=True)
class Balance(Record):
    value: int = of(UINT)


NOTES_1: Final = Table("notes/note/", Note1)
NOTES_2: Final = Table("notes/note/", Note2)
BALANCES: Final = Table("notes/balance/", Balance)
POT: Final = bytes(20)  # where fees go


class Notes1:
    """The module under version 1."""

    name: Final = "notes"
    version: Final = 1

    def __init__(self) -> None:
        self.handlers: Mapping[type, Handler] = {WriteNote: self._write}
        self.migrations: Mapping[int, Migration] = {}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        """A chain begins without notes."""

    def _write(self, ctx: Context, message: WriteNote) -> None:
        _require_signer(ctx, message.account)
        ctx.put(NOTES_1, _own(message), Note1(message.value))
        ctx.emit("notes.written", message.name)


class Notes2:
    """The module under version 2; it takes fees too."""

    name: Final = "notes"
    version: Final = 2

    def __init__(self) -> None:
        self.handlers: Mapping[type, Handler] = {WriteNote: self._write, EraseNote: self._erase}
        self.migrations: Mapping[int, Migration] = {1: self._migrate}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        for founder in genesis.organisations:
            ctx.put(BALANCES, founder.address, Balance(GIFT))

    def _migrate(self, ctx: Context) -> None:
        for own, note in list(ctx.scan(NOTES_1)):
            ctx.put(NOTES_2, own, Note2(note.value, 0))
            ctx.put(BALANCES, own[:20], Balance(GIFT))

    def _write(self, ctx: Context, message: WriteNote) -> None:
        _require_signer(ctx, message.account)
        if len(message.value) > TEXT_MAX:
            raise ModuleError("notes.too_long", f"a note has at most {TEXT_MAX} characters")
        before = ctx.get(NOTES_2, _own(message))
        edits = 0 if before is None else before.edits + 1
        ctx.put(NOTES_2, _own(message), Note2(message.value, edits))
        ctx.emit("notes.written", message.name, edits)

    def _erase(self, ctx: Context, message: EraseNote) -> None:
        _require_signer(ctx, message.account)
        ctx.delete(NOTES_2, _own(message))
        ctx.emit("notes.erased", message.name)

    # --- the port of fees -------------------------------------------------------------------------------------------

    def takes(self, _state: State) -> bool:
        return True

    def payable(self, state: State, payer: bytes, fee: int) -> bool:
        balance = BALANCES.get(state, payer)
        return balance is not None and balance.value >= fee

    def charge(self, ctx: Context, payer: bytes, fee: int) -> None:
        balance = ctx.get(BALANCES, payer)
        assert balance is not None, "the fee was found payable"
        ctx.put(BALANCES, payer, replace(balance, value=balance.value - fee))
        pot = ctx.get(BALANCES, POT) or Balance(0)
        ctx.put(BALANCES, POT, replace(pot, value=pot.value + fee))


def _own(message: WriteNote | EraseNote) -> bytes:
    return message.account + message.name.encode("ascii")


def _require_signer(ctx: Context, account: bytes) -> None:
    if account not in ctx.signers:
        raise ModuleError("notes.signer", "a note is written by its account")


def rules_1() -> Rules:
    """Version 1 with the notes."""
    base = version_1()
    return Rules(1, base.governance, base.identity, (*base.ordered, Notes1()))


def rules_2() -> Rules:
    """Version 2: other notes, other prices, and fees."""
    notes = Notes2()
    governance = GovernanceModule()
    identity = IdentityModule(organisations=governance)
    governance.accounts = identity
    devices = DevicesModule(identity)
    governance.fees = notes
    ordered: tuple[Module, ...] = (
        governance,
        identity,
        devices,
        StreamsModule(identity, devices),
        AssetsModule(identity),
        notes,
    )
    return Rules(2, governance, identity, ordered, prices=PRICES_2, fees=notes)


def rulebook() -> Rulebook:
    """One program that knows both."""
    return Rulebook(rules_1(), rules_2())
