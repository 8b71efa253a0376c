"""The port of whoever takes fees. A chain without a unit to pay in takes none, and a fee is refused."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State

__all__ = ["Fees"]


class Fees(Protocol):
    """Takes fees for executed transactions: wired in `assembly` by the module that keeps balances."""

    def takes(self, state: State) -> bool:
        """True when this chain has something to pay fees in; the same for all its life."""
        ...

    def payable(self, state: State, payer: bytes, fee: int) -> bool:
        """True when `payer` can pay `fee` now."""
        ...

    def charge(self, ctx: Context, payer: bytes, fee: int) -> None:
        """Take `fee`, which was `payable`. It stays taken when the transaction's messages are refused."""
        ...
