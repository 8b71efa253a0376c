"""The network as this node sees it: validators and what they sign, who proposed, peers, versions, and how far it is."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from althing import __version__
from althing.consensus.engine import EngineStatus
from althing.consensus.peers import EngineNetwork, Peer
from althing.node.api.context import Api, Context
from althing.node.api.render import time_of_ns
from althing.node.signing import WINDOW_DEFAULT, WINDOW_MAX, SignedBlock, attendance_of
from althing.protocol.address import format_address
from althing.protocol.block import ValidatorSet, validator_address
from althing.protocol.errors import AlthingError

__all__ = [
    "NetworkAnswer",
    "NetworkNode",
    "NetworkPeer",
    "NetworkSync",
    "NetworkValidator",
    "NetworkWindow",
    "ProposedBlock",
    "network",
    "router",
]

router = APIRouter(prefix="/v1", tags=["network"])

_RECENT: Final = 20  # blocks shown one by one
_CLAIM: Final = re.compile(r"(.*) ([0-9a-f]{40})")
_EXAMPLE: Final = "0211346d0f608a87356dfb9e09240a08f6e8c342"
Kind = Literal["loopback", "private", "public", "unknown"]


class NetworkNode(BaseModel):
    """The node that answers."""

    node: str = Field(description="Address of the node's account")
    name: str = Field(description="What it calls itself to its peers")
    organisation: str | None = Field(description="Name of the organisation that its account belongs to")
    peer_id: str = Field(description="Its id among peers; empty with the embedded engine")
    validator: str | None = Field(description="Address of the validator key it holds, where that is in the set")
    software: str = Field(description="Version of Althing")
    engine: str = Field(examples=["cometbft"])
    engine_version: str
    app_version: int = Field(description="Version of the rules in force at the latest height")


class NetworkSync(BaseModel):
    """How far the node is."""

    phase: str = Field(description="running, replaying, stalled, halted or stopped")
    conditions: list[str] = Field(description="behind (catching up), alone (no peer), other-chain (met one)")
    height: int
    state_height: int
    base_height: int = Field(description="Oldest block kept")
    latest_block_time: str
    peers_height: int | None = Field(description="Highest block that a connected peer says it has")
    blocks_behind: int | None = Field(description="How many of these this node lacks")


class NetworkWindow(BaseModel):
    """The blocks that shares and counts are of."""

    first: int
    last: int
    blocks: int


class NetworkValidator(BaseModel):
    """A block signer of the latest height, or one that will be in two."""

    address: str = Field(description="As CometBFT has it, hexadecimal", examples=[_EXAMPLE])
    public_key: str
    organisation: str | None = Field(description="Address; null of one that is leaving the set")
    organisation_name: str | None
    power: int
    blocks: int = Field(description="Blocks of the window that it was to sign")
    signed: int
    missed: int = Field(description="Its signature was not among those of the block: not there, for nil, or too late")
    signed_share: float | None = Field(description="signed / blocks; null where there were none")
    proposed: int = Field(description="Blocks of the window that it proposed")
    last_signed_height: int | None
    marks: str = Field(description="A letter a block, oldest first: s signed, m missed, n for nil, - not in the set")
    this_node: bool = Field(description="This node holds the key")
    peer: str | None = Field(description="Id of the one peer that says it holds the key; a claim")


class ProposedBlock(BaseModel):
    """Who proposed a block. A round above 0: as many proposers before it failed or were too slow."""

    height: int
    proposer: str
    round: int
    signed: int
    validators: int


class NetworkPeer(BaseModel):
    """Another node that this one is or was connected with."""

    id: str
    name: str = Field(description="What it calls itself; a claim, as are version and validator")
    validator: str | None
    connected: bool
    direction: Literal["inbound", "outbound", "unknown"] = Field(description="outbound: this node dialled")
    address_kind: Kind
    address: str | None = Field(description="Only with api.peer_addresses, and where it tells nothing")
    version: str = Field(description="Of its engine")
    connected_since: str | None
    last_seen: str | None = Field(description="When something last came from it; null: never since this node started")
    height: int | None
    bytes_sent: int
    bytes_received: int


class NetworkAnswer(BaseModel):
    """Validators and blocks stand in the chain and can be proved; peers are what this node alone sees."""

    chain_id: str
    node: NetworkNode
    sync: NetworkSync
    window: NetworkWindow
    total_power: int
    validators: list[NetworkValidator]
    recent_blocks: list[ProposedBlock] = Field(description="Newest first")
    peers: list[NetworkPeer] = Field(description="Connected ones first; those that went are kept for a day")


Window = Annotated[int, Query(ge=1, le=WINDOW_MAX, description="How many of the latest blocks to look at")]


@router.get("/network", response_model=NetworkAnswer)
async def network(api: Context, window: Window = WINDOW_DEFAULT) -> NetworkAnswer:
    """The network as this node sees it."""
    return await api.reads.archive(_network, api, window)


def _network(api: Api, window: int) -> NetworkAnswer:
    node = api.node
    status, seen = node.status(), node.engine.network()
    rows = node.signing.window(window)
    members = node.engine.validators(max(status.latest_height, node.genesis.initial_height))
    peers = [_peer(peer, show=api.config.peer_addresses) for peer in seen.peers]
    return NetworkAnswer(
        chain_id=status.chain_id,
        node=_node(api, status, seen, members),
        sync=_sync(api, status, seen),
        window=NetworkWindow(
            first=rows[0].height if rows else 0, last=rows[-1].height if rows else 0, blocks=len(rows)
        ),
        total_power=sum(member.power for member in members.validators),
        validators=_validators(api, status, members, rows, peers),
        recent_blocks=[
            ProposedBlock(
                height=row.height,
                proposer=row.proposer.hex(),
                round=row.round,
                signed=row.signed,
                validators=len(row.precommits),
            )
            for row in reversed(rows[-_RECENT:])
        ],
        peers=peers,
    )


def _node(api: Api, status: EngineStatus, seen: EngineNetwork, members: ValidatorSet) -> NetworkNode:
    view = api.node.view()
    organisation, name = None, _claim(seen.name)[0]
    try:
        account = view.account(api.node.address)
    except AlthingError:
        pass  # a node that joins has no state yet, and one that was never admitted no account
    else:
        names = {one.address: one.name for one in view.organisations()}
        organisation, name = names.get(account.organisation), account.name
    own = status.validator_address
    return NetworkNode(
        node=format_address(api.node.address),
        name=name,
        organisation=organisation,
        peer_id=seen.id,
        validator=own.hex() if any(member.address == own for member in members.validators) else None,
        software=__version__,
        engine=status.engine,
        engine_version=seen.version,
        app_version=view.versions().app_version,
    )


def _sync(api: Api, status: EngineStatus, seen: EngineNetwork) -> NetworkSync:
    heights = [peer.height for peer in seen.peers if peer.connected and peer.height is not None]
    highest = max(heights, default=None)
    return NetworkSync(
        phase=status.phase.value,
        conditions=list(status.conditions),
        height=status.latest_height,
        state_height=api.node.ledger.height,
        base_height=status.base_height,
        latest_block_time=time_of_ns(status.latest_block_time.ns),
        peers_height=highest,
        blocks_behind=None if highest is None else max(0, highest - status.latest_height),
    )


def _validators(
    api: Api, status: EngineStatus, members: ValidatorSet, rows: tuple[SignedBlock, ...], peers: list[NetworkPeer]
) -> list[NetworkValidator]:
    view = api.node.view()
    names = {one.address: one.name for one in view.organisations()}
    governed = {found.public: found for found in view.validators()}
    powers = {member.public_key: member.power for member in members.validators}
    joining = {public: 0 for public, found in governed.items() if public not in powers and found.power}
    answers = []
    for public, power in {**powers, **joining}.items():
        address = validator_address(public)
        found, attendance = governed.get(public), attendance_of(address, rows)
        claimants = [peer.id for peer in peers if peer.validator == address.hex()]
        answers.append(
            NetworkValidator(
                address=address.hex(),
                public_key=public.hex(),
                organisation=None if found is None else format_address(found.organisation),
                organisation_name=None if found is None else names.get(found.organisation),
                power=power,
                blocks=attendance.blocks,
                signed=attendance.signed,
                missed=attendance.missed,
                signed_share=attendance.signed / attendance.blocks if attendance.blocks else None,
                proposed=attendance.proposed,
                last_signed_height=attendance.last_signed,
                marks=attendance.marks,
                this_node=address == status.validator_address,
                # Two that claim one key: at least one of them lies, or both sign, which evidence will tell.
                peer=claimants[0] if len(claimants) == 1 else None,
            )
        )
    return answers


def _peer(peer: Peer, *, show: bool) -> NetworkPeer:
    kind = _kind(peer.address)
    name, validator = _claim(peer.name)
    return NetworkPeer(
        id=peer.id,
        name=name,
        validator=validator,
        connected=peer.connected,
        direction="unknown" if peer.outbound is None else "outbound" if peer.outbound else "inbound",
        address_kind=kind,
        address=peer.address if kind == "loopback" or (show and kind != "unknown") else None,
        version=peer.version,
        connected_since=time_of_ns(peer.connected_at_ns) if peer.connected and peer.connected_at_ns else None,
        last_seen=None if peer.seen_at_ns is None else time_of_ns(peer.seen_at_ns),
        height=peer.height,
        bytes_sent=peer.bytes_sent,
        bytes_received=peer.bytes_received,
    )


def _claim(text: str) -> tuple[str, str | None]:
    """A node's name, and the validator it says it is."""
    found = _CLAIM.fullmatch(text)
    return (text, None) if found is None else (found[1], found[2])


def _kind(address: str) -> Kind:
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if found.is_loopback:
        return "loopback"
    return "public" if found.is_global else "private"
