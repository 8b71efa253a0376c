"""Fakes on the gateway's real ports: a ledger, an archive and a proof check that keep the chain's rules in memory.

The ledger takes signed transactions apart and verifies them, enforces anchor numbers, writers and sequences as the
`streams` module does, and makes proofs from what reached the archive. It can be away, slow, or lose an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from althing.gateway.errors import LedgerError, LedgerRefusedError
from althing.gateway.ledger import (
    Cursor,
    DeviceView,
    LedgerEvent,
    LedgerStatus,
    Looked,
    Said,
    StreamView,
    Submission,
)
from althing.gateway.sink import ConfirmedBatch
from althing.gateway.spool.records import RefusalRecord
from althing.protocol.address import key_id
from althing.protocol.batch import Leaf
from althing.protocol.codec import decode, encode
from althing.protocol.errors import MerkleError, ProtocolError
from althing.protocol.merkle import leaf_hash, verify_inclusion
from althing.protocol.messages.devices import DeviceState
from althing.protocol.messages.identity import AccountStatus, Key, KeyEntry
from althing.protocol.messages.streams import Anchor, GatewayHead, StreamDefinition
from althing.protocol.readings import StreamSchema
from althing.protocol.signatures import PrivateKey, verify
from althing.protocol.transaction import parse_transaction

__all__ = ["FakeArchive", "FakeLedger", "FakeProofCheck", "FakeRow"]

ORGANISATION = bytes(range(20))


@dataclass(frozen=True, slots=True)
class FakeRow:
    """An anchored stretch of a stream."""

    root: bytes
    size: int
    offset: int
    first: int
    count: int
    height: int
    definition: StreamDefinition


class FakeArchive:
    """Keeps batches and refusals; `down` makes it fail."""

    def __init__(self) -> None:
        self.batches: dict[bytes, ConfirmedBatch] = {}
        self.refusals: list[RefusalRecord] = []
        self.writes = 0
        self.down = False

    def locators(self, root: bytes) -> tuple[str, ...]:
        return ("memory:batches",)

    async def write(self, batch: ConfirmedBatch) -> None:
        self._check()
        self.writes += 1
        known = self.batches.get(batch.batch.root)
        assert known is None or known.batch.leaves == batch.batch.leaves
        self.batches[batch.batch.root] = batch

    async def write_refusals(self, refusals: tuple[RefusalRecord, ...]) -> None:
        self._check()
        self.refusals += [refusal for refusal in refusals if refusal not in self.refusals]

    def _check(self) -> None:
        if self.down:
            raise OSError(28, "no space left on the archive")


class FakeProofCheck:
    """Checks the inclusion path; everything above the batch's root is taken from the fake."""

    def check(self, proof: bytes, leaf: bytes, root: bytes) -> int:
        height, size, index, path, claimed = decode(proof)
        if claimed != root:
            raise MerkleError("proof.root", "the proof is of another batch")
        verify_inclusion(root, size, index, leaf_hash(leaf), path)
        return int(height)


