"""The light client follows a real CometBFT chain over its RPC: two validators, the engine's own key-value application."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from althing.client.light import LightClient, LightOptions
from althing.client.lightsource import BadSourceError, NoBlockError, RpcSource
from althing.client.lightstore import Anchor, LightStore
from althing.consensus.cometbft.address import parse_address
from althing.consensus.cometbft.binary import find_binary
from althing.consensus.cometbft.rpc import Rpc
from althing.consensus.cometbft.rpcforms import block_of
from althing.light.blocks import LightBlock
from althing.light.errors import AttackError, InvalidHeaderError
from althing.protocol.block import (
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    SignedHeader,
    precommit_sign_bytes,
)
from althing.protocol.block.evidence import LightClientAttackEvidence
from althing.protocol.errors import UnavailableError
from althing.protocol.signatures import PrivateKey, Suite
from althing.testing.faults import wait_until

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(180)]


@dataclass
class Network:
    """Addresses of the two nodes' RPC, and the chain's name."""

    urls: list[str]
    chain_id: str
    keys: list[PrivateKey]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    binary = str(find_binary())
    subprocess.run(
        [binary, "testnet", "--v", "2", "--o", str(folder), "--starting-ip-address", "127.0.9.1"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    urls, processes = [], []
    try:
        for number in range(2):
            home = folder / f"node{number}"
            address = f"127.0.9.{number + 1}"
            config = (home / "config" / "config.toml").read_text()
            for old, new in (
                ("tcp://127.0.0.1:26657", f"tcp://{address}:26657"),
                ("tcp://0.0.0.0:26656", f"tcp://{address}:26656"),
                ('timeout_commit = "1s"', 'timeout_commit = "100ms"'),
                ("addr_book_strict = true", "addr_book_strict = false"),
                ("allow_duplicate_ip = false", "allow_duplicate_ip = true"),
                ('pprof_laddr = "localhost:6060"', 'pprof_laddr = ""'),
            ):
                config = config.replace(old, new)
            (home / "config" / "config.toml").write_text(config)
            log = (folder / f"log{number}").open("wb")
            processes.append(
                subprocess.Popen(
                    [binary, "start", "--home", str(home), "--proxy_app", "kvstore"], stdout=log, stderr=log
                )
            )
            log.close()
            urls.append(f"http://{address}:26657")
        chain_id = json.loads((folder / "node0" / "config" / "genesis.json").read_text())["chain_id"]
        for url in urls:
            wait_until(lambda url=url: height_of(url) > 12, 90, lambda: (folder / "log0").read_text()[-2000:])
        yield Network(urls, chain_id, [key_of(folder / f"node{number}") for number in range(2)])
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def key_of(home: Path) -> PrivateKey:
    document = json.loads((home / "config" / "priv_validator_key.json").read_text())
    return PrivateKey(Suite.ED25519, b64decode(document["priv_key"]["value"])[:32])


def ask(url: str, work: Callable[[RpcSource], Any]) -> Any:
    async def run() -> Any:
        source = RpcSource(url)
        try:
            return await work(source)
        finally:
            await source.aclose()

    return asyncio.run(run())


def height_of(url: str) -> int:
    try:
        return int(ask(url, lambda source: source.light_block(0)).height)
    except (UnavailableError, NoBlockError, BadSourceError):
        return 0


def test_it_follows_a_chain_that_is_not_ours(network: Network, tmp_path: Path) -> None:
    first = ask(network.urls[0], lambda source: source.light_block(2))
    assert len(first.validators.validators) == 2

    async def story() -> None:
        for one_by_one in (False, True):
            store = LightStore(tmp_path / str(one_by_one))
            light = LightClient(
                Anchor(network.chain_id, 2, first.hash),
                RpcSource(network.urls[0]),
                [RpcSource(network.urls[1])],
                store,
                LightOptions(one_by_one=one_by_one),
            )
            await light.start()
            latest = await light.update()
            assert latest.height > 12
            for height in (9, 1, 5):
                assert (await light.block(height)).height == height
            await light.aclose()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_what_is_not_there(network: Network) -> None:
    with pytest.raises(NoBlockError):
        ask(network.urls[0], lambda source: source.light_block(10**9))


def test_a_forged_header_is_not_of_that_chain(network: Network, tmp_path: Path) -> None:
    async def story() -> None:
        sources = [RpcSource(url) for url in network.urls]
        first = await sources[0].light_block(2)
        wrong = Anchor(network.chain_id, 2, bytes(32))
        light = LightClient(wrong, sources[0], sources[1:], LightStore(tmp_path))
        with pytest.raises(InvalidHeaderError):
            await light.start()
        assert first.hash != bytes(32)
        await light.aclose()

    asyncio.run(story())


def test_cometbft_understands_our_evidence_and_judges_it(network: Network) -> None:
    """A real block is no attack: the pool reads the evidence whole, checks it, and says why not."""

    async def story(source: RpcSource) -> None:
        block: LightBlock = await source.light_block(5)
        evidence = LightClientAttackEvidence(
            block.signed, block.validators, block.height, (), block.validators.total_power, block.time
        )
        with pytest.raises(UnavailableError) as error:
            await source.report(evidence)
        assert re.search("trusted header hash matches the evidence's conflicting header hash", error.value.message)

    ask(network.urls[0], story)


class Forging:
    """A node that shows the chain as it is, but one block, which its validators have signed a second time."""

    url = "http://forging.invalid"

    def __init__(self, honest: RpcSource, forged: LightBlock) -> None:
        self._honest = honest
        self._forged = forged

    async def light_block(self, height: int) -> LightBlock:
        return self._forged if height == self._forged.height else await self._honest.light_block(height)

    async def report(self, evidence: LightClientAttackEvidence) -> None:
        pass

    async def aclose(self) -> None:
        pass


def signed_twice(block: LightBlock, keys: list[PrivateKey]) -> LightBlock:
    """Another block of the same height and round, with the signatures of the same validators."""
    header = replace(block.header, data_hash=bytes(range(32)))
    block_id = BlockId(header.hash(), 1, bytes(32))
    by_public = {key.public: key for key in keys}
    entries = []
    for entry, validator in zip(block.commit.signatures, block.validators.validators, strict=True):
        time = entry.timestamp if entry.signature else block.time
        message = precommit_sign_bytes(header.chain_id, header.height, block.commit.round, block_id, time)
        signature = by_public[validator.public_key].sign(message)
        entries.append(CommitSig(BlockIdFlag.COMMIT, validator.address, time, signature))
    commit = Commit(header.height, block.commit.round, block_id, tuple(entries))
    return LightBlock(SignedHeader(header, commit), block.validators)


def test_an_attack_found_by_a_light_client_gets_into_the_chain(network: Network, tmp_path: Path) -> None:
    """CometBFT's pool accepts the evidence over `broadcast_evidence`, and a block carries it."""
    nothing = sha256(b"").digest()

    async def story() -> None:
        honest, witness = RpcSource(network.urls[0]), RpcSource(network.urls[1])
        anchor = await honest.light_block(2)
        assert anchor.header.evidence_hash == nothing
        forged = signed_twice(await honest.light_block(8), network.keys)
        primary = Forging(honest, forged)
        light = LightClient(Anchor(network.chain_id, 2, anchor.hash), primary, [witness], LightStore(tmp_path))
        await light.start()
        with pytest.raises(AttackError):
            await light.block(8)
        found = json.loads((tmp_path / "attack.json").read_text())["found"]
        assert (found[0]["kind"], found[0]["accused"], found[0]["reported"]) == ("equivocation", primary.url, True)
        assert len(found[0]["evidence"]["value"]["ByzantineValidators"]) == 2
        seen = (await witness.light_block(0)).height
        while True:
            for height in range(max(3, seen - 3), (await witness.light_block(0)).height + 1):
                if (await witness.light_block(height)).header.evidence_hash != nothing:
                    # The engine reads such a block whole: its evidence gives the hash that the header names.
                    rpc = Rpc(parse_address(network.urls[1].replace("http", "tcp")))
                    assert len(block_of(rpc.call("block", height=str(height))).evidence) == 1
                    rpc.close()
                    return
            await asyncio.sleep(0.2)

    asyncio.run(asyncio.wait_for(story(), 60))
