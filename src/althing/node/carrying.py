"""Carrying a chain of the embedded engine over to CometBFT: the same chain goes on, signed by several (ADR 0056).

Its name, genesis hash and state stay, and heights go on. The last block of the embedded engine, H, announces the
validators that sign from H + 1 on (`next_validators_hash`), and the first header of CometBFT states the root after H: a
light client of old follows across, and whatever was proved or signed for the chain stays good.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from althing.client.keyfile import load_key
from althing.client.sending import GAS_LIMIT, LIFETIME_S, Signer
from althing.consensus.cometbft.headers import HeaderStore
from althing.consensus.cometbft.nodekey import node_id
from althing.consensus.cometbft.paths import CometHome
from althing.consensus.copying import copy_lmdb
from althing.consensus.engine import EngineError
from althing.consensus.solo import SoloSettings
from althing.consensus.solo.signer import load_or_create_key
from althing.consensus.solo.store import BlockStore
from althing.ledger.query import LedgerView
from althing.ledger.state.store import StateStore
from althing.node.daemon import open_node
from althing.node.home import DEFAULT_QUOTA, Carried, Home, HomeError, load_or_generate_key, write_json
from althing.node.indexer import Indexer
from althing.node.network import NODES_MAX, P2P_PORT, POWER, Network, NetworkNode, save_network, settings_text
from althing.node.node import Node
from althing.protocol.address import address_of_key
from althing.protocol.block import SignedHeader, ValidatorSet
from althing.protocol.block import Validator as Member
from althing.protocol.catalog import MessageBody
from althing.protocol.genesis import genesis_hash
from althing.protocol.limits import NONCE_BYTES
from althing.protocol.messages.governance import (
    AdmitNode,
    AdmitOrganisation,
    GenesisOrganisation,
    SetParameters,
    SetValidator,
    Validator,
)
from althing.protocol.messages.identity import Key
from althing.protocol.transaction import Transaction, sign_transaction
from althing.service.durable import make_folders, write_file
from althing.storage.lmdb import LmdbBackend

__all__ = ["carry"]

_WAIT_S: Final = 60
_OLD_BLOCKS: Final = "solo-blocks"
_STEP: Final = 500  # headers of one durable write
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Place:
    """A node of the network to be: where its home is, and its keys' public parts."""

    name: str
    organisation: str
    home: Home
    account: Key
    validator: bytes


def carry(source: Home, folder: Path, *, organisations: Sequence[str], validators: int) -> Network:
    """Carry the chain of a stopped home to `validators` nodes of its organisation and of `organisations`, which are new.

    1. Homes and keys of the new nodes. 2. The chain's last decisions, under the embedded engine: organisations, nodes, and in
    one transaction the validators and how many must agree. 3. State, index and headers into every home; the first node's
    is the source, where gateway and archive stay. Interrupted at any moment, the same command goes on.
    HomeError `home.carry`, `network.members`, `home.exists`.
    """
    genesis = source.genesis()
    if source.carried() is not None and (folder / "network.json").exists():
        raise HomeError("home.exists", f"the chain of {source.path} is carried over already")
    founder = _founder(source)
    _check_members(founder, organisations, validators)
    places = _places(source, folder, founder, organisations, validators)  # 1.
    if not _old_blocks(source).is_dir():
        asyncio.run(_decide(source, folder, places, organisations))  # 2.
    return _settle(source, folder, genesis.chain_id, places)  # 3.


# --- 1. ---------------------------------------------------------------------------------------------------------------


def _old_blocks(source: Home) -> Path:
    return source.path / "node" / _OLD_BLOCKS


def _founder(source: Home) -> str:
    if CometHome(source.blocks_dir).config_dir.is_dir() and not _old_blocks(source).is_dir():
        raise HomeError("home.carry", f"the chain of {source.path} is CometBFT's already")
    if not source.state_dir.is_dir():
        raise HomeError(
            "home.carry", f"the node of {source.path} has never run", hint="althing network init founds one"
        )
    found = source.genesis().organisations
    if len(found) != 1:
        raise HomeError("home.carry", "only a chain that one organisation founded is carried over by this command")
    return found[0].name


