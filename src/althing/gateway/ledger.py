"""What a gateway asks of the ledger, through nodes it need not trust: a port, and the plain data that passes it.

`LedgerError` says that no node could be asked; everything else is an answer. The implementation over the nodes' REST
API is in `ledger_nodes.py`: it proves what it is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from althing.protocol.messages.devices import DeviceState
from althing.protocol.messages.identity import AccountStatus, KeyEntry
from althing.protocol.messages.streams import GatewayHead, StreamDefinition

__all__ = [
    "Cursor",
    "DeviceView",
    "LedgerEvent",
    "LedgerPort",
    "LedgerStatus",
    "Looked",
    "Said",
    "StreamView",
    "Submission",
]

Said = Literal["submit", "proof", "events"]
Cursor = tuple[int, int]  # height, index of the event within it


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """Where the chain stands: `height` is the newest block whose outcome is proved, `time_s` the time of its successor in
    seconds since 1970 (ledger time)."""

    chain_id: str
    genesis_hash: bytes
    height: int
    time_s: int


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device with its account's keys; `status` is the account's, `member` says that its organisation is not suspended."""

    name: str
    address: bytes
    organisation: bytes
    gateway: bytes | None
    state: DeviceState
    status: AccountStatus
    keys: tuple[KeyEntry, ...]
    member: bool = True

    @property
    def active(self) -> bool:
        return self.member and self.state == DeviceState.ACTIVE and self.status == AccountStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream's definition, and the sequence the chain expects next."""

    definition: StreamDefinition
    next_sequence: int

    @property
    def path(self) -> str:
        return self.definition.path


@dataclass(frozen=True, slots=True)
class Looked:
    """Devices and streams as they stood after block `height`; None for what did not exist."""

    height: int
    devices: dict[str, DeviceView | None]
    streams: dict[str, StreamView | None]


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """Something a block decided: `<module>.<what>` with the values docs/spec/messages.md gives, addresses as bytes.

    Each height begins with `block`, whose only value is its number of transactions, and whose time is `time_s`. So its
    other events are all seen when the next height begins, or at once when there are no transactions.
    """

    height: int
    index: int
    name: str
    values: tuple[Any, ...]
    time_s: int = 0

    @property
    def cursor(self) -> Cursor:
        return self.height, self.index


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a transaction: `code` "" is committed at `height`, `tx.pending` is not decided yet."""

    tx_id: bytes
    code: str
    message: str
    height: int | None


class LedgerPort(Protocol):
    """All methods raise LedgerError when no node answers in time."""

    @property
    def lies_total(self) -> int:
        """How often a node said what proved false."""
        ...

    @property
    def proved_height(self) -> int:
        """The newest height whose outcome was proved so far."""
        ...

    async def status(self) -> LedgerStatus: ...

    async def block_time_ns(self, height: int) -> int:
        """The time of a block in nanoseconds since 1970."""
        ...

    async def listed(self, gateway: bytes) -> list[str]:
        """Paths of the streams that `gateway` writes. A node may leave some out or invent some: `look` tells the truth."""
        ...

    async def look(
        self, devices: Sequence[str], streams: Sequence[str], *, at_least: int = 0, elsewhere: bool = False
    ) -> Looked:
        """Devices and streams as of one height: not before `at_least`, nor before what was proved last. `elsewhere`
        asks another node than the one in use, where there is one."""
        ...

    async def stream(self, path: str) -> StreamView | None:
        """The stream as of now: None only if the newest block of the node in use has not defined it either."""
        ...

    async def anchored_under(self, path: str, sequence: int) -> StreamDefinition:
        """The definition that the anchor of a message names, as the stream's log has it."""
        ...

    async def gas_price(self) -> int:
        """The least fee for a unit of gas, proved; 0 but on public chains."""
        ...

    async def gateway_head(self, gateway: bytes, *, at_least: int = 0) -> GatewayHead: ...

    async def submit(self, transaction: bytes) -> Submission:
        """Send a signed transaction and wait, bounded, for what becomes of it."""
        ...

    async def proof(self, stream: str, sequence: int) -> bytes:
        """The proof file of a message, or LedgerRefusedError while it cannot be made."""
        ...

    def events(self, after: Cursor | None) -> AsyncIterator[LedgerEvent]:
        """Events after a cursor, without end; with None from now on. Raises LedgerError when the connection is lost."""
        ...

    def doubt(self, said: Said, reason: str) -> None:
        """What a node said last has proved false: ask others first."""
        ...

    async def close(self) -> None: ...
