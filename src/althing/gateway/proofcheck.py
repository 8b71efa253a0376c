"""How the gateway convinces itself that a message is anchored before it lets go of it: a port over the light verifier."""

from __future__ import annotations

from typing import Protocol

__all__ = ["ProofCheck"]


class ProofCheck(Protocol):
    def check(self, proof: bytes, leaf: bytes, root: bytes) -> int:
        """The height whose header the proof leads to. AlthingError unless the proof verifies and is of this leaf in
        the batch of this root. Pure and synchronous; may run in another thread."""
        ...