def _check_members(founder: str, organisations: Sequence[str], validators: int) -> None:
    members = (founder, *organisations)
    if len(set(members)) != len(members):
        raise HomeError("network.members", f"{founder} is the chain's own; the others are each named once")
    if not max(2, len(members)) <= validators <= NODES_MAX:
        raise HomeError(
            "network.members", f"{len(members)} organisations need at least as many validators, at most {NODES_MAX}"
        )


def _places(
    source: Home, folder: Path, founder: str, organisations: Sequence[str], validators: int
) -> tuple[_Place, ...]:
    members = (founder, *organisations)
    found = []
    for number in range(validators):
        organisation = members[number % len(members)]
        name = f"{organisation}-node-{number // len(members) + 1}"
        home = source if number == 0 else Home(folder / name)
        make_folders(home.path / "node")
        if 0 < number < len(members):
            load_or_generate_key(home.admin_key_file)
        own = load_or_generate_key(home.node_key_file)
        validator = load_or_create_key(home.validator_key_file)
        found.append(_Place(name, organisation, home, Key(own.suite, own.public), validator.public))
    return tuple(found)


# --- 2. ---------------------------------------------------------------------------------------------------------------


async def _decide(source: Home, folder: Path, places: Sequence[_Place], organisations: Sequence[str]) -> None:
    node = open_node(source, engine="solo", settings={"hand_over": True}, verify_processes=0)
    try:
        with suppress(_HandedOver):
            try:
                await node.start()
            except EngineError as error:
                if error.code == "engine.handed_over":
                    raise _HandedOver from error
                raise
            await _decisions(node, source, places, organisations)
            await _last_block(node)
        indexer = Indexer(source.path / "node" / "index", node.ledger, node.engine)
        try:
            if node.engine.latest_height:
                indexer.catch_up()
        finally:
            indexer.close()
    finally:
        await node.stop()


class _HandedOver(Exception):  # noqa: N818 -- no error: an interrupted run had come so far
    """The validators announced are already others."""


