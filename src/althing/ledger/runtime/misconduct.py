"""What an engine has proved about a validator: evidence that a block carries."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Misconduct"]


@dataclass(frozen=True, slots=True)
class Misconduct:
    """A double vote (1) or an attack on light clients (2) at `height` by the validator of this engine's address."""

    kind: int
    address: bytes
    height: int
