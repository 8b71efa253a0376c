"""Refusals of transactions and queries. Codes are `tx.*`, `auth.*`, `quota.*`, `<module>.*`, `query.*`; they stand in receipts.

RefusedError
├── TxError         the transaction as a whole: expired, replayed, not authorised, over quota
└── ModuleError     a message that its module will not carry out
PrunedError         what a query names is no longer kept here
HaltError           this program must not execute the next block (an upgrade it does not know)
"""

from __future__ import annotations

from althing.protocol.errors import AlthingError, RefusedError

__all__ = ["HaltError", "ModuleError", "NotFoundError", "OutOfGasError", "PrunedError", "TxError"]


class TxError(RefusedError):
    """The transaction as a whole is refused."""


class OutOfGasError(TxError):
    """Execution stopped at the gas limit."""

    def __init__(self, limit: int) -> None:
        super().__init__("tx.out_of_gas", f"the gas limit of {limit} is used up", hint="raise the gas limit")


class ModuleError(RefusedError):
    """A module will not carry out a message."""


class NotFoundError(AlthingError):
    """What a query names does not exist."""

    http_status = 404


class PrunedError(AlthingError):
    """What a query names was here, and is no longer kept by this node."""

    http_status = 410


class HaltError(AlthingError):
    """The node must stop before this block; going on would fork the chain."""