async def _decisions(node: Node, source: Home, places: Sequence[_Place], organisations: Sequence[str]) -> None:
    """What an interrupted run has decided is not decided again."""
    admin = _signer(source.admin_key_file)
    known = {one.name: one.address for one in node.view().organisations()}
    first = {place.organisation: place for place in reversed(places)}
    for name in organisations:
        if name not in known:
            own = _signer(first[name].home.admin_key_file)
            keys = tuple(Key(key.suite, key.public) for key in own.keys)
            founder = GenesisOrganisation(name, True, 1, keys, DEFAULT_QUOTA)
            await _send(node, (admin, own), (AdmitOrganisation(founder),))
    known = {one.name: one.address for one in node.view().organisations()}
    for place in places[1:]:
        owner = known[place.organisation]
        if not node.view().has_account(place.account.address_under(owner)):
            await _send(node, (admin,), (AdmitNode(owner, place.name, place.account),))
    parameters = node.view().parameters()
    agreeing = replace(parameters, governors_threshold=(len(organisations) + 1) // 2 + 1)
    messages: list[MessageBody] = [
        SetValidator(Validator(place.validator, POWER, known[place.organisation])) for place in places
    ]
    if agreeing != parameters:
        messages.append(SetParameters(sha256(parameters.to_bytes()).digest(), agreeing))
    await _send(node, (admin,), messages)


async def _send(node: Node, signers: Sequence[Signer], messages: Sequence[MessageBody]) -> None:
    transaction = Transaction(
        signers=tuple(sorted(signer.address for signer in signers)),
        payer=signers[0].address,
        gas_limit=GAS_LIMIT,
        fee=0,
        expiry=int(time.time()) + LIFETIME_S,
        nonce=secrets.token_bytes(NONCE_BYTES),
        messages=tuple(messages),
    )
    keys = [key for signer in signers for key in signer.keys]
    signed = sign_transaction(transaction, keys, node.ledger.genesis_hash)
    (answer,) = await node.submission.submit([signed], wait=True, timeout_s=_WAIT_S)
    if answer.code or answer.height is None:
        raise HomeError(
            "home.carry", f"the chain refuses to be carried over: {answer.message or 'no block came'} [{answer.code}]"
        )


async def _last_block(node: Node) -> None:
    """The engine ends by itself after the block that announces the new validators."""
    try:
        await asyncio.wait_for(node.engine.wait_height(2**62), _WAIT_S)
    except EngineError as error:
        if error.code != "engine.handed_over":
            raise


def _signer(path: Path) -> Signer:
    key = load_key(path)
    return Signer(address_of_key(key.suite, key.public), (key,))


# --- 3. ---------------------------------------------------------------------------------------------------------------


def _settle(source: Home, folder: Path, chain_id: str, places: Sequence[_Place]) -> Network:
    old = _old_blocks(source)
    if not old.is_dir():
        source.blocks_dir.rename(old)
    signed, sets, carried = _stored(old, source, places)
    make_folders(folder)
    for place in places:
        home, node = place.home, place.home.path / "node"
        if home is not source:
            copy_lmdb(source.state_dir, home.state_dir)
            copy_lmdb(source.path / "node" / "index", node / "index")
            write_file(home.trust_file, source.trust_file.read_bytes())
        comet = CometHome(home.blocks_dir)
        make_folders(comet.config_dir, mode=0o700)
        headers = HeaderStore(comet.headers_dir)
        try:
            for at in range(0, len(signed), _STEP):
                headers.put(signed[at : at + _STEP], sets)
        finally:
            headers.close()
        write_json(home.carried_file, carried.document())
    nodes = tuple(
        NetworkNode(
            place.name,
            place.organisation,
            str(place.home.path.absolute()) if place.home is source else place.name,
            f"127.0.1.{number + 1}",
            P2P_PORT,
            node_id(CometHome(place.home.blocks_dir).node_key_file),
        )
        for number, place in enumerate(places)
    )
    network = Network(folder, chain_id, nodes)
    for place, node_of in zip(places, nodes, strict=True):
        path = place.home.path / "config.toml"
        kept = "".join(_other_tables(path.read_text())) if place.home is source and path.exists() else ""
        write_file(path, (settings_text(network, node_of) + kept).encode())
        if place.home is not source:
            write_file(place.home.genesis_file, source.genesis_file.read_bytes())
    save_network(network)
    return network


def _stored(
    old: Path, source: Home, places: Sequence[_Place]
) -> tuple[list[SignedHeader], list[ValidatorSet], Carried]:
    """All headers of the embedded engine, the sets they name, and what the chain goes on from."""
    blocks = BlockStore(old, map_bytes_max=SoloSettings(old).map_bytes_max)
    try:
        state = blocks.state()
        assert state is not None, "the chain has begun"
        wanted = {place.validator for place in places}
        if {member.public_key for member in state.validators.validators} != wanted:
            raise HomeError(
                "home.carry", "the chain announces other validators than these", hint="give the same --org and -o again"
            )
        found = (blocks.signed_header(at) for at in range(blocks.bases()[1], state.height + 1))
        signed = [header for header in found if header is not None]
        sets = {}
        for height in range(blocks.bases()[1], state.height + 3):
            members = blocks.validators(height)
            if members is not None:
                sets[members.hash()] = members
        backend = LmdbBackend(source.state_dir, readonly=True)
        try:
            store = StateStore(backend)
            if store.latest_version != state.height or store.root() != state.app_hash:
                raise HomeError("home.carry", "the state is not that of the last block", hint="run the command again")
            app_version = LedgerView(store).versions().app_version
        finally:
            backend.close()
        carried = Carried(
            genesis_hash=genesis_hash(source.genesis()),
            height=state.height,
            header_hash=state.block_id.hash,
            app_hash=state.app_hash,
            time_ns=(state.time.ns // _SECOND_NS + 1) * _SECOND_NS,
            app_version=app_version,
            validators=tuple(Member(m.public_key, m.power) for m in state.validators.validators),
        )
        return signed, list(sets.values()), carried
    finally:
        blocks.close()


def _other_tables(text: str) -> Iterator[str]:
    """Lines of config.toml that are not the node's: a gateway's settings stay."""
    keep = False
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            keep = not line.startswith(("[node]", "[node."))
        if keep:
            yield line
