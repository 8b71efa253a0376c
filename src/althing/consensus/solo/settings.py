"""Settings of the embedded engine, each with the reason for its bound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from althing.consensus.engine import EngineError

__all__ = ["SoloSettings"]


@dataclass(frozen=True, slots=True)
class SoloSettings:
    """Where the embedded engine keeps its blocks, and how it paces them. Block size and gas are consensus parameters."""

    directory: Path
    key_file: Path | None = None  # default: priv_validator_key.json in the directory
    pool_count_max: int = 20_000  # what a client can resubmit within one transaction lifetime
    pool_bytes_max: int = 64 * 1024 * 1024  # memory of a small edge box
    tx_bytes_max: int = 4 * 1024 * 1024  # a bundle; five fit the default block
    seen_max: int = 100_000  # hashes of recent transactions: a duplicate is refused without checking it
    min_block_interval_ms: int = 10  # under load only: fuller blocks, fewer durable writes
    idle_block_s: int = 30  # block time is the previous block's vote time: an idle chain's clock lags by at most this
    retry_ms: int = 500  # pause before a failed durable write is tried again
    map_bytes_max: int = 1 << 40  # address space of the block store, not disk
    hand_over: bool = False  # once, at a chain's end here: other validators may be announced, and then this engine ends
    keep_headers: bool = True  # pruning drops transactions and results, but not headers and commits

    def __post_init__(self) -> None:
        bounds = {
            "pool_count_max": (1, 10_000_000),
            "pool_bytes_max": (1, 1 << 40),
            "tx_bytes_max": (1, 100 * 1024 * 1024),
            "seen_max": (1, 100_000_000),
            "min_block_interval_ms": (0, 60_000),
            "idle_block_s": (1, 60),
            "retry_ms": (1, 60_000),
            "map_bytes_max": (1 << 16, 1 << 46),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise EngineError("engine.settings", f"{name} must be between {low} and {high}")
