"""Which definition of a stream was in force in which block, as far as the gateway's view tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from althing.protocol.messages.streams import StreamDefinition

__all__ = ["Definitions"]

_VERSIONS_KEPT: Final = 4  # of a stream: an anchor is archived seconds after its block


@dataclass(frozen=True, slots=True)
class _Since:
    """In force after block `last` for sure, before block `first` surely not; in between nobody has looked."""

    first: int
    last: int
    definition: StreamDefinition


class Definitions:
    """Schema versions only go up, so two looks that find the same one vouch for all blocks between them."""

    def __init__(self) -> None:
        self._known: dict[str, list[_Since]] = {}

    def learned(self, definition: StreamDefinition, *, after: int | None, by: int) -> None:
        """A look at the state of block `by` found this; up to block `after` it was what was known before, or nobody knows
        since when (None)."""
        known = self._known.setdefault(definition.path, [])
        if definition.schema_version == 0:
            known[:] = [_Since(0, 0, definition)]
            return
        if known and known[-1].definition.schema_version == definition.schema_version:
            return
        first = 1
        if known:
            first = (known[-1].last if after is None else after) + 1
        known.append(_Since(first, max(first, by), definition))
        del known[:-_VERSIONS_KEPT]

    def at(self, path: str, height: int) -> StreamDefinition | None:
        """The definition in force in a block, or None when that is not known."""
        for one in reversed(self._known.get(path, ())):
            if height > one.last:
                return one.definition
            if height >= one.first:
                return None
        return None
