"""Handlers of `streams`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from althing.ledger.modules.streams.needs import Accounts, Devices
from althing.ledger.modules.streams.state import (
    COUNT,
    DEFINITIONS,
    GATEWAYS,
    HEADS,
    NUMBERS,
    SCHEMAS,
    Number,
    log_name,
    own_number,
)
from althing.ledger.runtime import logs
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.module import Handler, Migration
from althing.protocol.address import is_name
from althing.protocol.hashing import sha256
from althing.protocol.limits import DEFINITION_BYTES_MAX
from althing.protocol.merkle import EMPTY_ROOT
from althing.protocol.messages.devices import DeviceState
from althing.protocol.messages.governance import Genesis
from althing.protocol.messages.identity import AccountKind, Role
from althing.protocol.messages.streams import (
    Anchor,
    AnchorRow,
    DefineStream,
    GatewayHead,
    HandOver,
    StreamDefinition,
    StreamHead,
    UpdateStream,
)

__all__ = ["StreamsModule"]


class StreamsModule:
    """Streams and their anchors."""

    name: Final = "streams"
    version: Final = 1

    def __init__(self, accounts: Accounts, devices: Devices) -> None:
        self._accounts = accounts
        self._devices = devices
        self.handlers: Mapping[type, Handler] = {
            DefineStream: self._define,
            UpdateStream: self._update,
            HandOver: self._hand_over,
            Anchor: self._anchor,
        }
        self.migrations: Mapping[int, Migration] = {}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        """A chain begins without streams."""

    def _define(self, ctx: Context, message: DefineStream) -> None:
        device = self._devices.device(ctx.state, message.device)
        if device is None:
            raise ModuleError("streams.device", f"there is no device {message.device}", hint="register it first")
        self._accounts.require(ctx, device.organisation, Role.DEVICES)
        if device.state == DeviceState.RETIRED:
            raise ModuleError("streams.device", f"device {message.device} is retired")
        self._check_gateway(ctx, message.gateway)
        path = f"{message.device}/{message.name}"
        if ctx.get(NUMBERS, path.encode("ascii")) is not None:
            raise ModuleError("streams.exists", f"there is a stream {path} already", hint="use streams.update")
        count = ctx.get(COUNT, b"") or Number(0)
        definition = StreamDefinition(
            version=1,
            id=count.value,
            device=message.device,
            device_address=device.address,
            name=message.name,
            organisation=device.organisation,
            gateway=message.gateway,
            schema_version=0,
            schema=message.schema,
            defined_at=ctx.block.time_s,
        )
        own = own_number(count.value)
        ctx.put(COUNT, b"", Number(count.value + 1))
        ctx.put(NUMBERS, path.encode("ascii"), Number(count.value))
        ctx.put(DEFINITIONS, own, definition)
        ctx.put(HEADS, own, StreamHead(0, 0, EMPTY_ROOT, _hash(ctx, definition)))
        ctx.emit("streams.defined", count.value, path, message.gateway)

    def _update(self, ctx: Context, message: UpdateStream) -> None:
        definition = self._existing(ctx, message.stream)
        self._accounts.require(ctx, definition.organisation, Role.DEVICES)
        own = own_number(definition.id)
        ctx.put(SCHEMAS, own + definition.schema_version.to_bytes(4, "big"), definition)
        changed = replace(definition, schema=message.schema, schema_version=definition.schema_version + 1)
        self._redefine(ctx, changed)
        ctx.emit("streams.updated", definition.id, changed.schema_version)

    def _hand_over(self, ctx: Context, message: HandOver) -> None:
        definition = self._existing(ctx, message.stream)
        if definition.gateway not in ctx.signers:
            self._accounts.require(ctx, definition.organisation, Role.DEVICES)
        self._check_gateway(ctx, message.gateway)
        head = ctx.get(HEADS, own_number(definition.id))
        assert head is not None
        # Naming the sequence makes the hand-over fail rather than race with an anchor still under way.
        if head.next_sequence != message.next_sequence:
            raise ModuleError(
                "streams.sequence",
                f"the stream's next sequence is {head.next_sequence}, not {message.next_sequence}",
                hint="wait for the gateway's last anchor",
            )
        self._redefine(ctx, replace(definition, gateway=message.gateway))
        ctx.emit("streams.handed_over", definition.id, message.gateway, message.next_sequence)

    def _anchor(self, ctx: Context, message: Anchor) -> None:
        """Anchor a batch.

        1. The gateway itself signs, and its account is a gateway's.
        2. `number` is its next one; the last number with the last root again is a success that changes nothing.
        3. Entries are in ascending order of stream number and cover the batch without gap or overlap.
        4. Each stream is written by this gateway, and each entry begins at the stream's next sequence.
        5. Each stream's log gets its row; head and gateway move on.
        """
        # 1
        if message.gateway not in ctx.signers:
            raise ModuleError("auth.gateway", "an anchor is signed by its gateway")
        account = self._accounts.account(ctx.state, message.gateway)
        if account is None or account.kind != AccountKind.GATEWAY:
            raise ModuleError("streams.gateway", "the signer's account is not a gateway's")
        # 2
        gateway = ctx.get(GATEWAYS, message.gateway) or GatewayHead(0, bytes(32), 0)
        if message.number + 1 == gateway.next_number and message.root == gateway.last_root:
            ctx.emit("streams.anchored_before", message.gateway, message.number, message.root)
            return
        if message.number != gateway.next_number:
            raise ModuleError(
                "streams.anchor_number", f"the gateway's next anchor is {gateway.next_number}, not {message.number}"
            )
        # 3
        if sum(entry.count for entry in message.entries) != message.size:
            raise ModuleError("streams.anchor_table", "the entries do not cover the batch")
        last = -1
        offset = 0
        for entry in message.entries:
            if entry.stream <= last:
                raise ModuleError("streams.anchor_table", "entries are in ascending order of stream number, each once")
            last = entry.stream
            # 4
            own = own_number(entry.stream)
            definition = ctx.get(DEFINITIONS, own)
            head = ctx.get(HEADS, own)
            if definition is None or head is None:
                raise ModuleError("streams.unknown", f"there is no stream number {entry.stream}")
            if definition.gateway != message.gateway:
                raise ModuleError("streams.not_writer", f"stream {definition.path} is written by another gateway")
            if entry.first != head.next_sequence:
                raise ModuleError(
                    "streams.sequence",
                    f"stream {definition.path} goes on at sequence {head.next_sequence}, not {entry.first}",
                )
            # 5
            row = AnchorRow(
                1,
                message.root,
                message.size,
                offset,
                entry.first,
                entry.count,
                ctx.block.height,
                ctx.block.time_ns,
                message.gateway,
                definition.schema_version,
            )
            ctx.gas.charge(ctx.gas.prices.log_append)
            size, root = logs.append(ctx.state, log_name(entry.stream), head.log_size, head.log_root, row.to_bytes())
            moved = replace(head, next_sequence=entry.first + entry.count, log_size=size, log_root=root)
            ctx.put(HEADS, own, moved)
            offset += entry.count
        ctx.put(GATEWAYS, message.gateway, GatewayHead(message.number + 1, message.root, ctx.block.height))
        ctx.emit("streams.anchored", message.gateway, message.number, message.root, message.size, len(message.entries))

    def _existing(self, ctx: Context, path: str) -> StreamDefinition:
        number = ctx.get(NUMBERS, path.encode("ascii")) if _is_path(path) else None
        if number is None:
            raise ModuleError("streams.unknown", f"there is no stream {path}", hint="define it first")
        definition = ctx.get(DEFINITIONS, own_number(number.value))
        assert definition is not None
        return definition

    def _redefine(self, ctx: Context, definition: StreamDefinition) -> None:
        own = own_number(definition.id)
        head = ctx.get(HEADS, own)
        assert head is not None
        ctx.put(DEFINITIONS, own, definition)
        ctx.put(HEADS, own, replace(head, definition_hash=_hash(ctx, definition)))

    def _check_gateway(self, ctx: Context, gateway: bytes) -> None:
        account = self._accounts.account(ctx.state, gateway)
        if account is None or account.kind != AccountKind.GATEWAY:
            raise ModuleError("streams.gateway", "the gateway has no gateway account", hint="create it first")


def _hash(ctx: Context, definition: StreamDefinition) -> bytes:
    data = definition.to_bytes()
    # A short message can have a long definition encoded and hashed again: it pays for that by the byte.
    ctx.gas.charge(ctx.gas.prices.byte * len(data))
    # Every proof carries the definition, and its form bounds it.
    if len(data) > DEFINITION_BYTES_MAX:
        raise ModuleError("streams.too_large", f"a stream's definition has at most {DEFINITION_BYTES_MAX} bytes")
    return sha256(data)


def _is_path(path: str) -> bool:
    device, _, stream = path.partition("/")
    return is_name(device) and is_name(stream)
