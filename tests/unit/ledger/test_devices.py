"""Devices: three ways to register one, its life, its gateway, its metadata."""

from __future__ import annotations

from dataclasses import replace

import pytest

from althing.ledger.runtime.errors import NotFoundError
from althing.protocol.address import address_of_name, key_id
from althing.protocol.messages.devices import (
    BindGateway,
    DeviceState,
    RegisterDevice,
    SetDeviceState,
    SetMetadata,
)
from althing.protocol.messages.identity import (
    AccountKind,
    AccountStatus,
    Key,
    RotateKeys,
    SetAccountStatus,
    SetAttribute,
)
from althing.protocol.signatures import Suite
from althing.testing.harness import Actor, seeded_key

from .conftest import Town

PUMP = Actor.seeded("pump", Suite.ES256)


def register(town: Town, name: str = "pump", key: Key | None = None, **changes: object) -> RegisterDevice:
    return replace(RegisterDevice(name, town.chain.admin.address, key, None, ()), **changes)  # type: ignore[arg-type]


def test_registered_by_its_organisation(town: Town) -> None:
    chain = town.chain
    message = register(town, key=PUMP.public, gateway=chain.gateway.address, metadata=(("model", "x"),))
    assert town.code(town.bolt, message) == "auth.organisation"
    receipt = town.ok(town.clerk, message)  # with the role for devices
    pump = PUMP.under(chain.admin)
    assert receipt.events[-1].values == ("pump", pump.address, chain.admin.address, False)
    device = town.view.device("pump")
    assert (device.address, device.state, device.gateway) == (pump.address, DeviceState.ACTIVE, chain.gateway.address)
    assert (device.registered_at, device.metadata) == (chain.time_s, (("model", "x"),))
    account = town.of(pump)
    assert (account.kind, account.name, account.organisation) == (AccountKind.DEVICE, "pump", chain.admin.address)
    town.ok(pump, SetMetadata("pump", ()))


def test_registered_by_itself_and_cosigned(town: Town) -> None:
    chain = town.chain
    message = register(town, key=PUMP.public)
    assert town.code(PUMP, message) == "tx.unknown_account"  # nobody pays
    receipt = town.ok([chain.admin, PUMP], message)
    assert receipt.events[-1].values[-1] is True
    assert town.view.device("pump").address == PUMP.address


def test_the_cosigning_device_proves_that_it_has_the_key(town: Town) -> None:
    chain, other = town.chain, Actor.seeded("other")
    forged = Actor(other.key, PUMP.address)
    data = chain.sign([chain.admin, forged], register(town, key=PUMP.public))
    assert chain.block(data)[0].code == "tx.unknown_key"
    assert town.code([chain.admin, PUMP], SetAttribute(chain.admin.address, "a", "b")) == "tx.unknown_account"


def test_a_device_without_a_key(town: Town) -> None:
    chain = town.chain
    town.ok(chain.admin, register(town, "legacy"))
    device = town.view.device("legacy")
    assert device.address == address_of_name(chain.admin.address, "device", "legacy")
    account = town.view.account(device.address)
    assert (account.threshold, account.keys) == (0, ())
    silent = Actor(seeded_key("whoever"), device.address)
    assert town.code(silent, SetMetadata("legacy", ())) == "tx.keyless"
    assert town.code(chain.admin, RotateKeys(device.address, (PUMP.public,), None, (), False, None)) == (
        "identity.threshold"
    )
    town.ok(chain.admin, RotateKeys(device.address, (PUMP.public,), None, (), False, 1))
    town.ok(Actor(PUMP.key, device.address), SetMetadata("legacy", ()))


def test_collisions(town: Town) -> None:
    chain = town.chain
    town.ok(chain.admin, register(town, key=PUMP.public))
    assert town.code(chain.admin, register(town)) == "devices.name_taken"
    assert town.code(chain.admin, register(town, "other", PUMP.public)) == "identity.exists"
    both = [chain.admin, chain.gateway]
    assert town.code(both, register(town, "other", chain.gateway.public)) == "identity.exists"
    assert town.code(chain.admin, register(town, "other", Key(Suite.ED25519, bytes(32)))) == "key.weak"
    twins = town.chain.block(
        chain.sign(chain.admin, register(town, "twin")), chain.sign(chain.admin, register(town, "twin"))
    )
    assert [r.code for r in twins] == ["", "devices.name_taken"]


