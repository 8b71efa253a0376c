"""The light client over sources that lag, fail and lie; chains and attacks are CometBFT's own vectors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from althing.client.errors import ClientError
from althing.client.light import LightClient, LightOptions
from althing.client.lightsource import BadSourceError, NoBlockError
from althing.client.lightstore import Anchor, LightStore
from althing.light.blocks import LightBlock
from althing.light.errors import AttackError, ExpiredError, InvalidHeaderError
from althing.protocol.block import ValidatorSet
from althing.protocol.block.evidence import LightClientAttackEvidence
from althing.protocol.block.jsonform import signed_header_of_json, time_of_json, validators_of_json
from althing.protocol.errors import AlthingError, UnavailableError

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
CHAINS = json.loads((VECTORS / "cometbft_chains.json").read_text())["cases"]
ATTACKS = json.loads((VECTORS / "cometbft_attacks.json").read_text())["cases"]


def light_blocks(described: list[dict[str, Any]]) -> dict[int, LightBlock]:
    found = {}
    for item in described:
        signed = signed_header_of_json(item["signed_header"])
        members = ValidatorSet(tuple(validators_of_json(item["validator_set"]["validators"])))
        found[signed.header.height] = LightBlock(signed, members)
    return found


CHAIN = light_blocks(CHAINS[1]["blocks"])
NOW = time_of_json(CHAINS[1]["now"]).ns
TOP = max(CHAIN)
ANCHOR = Anchor(CHAINS[1]["chain_id"], 1, CHAIN[1].hash)
QUICK = LightOptions(trusting_period_s=86_400, clock_drift_s=0, block_lag_s=0)


class Blocks:
    """A source in memory. `failure` stands in for every answer."""

    def __init__(
        self, blocks: dict[int, LightBlock], name: str = "source", failure: AlthingError | None = None
    ) -> None:
        self.url = name
        self.blocks = dict(blocks)
        self.failure = failure
        self.asked: list[int] = []
        self.reported: list[LightClientAttackEvidence] = []

    async def light_block(self, height: int) -> LightBlock:
        self.asked.append(height)
        if self.failure is not None:
            raise self.failure
        block = self.blocks.get(height or max(self.blocks))
        if block is None:
            raise NoBlockError(f"no block {height}")
        return block

    async def report(self, evidence: LightClientAttackEvidence) -> None:
        self.reported.append(evidence)

    async def aclose(self) -> None:
        pass


def make(
    store: Path, primary: Blocks, *witnesses: Blocks, now: int = NOW, anchor: Anchor = ANCHOR, **options: Any
) -> LightClient:
    chosen = LightOptions(trusting_period_s=86_400, clock_drift_s=0, block_lag_s=0, **options) if options else QUICK
    return LightClient(anchor, primary, witnesses, LightStore(store, blocks_max=5), chosen, clock_ns=lambda: now)


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_it_asks_what_cometbft_asks_and_remembers(tmp_path: Path) -> None:
    async def story() -> None:
        primary, witness = Blocks(CHAIN), Blocks(CHAIN)
        light = make(tmp_path, primary, witness)
        await light.start()
        primary.asked.clear()
        assert (await light.block(TOP)).hash == CHAIN[TOP].hash
        assert primary.asked == CHAINS[1]["asked"]
        primary.asked.clear()
        assert (await light.block(TOP)).hash == CHAIN[TOP].hash
        assert primary.asked == []
        again = make(tmp_path, Blocks({}, failure=UnavailableError("light.source", "away")), Blocks({}))
        await again.start()
        assert again.latest.hash == CHAIN[TOP].hash, "trust survives a restart without asking anybody"

    run(story())


@pytest.mark.parametrize("one_by_one", [False, True])
def test_any_height_in_any_order(tmp_path: Path, one_by_one: bool) -> None:
    """Forwards, between trusted blocks, and backwards from them, with a store of five blocks."""

    async def story() -> None:
        anchor = Anchor(ANCHOR.chain_id, 9, CHAIN[9].hash)
        light = make(tmp_path, Blocks(CHAIN), Blocks(CHAIN), anchor=anchor, one_by_one=one_by_one)
        await light.start()
        for height in (TOP, 12, 3, 20, 1, 9, 15, 2):
            assert (await light.block(height)).hash == CHAIN[height].hash
        assert light.latest.height == TOP
        assert len(list(tmp_path.glob("*.block"))) == 5

    run(story())


def test_a_primary_that_fails_is_replaced(tmp_path: Path) -> None:
    async def story() -> None:
        gone = UnavailableError("light.source", "away")
        primary, witness, third = Blocks(CHAIN, "p"), Blocks(CHAIN, "w"), Blocks(CHAIN, "t")
        light = make(tmp_path, primary, witness, third)
        await light.start()
        primary.failure = gone
        await light.block(8)
        assert (light.primary, light.witnesses) == ("w", ("t", "p"))
        witness.failure = BadSourceError("nonsense")
        with pytest.raises(UnavailableError) as error:
            await light.block(12)
        assert error.value.code == "light.unwitnessed", "p is still away"
        assert (light.primary, light.witnesses) == ("t", ("p",))
        primary.failure = None
        assert (await light.block(16)).hash == CHAIN[16].hash

    run(story())


def test_a_primary_with_an_unsigned_block_is_dropped(tmp_path: Path) -> None:
    async def story() -> None:
        primary = Blocks(CHAIN, "p")
        light = make(tmp_path, primary, Blocks(CHAIN, "w"), Blocks(CHAIN, "t"))
        await light.start()
        # A middle block whose commit is another's: it cannot be verified, whatever is asked between.
        middle = CHAINS[1]["asked"][1]
        primary.blocks[middle] = LightBlock(
            type(CHAIN[middle].signed)(CHAIN[middle].header, CHAIN[middle + 1].commit), CHAIN[middle].validators
        )
        assert (await light.block(TOP)).hash == CHAIN[TOP].hash
        assert (light.primary, light.witnesses) == ("w", ("t",))

    run(story())


def test_witnesses_that_lag_or_make_noise(tmp_path: Path) -> None:
    async def story() -> None:
        behind = Blocks({h: b for h, b in CHAIN.items() if h < 10}, "behind")
        good = Blocks(CHAIN, "good")
        noisy = Blocks(light_blocks(CHAINS[2]["blocks"]), "noisy")
        light = make(tmp_path, Blocks(CHAIN, "p"), behind, good)
        await light.start()
        await light.block(14)
        assert light.witnesses == ("behind", "good"), "lagging is no crime"
        light = make(tmp_path / "other", Blocks(CHAIN, "p"), good, noisy)
        good.failure = None
        noisy.blocks[1] = CHAIN[1]
        await light.start()
        await light.block(14)
        assert light.witnesses == ("good",), "who contradicts and shows no history is dropped"
        alone_with_noise = make(tmp_path / "third", Blocks(CHAIN, "p"), noisy)
        await alone_with_noise.start()
        with pytest.raises(UnavailableError):
            await alone_with_noise.block(14)

    run(story())


def test_a_witness_that_catches_up_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        witness = Blocks({h: b for h, b in CHAIN.items() if h < 10}, "behind")
        options = LightOptions(trusting_period_s=86_400, clock_drift_s=0, block_lag_s=5)
        light = LightClient(ANCHOR, Blocks(CHAIN), [witness], LightStore(tmp_path), options, clock_ns=lambda: NOW)
        await light.start()
        asking = asyncio.create_task(light.block(14))
        while witness.asked[-1] != 0:
            await asyncio.sleep(0)
        witness.blocks = dict(CHAIN)
        assert (await asking).hash == CHAIN[14].hash

    run(story())


@pytest.mark.parametrize("case", ATTACKS, ids=[case["name"] for case in ATTACKS])
def test_an_attack_is_reported_to_both_and_stops_everything(case: dict[str, Any], tmp_path: Path) -> None:
    async def story() -> None:
        honest = light_blocks(case["witness"])
        lying = {h: b for h, b in honest.items() if h < case["fork"]} | light_blocks(case["primary"])
        primary, witness = Blocks(lying, "primary"), Blocks(honest, "witness")
        anchor = Anchor(case["chain_id"], 1, honest[1].hash)
        light = make(tmp_path, primary, witness, anchor=anchor, now=time_of_json(case["now"]).ns)
        await light.start()
        with pytest.raises(AttackError):
            await light.block(case["target"])
        assert [e.to_json() for e in witness.reported] == [e["json"] for e in case["against_primary"]]
        assert [e.to_json() for e in primary.reported] == [e["json"] for e in case["against_witness"]]
        document = json.loads((tmp_path / "attack.json").read_text())
        assert {found["kind"] for found in document["found"]} == {case["attack"]}
        for height in (0, 2):
            with pytest.raises(AttackError):
                await light.block(height)
        with pytest.raises(AttackError):
            await make(tmp_path, witness, witness, anchor=anchor).start()
        newer = Anchor(case["chain_id"], 2, honest[2].hash)
        await make(tmp_path, witness, witness, anchor=newer).start()

    run(story())


def test_a_trusted_hash_that_the_chain_does_not_have(tmp_path: Path) -> None:
    other = Anchor(ANCHOR.chain_id, 1, b"\x01" * 32)
    with pytest.raises(InvalidHeaderError) as error:
        run(make(tmp_path, Blocks(CHAIN), Blocks(CHAIN), anchor=other).start())
    assert error.value.code == "light.anchor"
    forked = light_blocks(ATTACKS[0]["witness"])
    with pytest.raises(AttackError):
        run(make(tmp_path, Blocks(CHAIN), Blocks(forked)).start())


def test_expired_trust_needs_a_person(tmp_path: Path) -> None:
    late = NOW + 86_400 * 10**9

    async def story() -> None:
        await make(tmp_path, Blocks(CHAIN), Blocks(CHAIN)).start()
        light = make(tmp_path, Blocks(CHAIN), Blocks(CHAIN), now=late)
        await light.start()
        with pytest.raises(ExpiredError):
            await light.block(TOP)

    run(story())


def test_a_block_that_came_with_other_data(tmp_path: Path) -> None:
    async def story() -> None:
        light = make(tmp_path, Blocks(CHAIN, "p"), Blocks(CHAIN, "w"), Blocks(CHAIN, "t"))
        await light.start()
        await light.accept(CHAIN[7])
        with pytest.raises(InvalidHeaderError):
            await light.accept(light_blocks(CHAINS[2]["blocks"])[9])
        assert light.primary == "p", "whoever sent it, it was not the primary"

    run(story())


def test_without_witnesses_only_on_purpose(tmp_path: Path) -> None:
    with pytest.raises(ClientError):
        make(tmp_path, Blocks(CHAIN))

    async def story() -> None:
        light = make(tmp_path, Blocks(CHAIN), alone=True)
        await light.start()
        assert (await light.block(TOP)).hash == CHAIN[TOP].hash

    run(story())


def test_damaged_files_are_as_if_they_had_never_been_there(tmp_path: Path) -> None:
    store = LightStore(tmp_path)
    assert not store.open(ANCHOR)
    for height in (1, 5, 9):
        store.add(CHAIN[height])
    names = sorted(tmp_path.glob("*.block"))
    names[2].write_bytes(names[2].read_bytes()[:-1])
    names[1].write_bytes(names[0].read_bytes())
    again = LightStore(tmp_path)
    assert again.open(ANCHOR)
    latest = again.latest()
    assert latest is not None
    assert latest.hash == CHAIN[1].hash
    names[0].unlink()
    assert again.latest() is None
    assert not LightStore(tmp_path).open(ANCHOR)


def test_another_anchor_forgets_what_followed_from_the_old_one(tmp_path: Path) -> None:
    store = LightStore(tmp_path)
    store.open(ANCHOR)
    store.add(CHAIN[1])
    assert not LightStore(tmp_path).open(Anchor(ANCHOR.chain_id, 2, CHAIN[2].hash))
    assert not list(tmp_path.glob("*.block"))
