"""Messages and records of `devices`: registration, state, gateway binding and metadata."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from althing.protocol.messages.identity import KEY, Key
from althing.protocol.record import ADDRESS, NAME, UINT, Form, Record, integer, mapping, of, optional, text

__all__ = [
    "MESSAGES",
    "BindGateway",
    "Device",
    "DeviceState",
    "RegisterDevice",
    "SetDeviceState",
    "SetMetadata",
]


class DeviceState(IntEnum):
    """Life of a device. Only `ACTIVE` devices' messages are accepted by gateways."""

    ACTIVE = 0
    SUSPENDED = 1
    RETIRED = 2


STATE: Final = Form(int, lambda item: DeviceState(integer(0, 2).unpack(item)))
METADATA: Final = mapping(32, key_chars=63, value_chars=1024)


@dataclass(frozen=True, slots=True)
class Device(Record):
    """State of a device. Its keys are in the account at `address`; a device that cannot sign has an account without keys."""

    version: int = of(integer(1, 1))
    name: str = of(NAME)
    address: bytes = of(ADDRESS)
    organisation: bytes = of(ADDRESS)
    gateway: bytes | None = of(optional(ADDRESS))
    state: DeviceState = of(STATE)
    registered_at: int = of(UINT)
    metadata: tuple[tuple[str, str], ...] = of(METADATA)


@dataclass(frozen=True, slots=True)
class RegisterDevice(Record):
    """Register a device under a name unique on the chain; signed by its organisation, or by device and organisation.

    With `key` None the device cannot sign and its gateway attests its messages. When the key's address is among the
    transaction's signers, the device has registered itself, co-signed by the organisation, and has this address; else
    its address is derived from the organisation too.
    """

    TYPE: ClassVar[str] = "devices.register"
    name: str = of(NAME)
    organisation: bytes = of(ADDRESS)
    key: Key | None = of(optional(KEY))
    gateway: bytes | None = of(optional(ADDRESS))
    metadata: tuple[tuple[str, str], ...] = of(METADATA)


@dataclass(frozen=True, slots=True)
class SetDeviceState(Record):
    """Suspend, reactivate or retire a device; retired is for ever. Open sessions end with the block that decides."""

    TYPE: ClassVar[str] = "devices.set_state"
    name: str = of(NAME)
    state: DeviceState = of(STATE)
    reason: str = of(text(0, 256))


@dataclass(frozen=True, slots=True)
class BindGateway(Record):
    """Name the gateway that speaks for the device (None: none); signed by the device's organisation."""

    TYPE: ClassVar[str] = "devices.bind_gateway"
    name: str = of(NAME)
    gateway: bytes | None = of(optional(ADDRESS))


@dataclass(frozen=True, slots=True)
class SetMetadata(Record):
    """Replace the device's metadata (type, place, model, …); by the device or its organisation."""

    TYPE: ClassVar[str] = "devices.set_metadata"
    name: str = of(NAME)
    metadata: tuple[tuple[str, str], ...] = of(METADATA)


MESSAGES: Final = (RegisterDevice, SetDeviceState, BindGateway, SetMetadata)
