"""What a ledger module is to the runtime: a name, a state version, handlers by message type, genesis and migrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from althing.ledger.runtime.context import Context
from althing.protocol.messages.governance import Genesis

__all__ = ["Closing", "Handler", "Migration", "Module"]

Handler = Callable[[Context, Any], None]
Migration = Callable[[Context], None]


class Module(Protocol):
    """One module under the rules of one app version. `migrations[v]` brings state of version v to v + 1 at an upgrade.

    A module that newer rules bring has no state before: `migrations[0]` makes it, as `genesis` does on a new chain.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def handlers(self) -> Mapping[type, Handler]: ...

    @property
    def migrations(self) -> Mapping[int, Migration]: ...

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        """Write the module's part of the first state."""
        ...


class Closing(Protocol):
    """A module with work at the end of each block, whatever is in it."""

    def close(self, ctx: Context, proposer: bytes) -> None:
        """After the block's transactions; `proposer` is the engine's address of who made it, or empty."""
        ...
