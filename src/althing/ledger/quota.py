"""Quotas: what an organisation's transactions use in a window of ledger time, counted in memory through a block."""

from __future__ import annotations

from althing.ledger.modules.governance.state import ORGANISATIONS, QUOTA_USE
from althing.ledger.runtime.errors import TxError
from althing.ledger.runtime.overlay import State
from althing.protocol.messages.governance import QuotaUse

__all__ = ["Quotas"]


class Quotas:
    """Use of quotas in one block (or in a check); `finish` writes it to the state once an organisation."""

    def __init__(self, state: State, window: int) -> None:
        self._state = state
        self._window = window
        self._left: dict[bytes, tuple[int, int]] = {}
        self._used: dict[bytes, tuple[int, int]] = {}

    def check(self, organisation: bytes, size: int, gas: int) -> None:
        """TxError `quota.bytes` or `quota.gas` when the window has no room left for as much."""
        left_bytes, left_gas = self._remaining(organisation)
        if size > left_bytes:
            raise TxError(
                "quota.bytes", "the organisation's byte quota of this window is used up", hint="wait, or raise it"
            )
        if gas > left_gas:
            raise TxError(
                "quota.gas", "the organisation's gas quota of this window is used up", hint="wait, or raise it"
            )

    def charge(self, organisation: bytes, size: int, gas: int) -> None:
        """Use as much, down to nothing left."""
        left_bytes, left_gas = self._remaining(organisation)
        self._left[organisation] = (max(0, left_bytes - size), max(0, left_gas - gas))
        used_bytes, used_gas = self._used.get(organisation, (0, 0))
        self._used[organisation] = (used_bytes + size, used_gas + gas)

    @property
    def used(self) -> bool:
        """True when anything was charged."""
        return bool(self._used)

    def finish(self) -> None:
        for organisation in sorted(self._used):
            used_bytes, used_gas = self._used[organisation]
            before = QUOTA_USE.get(self._state, organisation)
            if before is not None and before.window == self._window:
                used_bytes += before.bytes
                used_gas += before.gas
            QUOTA_USE.put(self._state, organisation, QuotaUse(self._window, used_bytes, used_gas))

    def _remaining(self, organisation: bytes) -> tuple[int, int]:
        left = self._left.get(organisation)
        if left is None:
            member = ORGANISATIONS.get(self._state, organisation)
            if member is None:
                return 0, 0
            use = QUOTA_USE.get(self._state, organisation)
            used = (use.bytes, use.gas) if use is not None and use.window == self._window else (0, 0)
            left = (max(0, member.quota.bytes - used[0]), max(0, member.quota.gas - used[1]))
            self._left[organisation] = left
        return left
