"""The golden chain: blocks as bytes with the roots they must give. As a program it makes the file, or replays it.

python golden_chain.py make   > golden_chain.json     after a change of the rules, which the diff then shows
python golden_chain.py replay < golden_chain.json     prints the roots, one line a block
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from typing import Any

from althing.ledger.app import FinalizedBlock, Ledger
from althing.ledger.state.backend import Backend
from althing.protocol.address import key_id
from althing.protocol.catalog import body_to_item
from althing.protocol.codec import encode
from althing.protocol.errors import AlthingError
from althing.protocol.mapping import Field, Mapping, TimeField
from althing.protocol.messages.assets import (
    Burn,
    DefineUnit,
    FreezeBalance,
    FreezeUnit,
    Lock,
    Mint,
    Settle,
    Transfer,
)
from althing.protocol.messages.devices import BindGateway, DeviceState, RegisterDevice, SetDeviceState, SetMetadata
from althing.protocol.messages.governance import (
    AdmitNode,
    AdmitOrganisation,
    Genesis,
    GenesisOrganisation,
    Parameters,
    Quota,
    RotateValidator,
    ScheduleUpgrade,
    SetOrganisation,
    SetParameters,
    SetValidator,
    Upgrade,
    Validator,
)
from althing.protocol.messages.identity import (
    AccountKind,
    AccountStatus,
    CreateAccount,
    Role,
    RotateKeys,
    SetAccountStatus,
    SetAttribute,
)
from althing.protocol.messages.proposals import Propose, Vote, Withdraw, proposal_content
from althing.protocol.messages.streams import Anchor, AnchorEntry, DefineStream, HandOver, UpdateStream
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import Suite
from althing.storage.memory import MemoryBackend
from althing.testing.harness import Actor, LedgerHarness, default_parameters, seeded_key

__all__ = ["make", "replay"]

SCHEMA = StreamSchema(
    (Quantity("t", "Cel"), Quantity("rh", "%RH")),
    "application/json",
    Mapping((Field("/t", "t"), Field("/h", "rh")), TimeField("/at", "YYYY-MM-DD HH:mm", 60)),
)


class _Recorder(LedgerHarness):
    """Keeps what each block was made of."""

    recorded: list[dict[str, Any]]

    def finalize(self, items: tuple[bytes, ...]) -> FinalizedBlock:
        done = super().finalize(items)
        if not hasattr(self, "recorded"):
            self.recorded = []
        self.recorded.append(
            {
                "time": str(self.time_s * 10**9),
                "hash": sha256(b"block" + self.height.to_bytes(8, "big")).hexdigest(),
                "items": [item.hex() for item in items],
                **_outcome(done),
            }
        )
        return done


def _outcome(done: FinalizedBlock) -> dict[str, Any]:
    return {
        "app_hash": done.app_hash.hex(),
        "results": [
            [result.code, result.data.hex(), result.gas_wanted, result.gas_used] for result in done.result.bundles
        ],
        "validators": [[validator.public.hex(), validator.power] for validator in done.result.validators],
    }


def make() -> dict[str, Any]:
    """Every message type, refusals of every kind, empty blocks, a device of each suite, several organisations."""
    chain = _Recorder()
    acme, gateway = chain.admin, chain.gateway
    bolt, clerk, node = Actor.seeded("bolt", Suite.ES256), Actor.seeded("clerk"), Actor.seeded("bolt node")
    pump, press, second = Actor.seeded("pump"), Actor.seeded("press", Suite.ES256), Actor.seeded("gateway 2")
    spare = seeded_key("spare", Suite.ES256)

    def anchor(number: int, *entries: tuple[int, int, int], by: Actor = gateway) -> Anchor:
        table = tuple(AnchorEntry(*entry) for entry in entries)
        root = sha256(b"batch %d" % number).digest()
        return Anchor(by.address, number, root, sum(e.count for e in table), table, (f"file:{number}",))

    def one(actors: Actor | list[Actor], *messages: Any) -> bytes:
        return chain.sign(actors, *messages)

    founder = GenesisOrganisation("bolt", True, 1, (bolt.public,), Quota(10**6, 10**9))
    chain.block(one([acme, bolt], AdmitOrganisation(founder)))
    chain.block(
        one(
            [acme, clerk], CreateAccount(acme.address, AccountKind.PERSON, "clerk", (Role.DEVICES,), 1, (clerk.public,))
        ),
        one([bolt, node], CreateAccount(bolt.address, AccountKind.NODE, "bolt-node", (), 1, (node.public,))),
        one([acme, second], CreateAccount(acme.address, AccountKind.GATEWAY, "gw-2", (), 1, (second.public,))),
    )
    chain.block(
        one(clerk, RegisterDevice("pump", acme.address, pump.public, gateway.address, (("model", "P-7"),))),
        one([acme, press], RegisterDevice("press", acme.address, press.public, None, ())),
        one(acme, RegisterDevice("legacy", acme.address, None, gateway.address, ())),
        one(bolt, RegisterDevice("intruder", acme.address, None, None, ())),
    )
    chain.block(
        *(one(clerk, DefineStream(d, "flow", gateway.address, SCHEMA)) for d in ("pump", "press", "legacy")),
        one(clerk, DefineStream("pump", "flow", gateway.address, SCHEMA)),
    )
    chain.block()
    replayed = one(gateway, anchor(0, (0, 0, 5), (1, 0, 1), (2, 0, 2)))
    chain.block(replayed, replayed, one(gateway, anchor(0, (0, 0, 5), (1, 0, 1), (2, 0, 2))))
    chain.block(
        one(gateway, anchor(1, (0, 5, 2))), one(gateway, anchor(2, (0, 6, 1))), one(gateway, anchor(2, (2, 2, 9)))
    )
    chain.block(
        one(clerk, UpdateStream("pump/flow", StreamSchema())),
        one(gateway, HandOver("press/flow", second.address, 1)),
        one(second, anchor(0, (1, 1, 3), by=second)),
    )
    chain.block(
        one(clerk, RotateKeys(clerk.address, (Actor(spare, b"").public,), None, (_kid(clerk),), True, None)),
        one(clerk, SetAttribute(clerk.address, "late", "refused")),
        one(Actor(spare, clerk.address), SetAttribute(clerk.address, "service", "https://example.org")),
        one(acme, SetDeviceState("legacy", DeviceState.SUSPENDED, "moved")),
        one(acme, BindGateway("press", second.address)),
        one(press, SetMetadata("press", (("place", "hall ü"),))),
    )
    parameters = default_parameters()
    digest = sha256(parameters.to_bytes()).digest()
    chain.block(
        one(acme, SetParameters(digest, Parameters(1, 2, 900, 30, 0, 10**9, 10**6))),
        one([acme, bolt], SetParameters(digest, parameters)),
        one([acme, bolt], SetValidator(Validator(seeded_key("v2").public, 5, bolt.address))),
        one(acme, SetValidator(Validator(seeded_key("v3").public, 5, acme.address))),
    )
    chain.block(
        one([acme, bolt], SetValidator(Validator(seeded_key("v4").public, 5, bolt.address))),
        one([acme, bolt], SetValidator(Validator(seeded_key("v4").public, 0, bolt.address))),
        one([acme, bolt], SetValidator(Validator(seeded_key("v2").public, 0, bolt.address))),
        one([acme, bolt], ScheduleUpgrade(Upgrade(100, 2, "later"))),
    )
    raw = tuple(
        encode(body_to_item(message))
        for message in (
            AdmitNode(acme.address, "node-2", Actor.seeded("node 2").public),
            RotateValidator(seeded_key("validator").public, seeded_key("v5").public),
        )
    )
    propose = Propose(acme.address, "a second node, a new key", chain.time_s + 500, raw)
    content = proposal_content(0, acme.address, propose.title, propose.expires, raw)
    chain.block(
        one(acme, propose),
        one(bolt, Vote(bolt.address, 0, bytes(32), True)),
        one(bolt, Vote(bolt.address, 0, content, True)),
        one(bolt, Propose(bolt.address, "to be withdrawn", chain.time_s + 500, raw[:1])),
        one(acme, Vote(acme.address, 1, bytes(32), True)),
    )
    chain.block(one(bolt, Withdraw(1)))
    held = Lock("coin", acme.address, bolt.address, 30, (bolt.address,), 1, chain.time_s + 500, "a pump")
    chain.block(
        one(bolt, DefineUnit(bolt.address, "coin", "Coin", 2, 100), Mint("coin", acme.address, 100)),
        one(bolt, Mint("coin", acme.address, 1)),
        one(acme, held, held, Transfer("coin", acme.address, clerk.address, 20, "")),
        one(bolt, Settle(0, True), Settle(1, False), Burn("coin", bolt.address, 5)),
        one(bolt, FreezeBalance("coin", acme.address, True), FreezeUnit("coin", False)),
        one(acme, Transfer("coin", acme.address, bolt.address, 1, "")),
    )
    broken = bytearray(one(acme, SetAttribute(acme.address, "a", "b")))
    broken[-1] ^= 1
    bundle = chain.bundle(
        b"",
        b"garbage",
        bytes(broken),
        replayed,
        chain.sign(acme, SetAttribute(acme.address, "a", "b"), gas=1_890),
        chain.sign(acme, SetAttribute(acme.address, "a", "b"), expiry=1),
        one(Actor.seeded("stranger"), SetAttribute(acme.address, "a", "b")),
        one(acme, SetAttribute(acme.address, "a", "b"), SetAttribute(bolt.address, "a", "b")),
        node=node,
    )
    chain.block_of((b"no bundle", bundle, chain.bundle(b"x", node=clerk)), seconds=100)
    chain.block_of((b"no bundle",))
    chain.block(
        one(acme, SetAccountStatus(second.address, AccountStatus.CLOSED)),
        one([acme, bolt], SetOrganisation(bolt.address, None, None, Quota(1, 1))),
        one([acme, bolt], SetOrganisation(bolt.address, None, None, Quota(16_384, 10**9))),
        one(second, anchor(1, (1, 4, 1), by=second)),
        one(bolt, *(SetAttribute(bolt.address, f"r{i}", "b" * 1000) for i in range(20))),
    )
    chain.block(seconds=4000)
    chain.block(one(gateway, anchor(3, (0, 7, 1))))
    chain.block(seconds=60)
    return {
        "description": "A chain's genesis and blocks, with the results and app hashes that they must give.",
        "genesis": chain.genesis.to_bytes().hex(),
        "blocks": chain.recorded,
    }


def _kid(actor: Actor) -> bytes:
    return key_id(actor.key.suite, actor.key.public)


def replay(document: dict[str, Any], backend: Backend, *, reopen: bool = False) -> list[dict[str, Any]]:
    """Execute the recorded blocks; with `reopen` under a fresh ledger each, executed twice before each commit."""
    genesis = Genesis.from_bytes(bytes.fromhex(document["genesis"]))
    ledger = Ledger(backend, genesis)
    ledger.init_chain()
    outcomes = []
    for height, block in enumerate(document["blocks"], genesis.initial_height):
        items = tuple(bytes.fromhex(item) for item in block["items"])
        arguments = (height, int(block["time"]), bytes.fromhex(block["hash"]), items)
        if reopen:
            ledger.finalize(*arguments)
            ledger = Ledger(backend, genesis)
            # What admission and the pool have seen must not show in the result.
            for item in items:
                try:
                    ledger.check_bundle(item, int(block["time"]) // 10**9, recheck=False)
                except AlthingError:
                    continue
        done = ledger.finalize(*arguments)
        ledger.commit()
        assert ledger.app_hash == done.app_hash
        outcomes.append(_outcome(done))
    return outcomes


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        print(json.dumps(make(), indent=1))
    else:
        for outcome in replay(json.load(sys.stdin), MemoryBackend()):
            print(json.dumps(outcome))
