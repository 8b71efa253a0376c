"""Handlers of `assets`.

Every amount is moved by `_give` and `_take` alone, and made or destroyed where a unit's supply is written, so that the
supply is always the sum of balances, of what is locked, of what other modules hold, and of fees that a block has taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

from althing.ledger.modules.assets.needs import Accounts
from althing.ledger.modules.assets.state import (
    BALANCES,
    ESCROW_COUNT,
    ESCROWS,
    FEES,
    UNITS,
    EscrowCount,
    FeesTaken,
    own_balance,
    own_escrow,
)
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.module import Handler, Migration
from althing.ledger.runtime.overlay import State
from althing.protocol.address import format_address
from althing.protocol.limits import INT_MAX
from althing.protocol.messages.assets import (
    Balance,
    Burn,
    DefineUnit,
    Escrow,
    FreezeBalance,
    FreezeUnit,
    Lock,
    Mint,
    Settle,
    Transfer,
    Unit,
)
from althing.protocol.messages.governance import Genesis
from althing.protocol.messages.identity import Role

__all__ = ["AssetsModule"]

_NOTHING: Final = Balance(0, frozen=False)
NOBODY: Final = bytes(20)  # issuer of a chain's own unit: no key gives this address


class AssetsModule:
    """Units of account."""

    name: Final = "assets"
    version: Final = 1

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.handlers: Mapping[type, Handler] = {
            DefineUnit: self._define,
            Mint: self._mint,
            Burn: self._burn,
            Transfer: self._transfer,
            FreezeUnit: self._freeze_unit,
            FreezeBalance: self._freeze_balance,
            Lock: self._lock,
            Settle: self._settle,
        }
        self.migrations: Mapping[int, Migration] = {}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        """A chain begins without units, but for the one that `staking` founds on a public chain."""

    # --- offered to other modules ---------------------------------------------------------------------------------

    def found(self, ctx: Context, *, symbol: str, title: str, decimals: int, supply: int) -> None:
        """At genesis: the unit that fees are paid in. Nobody issues it: there is never more, and nobody freezes it."""
        unit = Unit(
            version=1,
            symbol=symbol,
            title=title,
            issuer=NOBODY,
            decimals=decimals,
            cap=supply,
            supply=supply,
            frozen=False,
            defined_at=ctx.block.time_s,
        )
        ctx.put(UNITS, symbol.encode("ascii"), unit)
        ctx.put(FEES, b"", FeesTaken(symbol, 0))
        ctx.emit("assets.defined", unit.symbol, unit.issuer, unit.decimals, unit.cap)

    def hold(self, ctx: Context, symbol: str, account: bytes, amount: int) -> None:
        """Take an amount from an account, to be held by the module that asks."""
        self._take(ctx, self._unit(ctx, symbol), account, amount)

    def hand_out(self, ctx: Context, symbol: str, account: bytes, amount: int) -> None:
        """Give an amount that was held to an account."""
        self._give(ctx, self._unit(ctx, symbol), account, amount)

    def destroy(self, ctx: Context, symbol: str, amount: int) -> None:
        """Destroy an amount that was held."""
        unit = self._unit(ctx, symbol)
        ctx.put(UNITS, symbol.encode("ascii"), replace(unit, supply=unit.supply - amount))

    def collect(self, ctx: Context) -> int:
        """The fees that the block has taken, from now on held by the module that asks."""
        taken = ctx.get(FEES, b"")
        if taken is None or not taken.amount:
            return 0
        ctx.put(FEES, b"", replace(taken, amount=0))
        return taken.amount

    # --- the port of fees -----------------------------------------------------------------------------------------

    def takes(self, state: State) -> bool:
        return FEES.get(state, b"") is not None

    def payable(self, state: State, payer: bytes, fee: int) -> bool:
        taken = FEES.get(state, b"")
        assert taken is not None, "fees are taken where there is a unit for them"
        balance = BALANCES.get(state, own_balance(payer, taken.unit))
        return balance is not None and balance.amount >= fee and not balance.frozen

    def charge(self, ctx: Context, payer: bytes, fee: int) -> None:
        taken = ctx.get(FEES, b"")
        assert taken is not None, "fees are taken where there is a unit for them"
        self._take(ctx, self._unit(ctx, taken.unit), payer, fee)
        ctx.put(FEES, b"", replace(taken, amount=taken.amount + fee))

    # --- handlers -------------------------------------------------------------------------------------------------

    def _define(self, ctx: Context, message: DefineUnit) -> None:
        self._accounts.require(ctx, message.organisation, Role.ADMIN)
        own = message.symbol.encode("ascii")
        if ctx.get(UNITS, own) is not None:
            raise ModuleError(
                "assets.exists", f"there is a unit {message.symbol} already", hint="choose another symbol"
            )
        unit = Unit(
            version=1,
            symbol=message.symbol,
            title=message.title,
            issuer=message.organisation,
            decimals=message.decimals,
            cap=message.cap,
            supply=0,
            frozen=False,
            defined_at=ctx.block.time_s,
        )
        ctx.put(UNITS, own, unit)
        ctx.emit("assets.defined", unit.symbol, unit.issuer, unit.decimals, unit.cap)

    def _mint(self, ctx: Context, message: Mint) -> None:
        unit = self._issued(ctx, message.unit)
        _require_moving(unit)
        supply = unit.supply + message.amount
        if supply > (INT_MAX if unit.cap is None else unit.cap):
            raise ModuleError("assets.cap", f"there would be more of {unit.symbol} than its cap allows")
        self._require_account(ctx, message.recipient)
        self._give(ctx, unit, message.recipient, message.amount)
        ctx.put(UNITS, unit.symbol.encode("ascii"), replace(unit, supply=supply))
        ctx.emit("assets.minted", unit.symbol, message.recipient, message.amount)

    def _burn(self, ctx: Context, message: Burn) -> None:
        unit = self._unit(ctx, message.unit)
        _require_signer(ctx, message.account)
        _require_moving(unit)
        self._take(ctx, unit, message.account, message.amount)
        ctx.put(UNITS, unit.symbol.encode("ascii"), replace(unit, supply=unit.supply - message.amount))
        ctx.emit("assets.burned", unit.symbol, message.account, message.amount)

    def _transfer(self, ctx: Context, message: Transfer) -> None:
        unit = self._unit(ctx, message.unit)
        _require_signer(ctx, message.sender)
        _require_moving(unit)
        self._require_account(ctx, message.recipient)
        self._take(ctx, unit, message.sender, message.amount)
        self._give(ctx, unit, message.recipient, message.amount)
        ctx.emit("assets.transferred", unit.symbol, message.sender, message.recipient, message.amount, message.memo)

    def _freeze_unit(self, ctx: Context, message: FreezeUnit) -> None:
        unit = self._issued(ctx, message.unit)
        ctx.put(UNITS, unit.symbol.encode("ascii"), replace(unit, frozen=message.frozen))
        ctx.emit("assets.unit_frozen", unit.symbol, message.frozen)

    def _freeze_balance(self, ctx: Context, message: FreezeBalance) -> None:
        unit = self._issued(ctx, message.unit)
        self._require_account(ctx, message.account)
        balance = self._balance(ctx, unit, message.account)
        self._put(ctx, unit, message.account, replace(balance, frozen=message.frozen))
        ctx.emit("assets.balance_frozen", unit.symbol, message.account, message.frozen)

    def _lock(self, ctx: Context, message: Lock) -> None:
        unit = self._unit(ctx, message.unit)
        _require_signer(ctx, message.sender)
        _require_moving(unit)
        self._require_account(ctx, message.recipient)
        ordered = all(a < b for a, b in pairwise(message.arbiters))
        if not ordered or not bool(message.arbiters) <= message.needed <= len(message.arbiters):
            raise ModuleError("assets.arbiters", "arbiters are in ascending order, and as many as are needed, or none")
        if message.timeout <= ctx.block.time_s:
            raise ModuleError("assets.timeout", "the timeout is in the past", hint="choose a later ledger time")
        self._take(ctx, unit, message.sender, message.amount)
        count = ctx.get(ESCROW_COUNT, b"")
        number = 0 if count is None else count.value
        ctx.put(ESCROW_COUNT, b"", EscrowCount(number + 1))
        escrow = Escrow(
            version=1,
            number=number,
            unit=unit.symbol,
            sender=message.sender,
            recipient=message.recipient,
            amount=message.amount,
            arbiters=message.arbiters,
            needed=message.needed,
            timeout=message.timeout,
            memo=message.memo,
        )
        ctx.put(ESCROWS, own_escrow(number), escrow)
        ctx.emit("assets.locked", number, unit.symbol, message.sender, message.recipient, message.amount)

    def _settle(self, ctx: Context, message: Settle) -> None:
        escrow = ctx.get(ESCROWS, own_escrow(message.escrow))
        if escrow is None:
            raise ModuleError("assets.escrow", "there is no such escrow, or it is settled")
        # Each side may give up its own claim; arbiters decide for both; time decides for the sender.
        agreed = sum(arbiter in ctx.signers for arbiter in escrow.arbiters)
        allowed = bool(escrow.arbiters) and agreed >= escrow.needed
        if message.release:
            allowed = allowed or escrow.sender in ctx.signers
        else:
            allowed = allowed or escrow.recipient in ctx.signers or ctx.block.time_s >= escrow.timeout
        if not allowed:
            raise ModuleError("assets.settle", "nobody who signs may settle this escrow so, or not yet")
        unit = self._unit(ctx, escrow.unit)
        _require_moving(unit)
        to = escrow.recipient if message.release else escrow.sender
        ctx.delete(ESCROWS, own_escrow(escrow.number))
        self._give(ctx, unit, to, escrow.amount)
        ctx.emit("assets.settled", escrow.number, unit.symbol, to, escrow.amount, message.release)

    # --- balances -------------------------------------------------------------------------------------------------

    def _give(self, ctx: Context, unit: Unit, account: bytes, amount: int) -> None:
        balance = self._movable(ctx, unit, account)
        self._put(ctx, unit, account, replace(balance, amount=balance.amount + amount))

    def _take(self, ctx: Context, unit: Unit, account: bytes, amount: int) -> None:
        balance = self._movable(ctx, unit, account)
        if balance.amount < amount:
            raise ModuleError("assets.balance", f"the account has less of {unit.symbol}")
        self._put(ctx, unit, account, replace(balance, amount=balance.amount - amount))

    def _movable(self, ctx: Context, unit: Unit, account: bytes) -> Balance:
        balance = self._balance(ctx, unit, account)
        if balance.frozen:
            raise ModuleError("assets.frozen", f"{format_address(account)}'s {unit.symbol} is frozen by its issuer")
        return balance

    def _balance(self, ctx: Context, unit: Unit, account: bytes) -> Balance:
        return ctx.get(BALANCES, own_balance(account, unit.symbol)) or _NOTHING

    def _put(self, ctx: Context, unit: Unit, account: bytes, balance: Balance) -> None:
        own = own_balance(account, unit.symbol)
        if balance == _NOTHING:
            ctx.delete(BALANCES, own)
        else:
            ctx.put(BALANCES, own, balance)

    # --- rules ----------------------------------------------------------------------------------------------------

    def _unit(self, ctx: Context, symbol: str) -> Unit:
        unit = ctx.get(UNITS, symbol.encode("ascii"))
        if unit is None:
            raise ModuleError("assets.unknown", f"there is no unit {symbol}", hint="althing asset list")
        return unit

    def _issued(self, ctx: Context, symbol: str) -> Unit:
        unit = self._unit(ctx, symbol)
        self._accounts.require(ctx, unit.issuer, Role.ADMIN)
        return unit

    def _require_account(self, ctx: Context, address: bytes) -> None:
        # What is sent to nobody is lost: a mistyped address must not be possible to pay.
        ctx.gas.charge(ctx.gas.prices.read)
        if self._accounts.account(ctx.state, address) is None:
            raise ModuleError("assets.account", f"there is no account {format_address(address)}")


def _require_moving(unit: Unit) -> None:
    if unit.frozen:
        raise ModuleError("assets.frozen", f"all movements of {unit.symbol} are frozen by its issuer")


def _require_signer(ctx: Context, account: bytes) -> None:
    if account not in ctx.signers:
        raise ModuleError("auth.account", "only the account itself gives away what it has")
