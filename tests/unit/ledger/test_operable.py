"""No decision may lock the governors out: afterwards somebody can still decide, pay, sign and bundle."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from althing.ledger.runtime.errors import ModuleError
from althing.protocol.messages.governance import (
    AdmitOrganisation,
    GenesisOrganisation,
    Quota,
    SetOrganisation,
    SetParameters,
)
from althing.protocol.messages.identity import AccountStatus, Key, RotateKeys, SetAccountStatus
from althing.protocol.signatures import Suite
from althing.testing.harness import Actor, LedgerHarness, default_parameters, seeded_key

from .conftest import ROOMY, Town

LEAST = Quota(16_384, 1_000_000)


def standing(actor: Actor, **changes: Any) -> SetOrganisation:
    return replace(SetOrganisation(actor.address, None, None, None), **changes)


def parameters(town: Town, **changes: Any) -> SetParameters:
    present = town.view.parameters()
    return SetParameters(sha256(present.to_bytes()).digest(), replace(present, **changes))


def test_a_governor_keeps_quota_for_a_decision(town: Town) -> None:
    acme = town.chain.admin
    for quota in (Quota(0, 0), replace(LEAST, bytes=16_383), replace(LEAST, gas=999_999)):
        assert town.code(acme, standing(acme, quota=quota)) == "governance.quota"
        town.ok(acme, standing(town.cogs, quota=quota))  # others may be left without
        assert town.code(acme, standing(town.cogs, governor=True)) == "governance.quota"
        assert town.code(acme, town.admit("poor", Actor.seeded("poor"), governor=True, quota=quota)) == (
            "governance.quota"
        )
    town.ok(acme, standing(acme, quota=LEAST))
    town.chain.block(seconds=60)
    # And with the least quota it can still decide.
    data = town.chain.sign(acme, standing(acme, quota=ROOMY), gas=LEAST.gas)
    assert town.chain.block(data)[0].ok


def test_the_last_node_stays(town: Town) -> None:
    """Bolt's node bundles as well as acme's does, until one of the two is the last."""
    chain = town.chain
    acme = chain.admin
    town.ok(acme, standing(town.bolt, suspended=True))
    for status in (AccountStatus.SUSPENDED, AccountStatus.CLOSED):
        assert town.code(acme, SetAccountStatus(chain.node.address, status)) == "governance.last_node"
        assert town.code(chain.node, SetAccountStatus(chain.node.address, AccountStatus.CLOSED)) == (
            "governance.last_node"
        )
    town.ok(acme, standing(town.bolt, suspended=False))
    town.ok(acme, standing(town.bolt, quota=Quota(1, 1)))
    assert town.code(acme, SetAccountStatus(chain.node.address, AccountStatus.CLOSED)) == "governance.last_node"
    town.ok(acme, standing(town.bolt, quota=ROOMY))
    # Again and again: a status that stays counts once.
    for _ in range(2):
        town.ok(town.bolt, SetAccountStatus(town.bolt_node.address, AccountStatus.SUSPENDED))
    assert town.code(acme, SetAccountStatus(chain.node.address, AccountStatus.SUSPENDED)) == "governance.last_node"
    for _ in range(2):
        town.ok(town.bolt, SetAccountStatus(town.bolt_node.address, AccountStatus.ACTIVE))
    town.ok(acme, SetAccountStatus(chain.node.address, AccountStatus.SUSPENDED))
    chain.node = town.bolt_node
    assert town.code(acme, standing(town.bolt, suspended=True)) == "governance.last_node"


def test_decisions_fit_into_one_transaction(town: Town) -> None:
    """Sixteen signers and sixty-four signatures are what a transaction takes."""
    acme = town.chain.admin
    assert town.code(acme, parameters(town, tx_bytes_max=16_383)) == "governance.parameters"
    town.ok(acme, parameters(town, tx_bytes_max=16_384))
    for number in range(16):
        town.ok(acme, town.admit(f"governor-{number}", Actor.seeded(f"governor {number}"), governor=True))
    assert town.code(acme, parameters(town, governors_threshold=17)) == "governance.threshold"
    town.ok(acme, parameters(town, governors_threshold=16))


def test_governors_keys_leave_room_for_their_signatures(town: Town) -> None:
    """Four governors of fifteen signatures each leave four for the fifth."""
    acme = town.chain.admin
    for number in range(4):
        keys = tuple(Key(Suite.ED25519, seeded_key(f"{number} of {i}").public) for i in range(16))
        town.ok(acme, AdmitOrganisation(GenesisOrganisation(f"governor-{number}", True, 15 + number // 3, keys, ROOMY)))
    many = tuple(Key(Suite.ED25519, seeded_key(f"many {i}").public) for i in range(4))
    town.ok(acme, parameters(town, governors_threshold=5))
    assert town.code(acme, RotateKeys(acme.address, many, None, (), False, 4)) == "governance.threshold"
    town.ok(acme, RotateKeys(acme.address, many, None, (), False, 3))


def test_organisations_are_counted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("althing.ledger.modules.governance.module.ORGANISATIONS_MAX", 4)
    acme = town.chain.admin
    town.ok(acme, town.admit("fourth", Actor.seeded("fourth")))
    assert town.code(acme, town.admit("fifth", Actor.seeded("fifth"))) == "governance.organisations"


def test_a_genesis_that_nobody_could_govern_is_refused() -> None:
    with pytest.raises(ModuleError, match=r"governance\.quota"):
        LedgerHarness(quota=Quota(0, 0))
    with pytest.raises(ModuleError, match=r"governance\.parameters"):
        LedgerHarness(parameters=replace(default_parameters(), tx_bytes_max=2_000))