@dataclass(slots=True)
class FakeLedger:
    """One gateway's chain in memory. Every committed thing makes a block."""

    gateway_key: PrivateKey
    archive: FakeArchive
    chain_id: str = "test"
    genesis_hash: bytes = bytes(32)
    height: int = 1
    time_s: int = 1_700_000_000
    lag_s: int = 0  # how far ledger time is behind the clock by which nodes admit
    away: bool = False  # every call fails
    price: int = 0  # least fee for a unit of gas
    forget_answers: int = 0  # so many submissions are carried out, but their answer is lost
    submissions: int = 0
    known_devices: dict[str, DeviceView] = field(default_factory=dict)
    known_streams: dict[str, StreamView] = field(default_factory=dict)
    rows: dict[str, list[FakeRow]] = field(default_factory=dict)
    head: GatewayHead = field(default_factory=lambda: GatewayHead(0, bytes(32), 0))
    log: list[LedgerEvent] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lies_total(self) -> int:
        return len(self.doubts)

    @property
    def gateway(self) -> bytes:
        return Key(self.gateway_key.suite, self.gateway_key.public).address

    # --- what tests do to it

    def add_device(self, name: str, *keys: PrivateKey) -> DeviceView:
        entries = tuple(KeyEntry(Key(key.suite, key.public), 0, None, None) for key in keys)
        address = name.encode().ljust(20, b"\0")[:20]
        device = DeviceView(
            name, address, ORGANISATION, self.gateway, DeviceState.ACTIVE, AccountStatus.ACTIVE, entries
        )
        self.known_devices[name] = device
        self._emit("devices.registered", name, address, ORGANISATION, False)
        return device

    def add_stream(self, path: str, schema: StreamSchema | None = None) -> StreamView:
        device, _, name = path.partition("/")
        address = self.known_devices[device].address
        definition = StreamDefinition(
            1,
            len(self.known_streams),
            device,
            address,
            name,
            ORGANISATION,
            self.gateway,
            0,
            schema or _RAW,
            self.time_s,
        )
        view = self.known_streams[path] = StreamView(definition, 0)
        self._emit("streams.defined", definition.id, path, self.gateway)
        return view

    def set_state(self, name: str, state: DeviceState) -> None:
        self.known_devices[name] = replace(self.known_devices[name], state=state)
        self._emit("devices.state", name, int(state), "")

    def set_keys(self, name: str, *keys: PrivateKey) -> None:
        device = self.known_devices[name]
        entries = tuple(KeyEntry(Key(key.suite, key.public), 0, None, None) for key in keys)
        self.known_devices[name] = replace(device, keys=entries)
        self._emit("identity.keys", device.address, len(keys), len(device.keys))

    def hand_over(self, path: str, gateway: bytes, *, anchored_there: int = 0, by_copy: bool = False) -> None:
        """Give the stream to another gateway, which may anchor some messages of its own; `by_copy`: a copy of ours has."""
        view = self.known_streams[path]
        following = view.next_sequence + anchored_there
        self.known_streams[path] = StreamView(replace(view.definition, gateway=gateway), following)
        if by_copy:
            self.head = replace(self.head, next_number=self.head.next_number + 1, last_root=bytes(31) + b"\1")
        self._emit("streams.handed_over", view.definition.id, gateway, view.next_sequence)

    def pass_time(self, seconds: int) -> None:
        self.time_s += seconds
        self._emit("block", 0)

    def leaves(self, path: str) -> list[Leaf]:
        """All anchored messages of a stream, in the order of their sequences, read from the archive."""
        found = []
        for row in self.rows.get(path, []):
            leaves = self.archive.batches[row.root].batch.leaves
            found += [Leaf.from_bytes(leaf) for leaf in leaves[row.offset : row.offset + row.count]]
        return found

    def _emit(self, name: str, *values: object) -> None:
        self.height += 1
        self.time_s += 1
        self.log.append(LedgerEvent(self.height, 1, name, values, self.time_s))
        self.changed.set()
        self.changed = asyncio.Event()

    # --- the port

    async def status(self) -> LedgerStatus:
        self._reach()
        return LedgerStatus(self.chain_id, self.genesis_hash, self.height, self.time_s)

    async def block_time_ns(self, height: int) -> int:
        self._reach()
        return self.time_s * 1_000_000_000

    async def listed(self, gateway: bytes) -> list[str]:
        self._reach()
        return [path for path, view in self.known_streams.items() if view.definition.gateway == gateway]

    async def look(
        self, devices: Sequence[str], streams: Sequence[str], *, at_least: int = 0, elsewhere: bool = False
    ) -> Looked:
        self._reach()
        return Looked(
            self.height,
            {name: self.known_devices.get(name) for name in devices},
            {path: self.known_streams.get(path) for path in streams},
        )

    async def stream(self, path: str) -> StreamView | None:
        self._reach()
        return self.known_streams.get(path)

    @property
    def proved_height(self) -> int:
        return self.height

    async def anchored_under(self, path: str, sequence: int) -> StreamDefinition:
        self._reach()
        for row in self.rows.get(path, []):
            if row.first <= sequence < row.first + row.count:
                return row.definition
        raise LedgerError("ledger.unavailable", f"no message of {path} is anchored under sequence {sequence}")

    async def gas_price(self) -> int:
        self._reach()
        return self.price

    async def gateway_head(self, gateway: bytes, *, at_least: int = 0) -> GatewayHead:
        self._reach()
        return self.head

    async def submit(self, transaction: bytes) -> Submission:
        self._reach()
        self.submissions += 1
        result = self._execute(transaction)
        if self.forget_answers:
            self.forget_answers -= 1
            raise LedgerError("ledger.unavailable", "the connection broke before the answer")
        return result

    async def proof(self, stream: str, sequence: int) -> bytes:
        self._reach()
        for row in self.rows.get(stream, []):
            if row.first <= sequence < row.first + row.count and row.root in self.archive.batches:
                tree = self.archive.batches[row.root].batch.tree
                index = row.offset + sequence - row.first
                return encode([row.height, row.size, index, tree.path(index), row.root])
        raise LedgerRefusedError("proof.not_anchored", "no anchored message has this sequence")

    async def events(self, after: Cursor | None) -> AsyncIterator[LedgerEvent]:
        self._reach()
        seen = len(self.log) if after is None else sum(1 for event in self.log if event.cursor <= after)
        while True:
            while seen < len(self.log):
                self._reach()
                seen += 1
                yield self.log[seen - 1]
            await self.changed.wait()
            self._reach()

    def doubt(self, said: Said, reason: str) -> None:
        self.doubts.append(reason)

    async def close(self) -> None:
        pass

    def _reach(self) -> None:
        if self.away:
            raise LedgerError("ledger.unavailable", "no node answers")

    def _execute(self, data: bytes) -> Submission:
        try:
            signed = parse_transaction(data, self.genesis_hash)
        except ProtocolError as error:
            return Submission(bytes(32), error.code, error.message, None)
        (signature,) = signed.signatures
        key = self.gateway_key
        assert signature.kid == key_id(key.suite, key.public)
        assert verify(key.suite, key.public, signature.signed, signature.value)
        if signed.transaction.expiry <= self.time_s + self.lag_s:
            return Submission(signed.id, "tx.expired", "the transaction has expired", None)
        if signed.transaction.expiry > self.time_s + 600:
            return Submission(signed.id, "tx.expiry", "the transaction lives too long", None)
        if signed.transaction.fee < signed.transaction.gas_limit * self.price:
            return Submission(signed.id, "tx.fee", "the fee is too small", None)
        (anchor,) = signed.transaction.messages
        assert isinstance(anchor, Anchor)
        code = self._anchor(anchor)
        return Submission(signed.id, code, code, self.height)

    def _anchor(self, anchor: Anchor) -> str:
        head = self.head
        if anchor.number + 1 == head.next_number and anchor.root == head.last_root:
            self._emit("streams.anchored_before", anchor.gateway, anchor.number, anchor.root)
            return ""
        if anchor.number != head.next_number:
            return "streams.anchor_number"
        by_number = {view.definition.id: path for path, view in self.known_streams.items()}
        for entry in anchor.entries:
            view = self.known_streams[by_number[entry.stream]]
            if view.definition.gateway != anchor.gateway:
                return "streams.not_writer"
            if view.next_sequence != entry.first:
                return "streams.sequence"
        offset = 0
        height = self.height + 1
        for entry in anchor.entries:
            path = by_number[entry.stream]
            row = FakeRow(
                anchor.root, anchor.size, offset, entry.first, entry.count, height, self.known_streams[path].definition
            )
            self.rows.setdefault(path, []).append(row)
            view = self.known_streams[path]
            self.known_streams[path] = replace(view, next_sequence=entry.first + entry.count)
            offset += entry.count
        assert offset == anchor.size
        self.head = GatewayHead(anchor.number + 1, anchor.root, height)
        self._emit("streams.anchored", anchor.gateway, anchor.number, anchor.root, anchor.size, len(anchor.entries))
        return ""


_RAW = StreamSchema(content_type="application/octet-stream")