def test_a_gateway_is_a_gateways_account(town: Town) -> None:
    acme = town.chain.admin
    for address in (bytes(20), acme.address, town.clerk.address):
        assert town.code(acme, register(town, gateway=address)) == "devices.gateway"
    town.device("pump")
    assert town.code(acme, BindGateway("pump", town.clerk.address)) == "devices.gateway"
    assert town.code(acme, BindGateway("none", None)) == "devices.unknown"
    assert town.code(town.bolt, BindGateway("pump", None)) == "auth.organisation"
    town.ok(acme, BindGateway("pump", town.chain.gateway.address))
    assert town.view.device("pump").gateway == town.chain.gateway.address
    town.ok(acme, BindGateway("pump", None))
    assert town.view.device("pump").gateway is None


def test_its_life(town: Town) -> None:
    acme = town.chain.admin
    town.device("pump", PUMP)

    def state(wanted: DeviceState) -> SetDeviceState:
        return SetDeviceState("pump", wanted, "why")

    assert town.code(PUMP, state(DeviceState.SUSPENDED)) == "auth.organisation"
    assert town.code(acme, SetDeviceState("none", DeviceState.ACTIVE, "")) == "devices.unknown"
    town.ok(acme, state(DeviceState.SUSPENDED))
    assert town.of(PUMP).status == AccountStatus.SUSPENDED
    assert town.code(PUMP, SetMetadata("pump", ())) == "tx.suspended"
    assert town.code(acme, SetAccountStatus(PUMP.address, AccountStatus.ACTIVE)) == "identity.kind"
    town.ok(acme, state(DeviceState.ACTIVE))
    town.ok(PUMP, SetMetadata("pump", ()))
    town.ok(acme, state(DeviceState.RETIRED))
    assert town.of(PUMP).status == AccountStatus.CLOSED
    for wanted in DeviceState:
        assert town.code(acme, state(wanted)) == "devices.retired"
    assert town.code(acme, register(town)) == "devices.name_taken"
    # Its keys stay on record, and may still be marked as compromised.
    other = Actor.seeded("replacement")
    end = (key_id(PUMP.key.suite, PUMP.key.public),)
    town.ok(acme, RotateKeys(PUMP.address, (other.public,), None, end, True, None))
    assert town.of(PUMP).keys[0].revoked_at == town.chain.time_s


def test_metadata(town: Town) -> None:
    town.device("pump", PUMP)
    acme = town.chain.admin
    assert town.code(town.bolt, SetMetadata("pump", ())) == "auth.organisation"
    assert town.code(acme, SetMetadata("none", ())) == "devices.unknown"
    full = tuple((f"k{i}", "ü" * 510) for i in range(4))  # 4 × (2 + 1020) bytes
    town.ok(acme, SetMetadata("pump", (*full, ("z", "1234567"))))
    assert town.code(acme, SetMetadata("pump", (*full, ("z", "12345678")))) == "devices.metadata"
    assert town.code(acme, register(town, "big", metadata=(*full, ("z", "12345678")))) == "devices.metadata"
    assert town.view.device("pump").metadata[-1] == ("z", "1234567")


def test_queries(town: Town) -> None:
    for name in ("a", "b", "c"):
        town.device(name)
    view = town.view
    assert [d.name for d in view.devices(None, 2)] == ["a", "b"]
    assert [d.name for d in view.devices("b", 2)] == ["c"]
    assert view.devices("zz", 2) == []
    assert [d.name for d in view.devices("ü" * 1000, 9)] == []
    for name in ("none", "NONE", "", "ü", "x" * 1000):
        assert view.streams_of(name) == []
        with pytest.raises(NotFoundError, match=r"query\.device"):
            view.device(name)
