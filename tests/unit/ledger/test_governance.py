"""Members, parameters, validators and upgrades: who decides, and what no decision can break."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from althing.ledger.app import Ledger
from althing.ledger.assembly import Rulebook, Rules, version_1
from althing.ledger.modules.identity.state import ATTRIBUTES, Attribute
from althing.ledger.modules.streams.module import StreamsModule
from althing.ledger.runtime.context import Context
from althing.ledger.runtime.errors import HaltError, ModuleError
from althing.protocol.errors import EncodingError
from althing.protocol.messages.governance import (
    VALIDATORS_MAX,
    GenesisNode,
    GenesisOrganisation,
    GenesisValidator,
    Parameters,
    Quota,
    ScheduleUpgrade,
    SetOrganisation,
    SetParameters,
    SetValidator,
    Upgrade,
    Validator,
)
from althing.protocol.messages.identity import SetAttribute
from althing.storage.memory import MemoryBackend
from althing.testing.harness import Actor, LedgerHarness, default_parameters, seeded_key

from .conftest import ROOMY, Town

VALIDATORS = [seeded_key(f"validator {i}").public for i in range(3)]


def standing(actor: Actor, **changes: Any) -> SetOrganisation:
    return replace(SetOrganisation(actor.address, None, None, None), **changes)


def parameters(town: Town, **changes: Any) -> SetParameters:
    present = town.view.parameters()
    return SetParameters(sha256(present.to_bytes()).digest(), replace(present, **changes))


def validator(town: Town, public: bytes, power: int) -> SetValidator:
    return SetValidator(Validator(public, power, town.chain.admin.address))


def updates(chain: LedgerHarness) -> list[tuple[bytes, int]]:
    return [(v.public, v.power) for v in chain.blocks[-1].result.validators]


def two_of_three(town: Town) -> None:
    """Acme and bolt govern, cogs later; two must agree."""
    town.ok(town.chain.admin, standing(town.bolt, governor=True), standing(town.cogs, governor=True))
    town.ok(town.chain.admin, parameters(town, governors_threshold=2))


# --- who decides ------------------------------------------------------------------------------------------------------


def test_only_governors_decide(town: Town) -> None:
    new = Actor.seeded("new")
    for message in (
        town.admit("new", new),
        standing(town.bolt, governor=True),
        parameters(town, gas_price_min=1),
        validator(town, VALIDATORS[0], 1),
        ScheduleUpgrade(None),
    ):
        for actors in ([town.bolt], [town.clerk], [town.bolt, town.cogs, town.clerk]):
            assert town.code(list(actors), message) == "auth.governors"


def test_as_many_governors_as_the_threshold_says(town: Town) -> None:
    acme, new = town.chain.admin, Actor.seeded("new")
    two_of_three(town)
    admit = town.admit("new", new)
    assert town.code(acme, admit) == "auth.governors"
    assert town.code([acme, town.clerk], admit) == "auth.governors"
    town.ok([town.bolt, town.cogs], admit)
    town.ok([acme, town.bolt], standing(town.cogs, suspended=True))
    assert town.code([acme, town.bolt], standing(town.bolt, suspended=True)) == "governance.threshold"
    assert town.code([acme, town.bolt], standing(town.bolt, governor=False)) == "governance.threshold"
    assert town.code([acme, town.bolt], parameters(town, governors_threshold=3)) == "governance.threshold"
    town.ok([acme, town.bolt], parameters(town, governors_threshold=1))


def test_admitting(town: Town) -> None:
    acme, new = town.chain.admin, Actor.seeded("new")
    assert town.code(acme, town.admit("bolt", new)) == "governance.name_taken"
    assert town.code([acme, town.bolt], town.admit("new", town.bolt)) == "identity.exists"
    assert town.code([acme, town.clerk], town.admit("new", town.clerk)) == "identity.exists"
    town.ok([acme, new], town.admit("new", new))
    organisation = town.view.organisation_by_name("new")
    assert organisation is not None
    assert organisation.address == new.address
    assert [o.name for o in town.view.organisations()].count("new") == 1
    town.ok(new, SetAttribute(new.address, "a", "b"))
    assert town.code(acme, standing(Actor.seeded("nobody"), governor=True)) == "governance.unknown"
    assert town.view.organisation_by_name("NEW") is None


# --- parameters -------------------------------------------------------------------------------------------------------


def test_two_changes_of_parameters_cannot_cross(town: Town) -> None:
    acme = town.chain.admin
    first, second = parameters(town, tx_lifetime_max_s=700), parameters(town, quota_window_s=30)
    town.ok(acme, first)
    assert town.code(acme, second) == "governance.crossed"
    assert town.code(acme, first) == "governance.crossed"
    town.ok(acme, parameters(town, quota_window_s=30))
    assert (town.view.parameters().tx_lifetime_max_s, town.view.parameters().quota_window_s) == (700, 30)


def test_parameters_hold_from_the_next_block_on(town: Town) -> None:
    """Within a block all transactions are judged by one set of rules."""
    chain = town.chain
    long = chain.sign(chain.admin, SetAttribute(chain.admin.address, "a", "b"), expiry=chain.time_s + 650)
    change = chain.sign(chain.admin, parameters(town, tx_lifetime_max_s=3600))
    assert [r.code for r in chain.block(change, long)] == ["", "tx.expiry"]
    assert chain.block(long)[0].ok


# --- validators -------------------------------------------------------------------------------------------------------


def test_validators_change_with_the_block_that_decides(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    town.ok(acme, validator(town, VALIDATORS[0], 5), validator(town, VALIDATORS[1], 3))
    assert updates(chain) == sorted([(VALIDATORS[0], 5), (VALIDATORS[1], 3)])
    town.ok(acme, validator(town, VALIDATORS[0], 7), validator(town, VALIDATORS[1], 3))
    assert updates(chain) == [(VALIDATORS[0], 7)]
    town.ok(acme, validator(town, VALIDATORS[1], 0))
    assert updates(chain) == [(VALIDATORS[1], 0)]
    town.ok(acme, SetAttribute(acme.address, "a", "b"))
    assert updates(chain) == []
    assert {v.public for v in town.view.validators()} == {chain.validator.public, VALIDATORS[0]}


def test_an_engine_is_never_told_to_remove_whom_it_does_not_know(town: Town) -> None:
    """CometBFT stops every node then: added and removed within one block must cancel out."""
    chain, acme = town.chain, town.chain.admin
    town.ok(acme, validator(town, VALIDATORS[0], 5), validator(town, VALIDATORS[0], 0))
    assert updates(chain) == []
    chain.block(
        chain.sign(acme, validator(town, VALIDATORS[1], 5)), chain.sign(acme, validator(town, VALIDATORS[1], 0))
    )
    assert updates(chain) == []
    chain.block(
        chain.sign(acme, validator(town, VALIDATORS[1], 5)),
        chain.sign(acme, validator(town, chain.validator.public, 0)),
        chain.sign(acme, validator(town, chain.validator.public, 10)),
    )
    assert updates(chain) == [(VALIDATORS[1], 5)]
    assert town.code(acme, validator(town, VALIDATORS[2], 0)) == "governance.validator"


def test_the_last_validator_stays(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    only = chain.validator.public
    assert town.code(acme, validator(town, only, 0)) == "governance.last_validator"
    town.ok(acme, validator(town, VALIDATORS[0], 1), validator(town, only, 0))
    assert town.code(acme, validator(town, VALIDATORS[0], 0)) == "governance.last_validator"


def test_validators_fit_a_proof(town: Town) -> None:
    acme = town.chain.admin
    keys = [seeded_key(f"many {i}").public for i in range(VALIDATORS_MAX)]
    town.ok(acme, *(validator(town, key, 1) for key in keys[: VALIDATORS_MAX - 1]))
    assert town.code(acme, validator(town, keys[-1], 1)) == "governance.validators"
    town.ok(acme, validator(town, keys[0], 0), validator(town, keys[-1], 1))


def test_validators_are_proper(town: Town) -> None:
    acme = town.chain.admin
    assert town.code(acme, validator(town, bytes(32), 1)) == "key.weak"
    stranger = SetValidator(Validator(VALIDATORS[0], 1, bytes(20)))
    assert town.code(acme, stranger) == "governance.unknown"


# --- upgrades ---------------------------------------------------------------------------------------------------------


class NewStreams(StreamsModule):
    """Streams of the next release: its migration writes a key, so that everyone can see it ran, and where."""

    version = 2  # type: ignore[misc]

    def __init__(self, old: StreamsModule, moved: list[int]) -> None:
        super().__init__(old._accounts, old._devices)
        self._moved = moved
        self.migrations = {1: self._migrate}

    def _migrate(self, ctx: Context) -> None:
        self._moved.append(ctx.block.height)
        ctx.put(ATTRIBUTES, b"\x00" * 20 + b"migrated", Attribute(str(ctx.block.height)))


def next_release(moved: list[int]) -> Rulebook:
    first, second = version_1(), version_1()
    ordered = tuple(NewStreams(one, moved) if isinstance(one, StreamsModule) else one for one in second.ordered)
    return Rulebook(first, Rules(2, second.governance, second.identity, ordered))


def upgrade(height: int, app_version: int = 2) -> ScheduleUpgrade:
    return ScheduleUpgrade(Upgrade(height, app_version, "release 2"))


def test_scheduling_upgrades(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    assert town.code(acme, ScheduleUpgrade(None)) == "governance.upgrade"
    assert town.code(acme, upgrade(chain.height + 2)) == "governance.upgrade"  # the block of this height + 1
    town.ok(acme, upgrade(chain.height + 3))
    town.ok(acme, ScheduleUpgrade(None))
    assert town.view.upgrade() is None
    assert town.code(acme, upgrade(chain.height + 10, 1)) == "governance.upgrade"
    for _ in range(5):
        town.ok(acme, SetAttribute(acme.address, "a", "b"))


def test_an_unprepared_node_halts_before_the_height(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    town.ok(acme, upgrade(chain.height + 4))
    chain.block()
    chain.block()
    before = (chain.ledger.height, chain.ledger.app_hash)
    for _ in range(2):
        with pytest.raises(HaltError, match=r"upgrade\.needed") as caught:
            chain.block()
        assert "release 2" in caught.value.hint
        chain.height -= 1
    assert (chain.ledger.height, chain.ledger.app_hash) == before
    chain.reopen()
    with pytest.raises(HaltError, match=r"upgrade\.needed"):
        chain.block()


def test_a_prepared_node_migrates_at_the_height_without_any_content(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    height = chain.height + 4
    town.ok(acme, upgrade(height))
    moved: list[int] = []
    chain.reopen(rulebook=next_release(moved))
    while chain.height < height - 1:
        chain.block()
    assert moved == []
    assert town.view.versions().app_version == 1
    chain.block()
    assert moved == [height]
    assert [block.result.app_version for block in chain.blocks[-4:]] == [None, None, 2, None]
    assert chain.blocks[-1].result.content
    assert town.view.versions().app_version == chain.ledger.app_version == 2
    modules = {"assets": 1, "devices": 1, "governance": 1, "identity": 1, "staking": 1, "streams": 2}
    assert dict(town.view.versions().modules) == modules
    assert town.view.upgrade() is None
    assert town.view.attributes(bytes(20)) == [("migrated", str(height))]
    chain.block()
    assert moved == [height]
    town.ok(acme, SetAttribute(acme.address, "a", "b"))
    assert town.code(acme, upgrade(chain.height + 10)) == "governance.upgrade"


def test_finalising_the_upgrade_twice_migrates_the_same(town: Town) -> None:
    chain = town.chain
    town.ok(chain.admin, upgrade(chain.height + 3))
    chain.reopen(rulebook=next_release([]))
    chain.block()
    chain.height += 1
    assert chain.finalize(()) == chain.finalize(())
    chain.ledger.commit()


def test_an_old_program_refuses_a_chain_that_has_gone_on(town: Town) -> None:
    """After the upgrade nothing in the schedule would stop it, and it would follow the old rules."""
    chain = town.chain
    town.ok(chain.admin, upgrade(chain.height + 3))
    chain.reopen(rulebook=next_release([]))
    chain.block()
    chain.block()
    with pytest.raises(HaltError, match=r"upgrade\.needed"):
        chain.reopen()


# --- genesis ----------------------------------------------------------------------------------------------------------


def founded(**changes: Any) -> Ledger:
    ledger = Ledger(MemoryBackend(), replace(LedgerHarness().genesis, **changes))
    ledger.init_chain()
    return ledger


def test_a_genesis_that_contradicts_itself_is_refused() -> None:
    acme, other = Actor.seeded("admin"), Actor.seeded("other")
    organisation = GenesisOrganisation("acme", True, 1, (acme.public,), ROOMY)
    many = replace(default_parameters(), governors_threshold=2)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("governance.threshold", {"parameters": many}),
        ("governance.threshold", {"organisations": (replace(organisation, governor=False),)}),
        ("governance.name_taken", {"organisations": (organisation, replace(organisation, keys=(other.public,)))}),
        ("identity.exists", {"organisations": (organisation, replace(organisation, name="other"))}),
        ("identity.threshold", {"organisations": (replace(organisation, threshold=2),)}),
        ("governance.validator", {"validators": (GenesisValidator(VALIDATORS[0], 1, "nobody"),)}),
        ("governance.node", {"nodes": (GenesisNode("n", "nobody", other.public),)}),
        ("identity.exists", {"nodes": (GenesisNode("n", "acme", acme.public),)}),
        ("governance.validator", {"validators": (GenesisValidator(VALIDATORS[0], 1, "acme"),) * 2}),
    ]
    for code, changes in cases:
        with pytest.raises(ModuleError) as caught:
            founded(**changes)
        assert caught.value.code == code
    with pytest.raises(HaltError, match=r"upgrade\.needed"):
        founded(app_version=2)


def test_genesis_begins_where_it_says() -> None:
    ledger = founded(initial_height=1000)
    assert ledger.height == 0
    done = ledger.finalize(1000, 1_700_000_001 * 10**9, bytes(32), ())
    ledger.commit()
    assert (ledger.height, ledger.app_hash) == (1000, done.app_hash)


def test_the_price_cannot_lock_the_chain() -> None:
    """The greatest price times the gas of a decision is still a fee that a transaction can name."""
    with pytest.raises(EncodingError):
        replace(default_parameters(), gas_price_min=2**31 + 1).to_bytes()
    assert Parameters.from_bytes(replace(default_parameters(), gas_price_min=2**31).to_bytes())
    assert Quota(0, 0).to_bytes()
