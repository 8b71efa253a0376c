"""Results of executed transactions, as far as they are hashed into the next header."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from althing.protocol.block.wire import bytes_field, int_field
from althing.protocol.merkle import leaf_hash, root_of

__all__ = ["TxResult", "results_hash"]


@dataclass(frozen=True, slots=True)
class TxResult:
    """The deterministic part of ABCI's ExecTxResult: what `last_results_hash` commits to (`types.NewResults`)."""

    code: int
    data: bytes
    gas_wanted: int
    gas_used: int

    def encode(self) -> bytes:
        """tendermint.abci.ExecTxResult with log, info, events and codespace left out."""
        return (
            int_field(1, self.code)
            + bytes_field(2, self.data)
            + int_field(5, self.gas_wanted)
            + int_field(6, self.gas_used)
        )


def results_hash(results: Iterable[TxResult]) -> bytes:
    """`last_results_hash` of the next header (`ABCIResults.Hash`)."""
    return root_of([leaf_hash(result.encode()) for result in results])
