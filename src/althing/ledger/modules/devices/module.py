"""Handlers of `devices`, and what it offers to other modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from althing.ledger.modules.devices.needs import Accounts
from althing.ledger.modules.devices.state import DEVICES
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import ModuleError
from althing.ledger.runtime.module import Handler, Migration
from althing.ledger.runtime.overlay import State
from althing.protocol.address import address_of_name
from althing.protocol.limits import METADATA_BYTES_MAX
from althing.protocol.messages.devices import (
    BindGateway,
    Device,
    DeviceState,
    RegisterDevice,
    SetDeviceState,
    SetMetadata,
)
from althing.protocol.messages.governance import Genesis
from althing.protocol.messages.identity import AccountKind, AccountStatus, Role

__all__ = ["DevicesModule"]

_ACCOUNT_STATUS: Final = {
    DeviceState.ACTIVE: AccountStatus.ACTIVE,
    DeviceState.SUSPENDED: AccountStatus.SUSPENDED,
    DeviceState.RETIRED: AccountStatus.CLOSED,
}


class DevicesModule:
    """The register of devices."""

    name: Final = "devices"
    version: Final = 1

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.handlers: Mapping[type, Handler] = {
            RegisterDevice: self._register,
            SetDeviceState: self._set_state,
            BindGateway: self._bind_gateway,
            SetMetadata: self._set_metadata,
        }
        self.migrations: Mapping[int, Migration] = {}

    def genesis(self, ctx: Context, genesis: Genesis) -> None:
        """A chain begins without devices."""

    def device(self, state: State, name: str) -> Device | None:
        return DEVICES.get(state, name.encode("ascii"))

    def _register(self, ctx: Context, message: RegisterDevice) -> None:
        self._accounts.require(ctx, message.organisation, Role.DEVICES)
        own = message.name.encode("ascii")
        if ctx.get(DEVICES, own) is not None:
            raise ModuleError("devices.name_taken", f"there is a device {message.name} already", hint="choose another")
        self._check_gateway(ctx, message.gateway)
        _check_metadata(message.metadata)
        if message.key is None:
            address = address_of_name(message.organisation, "device", message.name)
        else:
            address = self._accounts.new_address(ctx, message.organisation, message.key)
        self._accounts.create(
            ctx,
            address=address,
            kind=AccountKind.DEVICE,
            organisation=message.organisation,
            name=message.name,
            roles=(),
            threshold=0 if message.key is None else 1,
            keys=() if message.key is None else (message.key,),
        )
        device = Device(
            1,
            message.name,
            address,
            message.organisation,
            message.gateway,
            DeviceState.ACTIVE,
            ctx.block.time_s,
            message.metadata,
        )
        ctx.put(DEVICES, own, device)
        # Signed by the device itself too, or by its organisation alone: outsiders may want to know which.
        ctx.emit("devices.registered", message.name, address, message.organisation, address in ctx.signers)

    def _set_state(self, ctx: Context, message: SetDeviceState) -> None:
        device = self._existing(ctx, message.name)
        self._accounts.require(ctx, device.organisation, Role.DEVICES)
        if device.state == DeviceState.RETIRED:
            raise ModuleError("devices.retired", "a retired device stays retired", hint="register it under a new name")
        ctx.put(DEVICES, message.name.encode("ascii"), replace(device, state=message.state))
        self._accounts.close(ctx, device.address, _ACCOUNT_STATUS[message.state])
        ctx.emit("devices.state", message.name, int(message.state), message.reason)

    def _bind_gateway(self, ctx: Context, message: BindGateway) -> None:
        device = self._existing(ctx, message.name)
        self._accounts.require(ctx, device.organisation, Role.DEVICES)
        self._check_gateway(ctx, message.gateway)
        ctx.put(DEVICES, message.name.encode("ascii"), replace(device, gateway=message.gateway))
        ctx.emit("devices.gateway", message.name, message.gateway)

    def _set_metadata(self, ctx: Context, message: SetMetadata) -> None:
        device = self._existing(ctx, message.name)
        if device.address not in ctx.signers:
            self._accounts.require(ctx, device.organisation, Role.DEVICES)
        _check_metadata(message.metadata)
        ctx.put(DEVICES, message.name.encode("ascii"), replace(device, metadata=message.metadata))
        ctx.emit("devices.metadata", message.name)

    def _existing(self, ctx: Context, name: str) -> Device:
        device = ctx.get(DEVICES, name.encode("ascii"))
        if device is None:
            raise ModuleError("devices.unknown", f"there is no device {name}", hint="register it first")
        return device

    def _check_gateway(self, ctx: Context, gateway: bytes | None) -> None:
        if gateway is None:
            return
        account = self._accounts.account(ctx.state, gateway)
        if account is None or account.kind != AccountKind.GATEWAY:
            raise ModuleError("devices.gateway", "the gateway has no gateway account", hint="create it first")


def _check_metadata(metadata: tuple[tuple[str, str], ...]) -> None:
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata)
    if size > METADATA_BYTES_MAX:
        raise ModuleError("devices.metadata", f"a device's metadata have at most {METADATA_BYTES_MAX} bytes")
