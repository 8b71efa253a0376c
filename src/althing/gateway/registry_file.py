"""The registry's copy on the disk, so that a gateway that starts while the ledger is away still knows its devices."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import cbor2
import structlog

from althing.gateway.ledger import DeviceView, StreamView
from althing.gateway.spool.segment import write_atomically
from althing.protocol.errors import AlthingError
from althing.protocol.messages.devices import DeviceState
from althing.protocol.messages.identity import AccountStatus, KeyEntry
from althing.protocol.messages.streams import StreamDefinition

__all__ = ["RegistryFile", "Saved"]

_log = structlog.get_logger("althing.gateway.registry")
_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class Saved:
    """A view as of `confirmed_ns`, by the gateway's clock."""

    genesis_hash: bytes
    cursor: tuple[int, int]
    time_s: int
    confirmed_ns: int
    devices: tuple[DeviceView, ...]
    streams: tuple[StreamView, ...]


class RegistryFile:
    """One file, replaced whole. A damaged one is as good as none: the ledger has the truth."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, saved: Saved) -> None:
        item = [
            _VERSION,
            saved.genesis_hash,
            list(saved.cursor),
            saved.time_s,
            saved.confirmed_ns,
            [_device_item(device) for device in saved.devices],
            [[stream.definition.to_item(), stream.next_sequence] for stream in saved.streams],
        ]
        data: bytes = cbor2.dumps(item)
        write_atomically(self._path, sha256(data).digest() + data)

    def load(self) -> Saved | None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        if sha256(data[32:]).digest() != data[:32]:
            _log.warning("registry file damaged", path=str(self._path))
            return None
        item = cbor2.loads(data[32:])
        if item[0] != _VERSION:
            return None
        _, genesis_hash, cursor, time_s, confirmed_ns, devices, streams = item
        try:
            return Saved(
                genesis_hash,
                (cursor[0], cursor[1]),
                time_s,
                confirmed_ns,
                tuple(_device(item) for item in devices),
                tuple(StreamView(StreamDefinition.from_item(own), following) for own, following in streams),
            )
        except AlthingError as error:
            _log.warning("registry file of another version", path=str(self._path), code=error.code)
            return None


def _device_item(device: DeviceView) -> list[Any]:
    keys = [entry.to_item() for entry in device.keys]
    return [
        device.name,
        device.address,
        device.organisation,
        device.gateway,
        int(device.state),
        int(device.status),
        keys,
        device.member,
    ]


def _device(item: list[Any]) -> DeviceView:
    name, address, organisation, gateway, state, status, keys, member = item
    return DeviceView(
        name,
        address,
        organisation,
        gateway,
        DeviceState(state),
        AccountStatus(status),
        tuple(KeyEntry.from_item(key) for key in keys),
        member,
    )
