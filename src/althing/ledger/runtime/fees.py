"""The port of whoever takes fees. Version 1 of the rules has no coin, so nobody stands behind it and a fee is refused."""

from __future__ import annotations

from typing import Protocol

from althing.ledger.runtime.context import Context
from althing.ledger.runtime.overlay import State

__all__ = ["Fees"]


class Fees(Protocol):
    """Takes fees for executed transactions: wired in `assembly` by the module that keeps balances."""

    def payable(self, state: State, payer: bytes, fee: int) -> bool:
        """True when `payer` can pay `fee` now."""
        ...

    def charge(self, ctx: Context, payer: bytes, fee: int) -> None:
        """Take `fee`, which was `payable`. It stays taken when the transaction's messages are refused."""
        ...
