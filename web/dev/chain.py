"""A small real chain in memory for the fixture server: real ledger, real headers, real batches and proofs.

Only the values that the simulated devices measure are made up, from a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from math import sin

from althing.ledger.app import Ledger
from althing.node.proofs import ProofBuilder
from althing.protocol.batch import Leaf, Origin, build_batch
from althing.protocol.block import (
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
)
from althing.protocol.bundle import make_bundle
from althing.protocol.genesis import genesis_hash
from althing.protocol.merkle import EMPTY_ROOT, leaf_hash
from althing.protocol.message import sign_message
from althing.protocol.messages.devices import DeviceState, RegisterDevice, SetDeviceState
from althing.protocol.messages.governance import (
    Genesis,
    GenesisNode,
    GenesisOrganisation,
    GenesisValidator,
    Quota,
)
from althing.protocol.messages.identity import AccountKind, CreateAccount
from althing.protocol.messages.streams import Anchor, DefineStream
from althing.protocol.receipt import Receipt
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import Suite
from althing.protocol.transaction import Transaction, sign_transaction
from althing.storage.memory import MemoryBackend
from althing.testing.harness import Actor, default_parameters

NS = 1_000_000_000


@dataclass
class Simulated:
    """A device, its one stream, and what was accepted from it so far."""

    name: str
    stream: str
    quantities: tuple[Quantity, ...]
    signer: Actor | None
    step_s: int
    backfill: bool
    began_s: int = 0
    number: int = -1
    counter: int = 0
    leaves: list[bytes] = field(default_factory=list)
    readings: list[dict] = field(default_factory=list)
    messages: list[dict] = field(default_factory=list)
    rows: list[tuple[bytes, int]] = field(default_factory=list)  # (batch root, index in it) of each sequence

    @property
    def path(self) -> str:
        return f"{self.name}/{self.stream}"


@dataclass
class Made:
    """A block with what the API says of it."""

    signed: SignedHeader
    transactions: list[dict]
    size: int


class Chain:
    """Blocks on demand; also the ports a `ProofBuilder` needs."""

    def __init__(self, start_s: int) -> None:
        self.admin, self.node, self.gateway = (Actor.seeded(name) for name in ("admin", "node", "gateway"))
        self.validator = Actor.seeded("validator")
        self.genesis = Genesis(
            version=1,
            chain_id="fixture-1",
            time=start_s,
            initial_height=1,
            app_version=1,
            salt=sha256(b"fixture").digest()[:16],
            parameters=default_parameters(),
            organisations=(GenesisOrganisation("acme", True, 1, (self.admin.public,), Quota(2**50, 2**50)),),
            validators=(GenesisValidator(self.validator.key.public, 10, "acme"),),
            nodes=(GenesisNode("node-1", "acme", self.node.public),),
        )
        self.genesis_hash = genesis_hash(self.genesis)
        self.ledger = Ledger(MemoryBackend(), self.genesis)
        self.ledger.init_chain()
        self.set = ValidatorSet.of([Validator(self.validator.key.public, 10)])
        self.time_s = start_s
        self.blocks: list[Made] = []
        self.batches: list[dict] = []
        self.batch_trees: dict[bytes, object] = {}
        self.transactions: dict[str, dict] = {}
        self.devices: list[Simulated] = []
        self.proofs = ProofBuilder(self.genesis.chain_id, self.genesis_hash, self.ledger.store, self, self)
        self._nonce = 0
        self._app_hash = self.ledger.app_hash
        create = CreateAccount(self.admin.address, AccountKind.GATEWAY, "gateway-1", (), 1, (self.gateway.public,))
        self.run(create, holder=self.gateway)

    # -- the ports of a ProofBuilder ---------------------------------------------------------------------------------

    @property
    def latest_height(self) -> int:
        return len(self.blocks)

    def signed_header(self, height: int) -> SignedHeader:
        return self.blocks[height - 1].signed

    def validators(self, height: int) -> ValidatorSet:
        return self.set

    def leaf_with_path(self, stream: int, sequence: int, root: bytes, size: int, index: int):
        device = next(device for device in self.devices if device.number == stream)
        return device.leaves[sequence], tuple(self.batch_trees[root].path(index))

    # -- blocks ------------------------------------------------------------------------------------------------------

    def run(self, *messages, by: Actor | None = None, holder: Actor | None = None) -> Receipt:
        """One transaction of `by` in a block, and the block that proves it; `holder` co-signs for a key's own address."""
        actor = by or self.admin
        signers = [actor] if holder is None else [actor, holder]
        self._nonce += 1
        transaction = Transaction(
            signers=tuple(sorted(signer.address for signer in signers)),
            payer=actor.address,
            gas_limit=50_000_000,
            fee=0,
            expiry=self.time_s + 300,
            nonce=self._nonce.to_bytes(8, "big"),
            messages=messages,
        )
        data = sign_transaction(transaction, [signer.key for signer in signers], self.genesis_hash)
        receipt = self._block(make_bundle(self.node.key, self.node.address, (data,), self.genesis_hash), transaction)
        assert receipt is not None
        assert receipt.ok, receipt
        return receipt

    def _block(self, bundle: bytes | None, transaction: Transaction | None = None) -> Receipt | None:
        height = len(self.blocks) + 1
        last = self.blocks[-1].signed if self.blocks else None
        last_id = last.commit.block_id if last else BlockId(b"", 0, b"")
        header = Header(
            app_version=1,
            chain_id=self.genesis.chain_id,
            height=height,
            time=Timestamp.from_ns(self.time_s * NS),
            last_block_id=last_id,
            last_commit_hash=last.commit.hash() if last else EMPTY_ROOT,
            data_hash=sha256(bundle or b"").digest(),
            validators_hash=self.set.hash(),
            next_validators_hash=self.set.hash(),
            consensus_hash=sha256(b"parameters").digest(),
            app_hash=self._app_hash,
            last_results_hash=EMPTY_ROOT,
            evidence_hash=EMPTY_ROOT,
            proposer_address=self.set.validators[0].address,
        )
        block_id = BlockId(header.hash(), 1, sha256(b"parts" + header.hash()).digest())
        unsigned = CommitSig(BlockIdFlag.COMMIT, self.set.validators[0].address, header.time, bytes(64))
        commit = Commit(height, 0, block_id, (unsigned,))
        signature = self.validator.key.sign(commit.sign_bytes(self.genesis.chain_id, 0))
        commit = Commit(height, 0, block_id, (CommitSig(unsigned.flag, unsigned.address, header.time, signature),))
        done = self.ledger.finalize(height, self.time_s * NS, header.hash(), (bundle,) if bundle else ())
        self.ledger.commit()
        self._app_hash = done.app_hash
        self.time_s += 1
        made = Made(SignedHeader(header, commit), [], len(bundle or b"") + 700)
        self.blocks.append(made)
        if transaction is None:
            return None
        receipt = Receipt.from_bytes(done.result.bundles[0].receipts[0])
        made.transactions.append({"receipt": receipt, "transaction": transaction, "height": height})
        self._block(None)
        return receipt

    # -- devices -----------------------------------------------------------------------------------------------------

    def add(self, device: Simulated) -> None:
        """Register a device and its stream."""
        key = device.signer.public if device.signer else None
        place = (("model", "simulated"), ("place", "hall 2"))
        register = RegisterDevice(device.name, self.admin.address, key, self.gateway.address, place)
        self.run(register, holder=device.signer)
        schema = StreamSchema(device.quantities, "application/senml+json", backfill=device.backfill)
        self.run(DefineStream(device.name, device.stream, self.gateway.address, schema))
        device.number = len(self.devices)
        self.devices.append(device)

    def suspend(self, name: str) -> None:
        self.run(SetDeviceState(name, DeviceState.SUSPENDED, "maintenance"))

    def anchor(self, wanted: list[tuple[Simulated, list[list[tuple[str, str | None, list[str]]]]]]) -> None:
        """Accept messages (each a list of (quantity, value text, flags)) and anchor them in one batch."""
        groups = []
        fresh: list[tuple[Simulated, dict]] = []
        for device, messages in wanted:
            first = len(device.leaves)
            leaves = [self._accept(device, message, fresh) for message in messages]
            groups.append((device.number, first, leaves))
        groups.sort(key=lambda group: group[0])
        batch = build_batch(groups)
        self.batch_trees[batch.root] = batch.tree
        number = len(self.batches)
        entry = Anchor(
            self.gateway.address, number, batch.root, len(batch.leaves), batch.entries, ("segment://fixture",)
        )
        receipt = self.run(entry, by=self.gateway)
        height = len(self.blocks) - 1
        for _, item in fresh:
            item["block_time_s"] = self.time_s - 2
        self.batches.append(
            {"number": number, "root": batch.root, "size": len(batch.leaves), "streams": len(groups), "height": height,
             "time_s": self.time_s - 2, "transaction": receipt.tx_id}
        )  # fmt: skip

    def _accept(self, device: Simulated, values: list, fresh: list) -> bytes:
        sequence = len(device.leaves)
        device_s = device.began_s + sequence * device.step_s
        body = _senml(device, values, device_s)
        origin = Origin.GATEWAY
        if device.signer is not None:
            origin = Origin.DEVICE
            body = sign_message(
                device.signer.key, self.genesis_hash, self.genesis.chain_id, device.path, sequence, body,
                content_type="application/senml+json",
            )  # fmt: skip
        salt = sha256(f"{device.path} {sequence}".encode()).digest()[:16]
        arrival = self.time_s * NS + sequence % 1000 * 1_000_003
        content_type = 'application/cose; cose-type="cose-sign1"' if device.signer else "application/senml+json"
        leaf = Leaf(1, salt, device.path, sequence, arrival, content_type, origin, body).to_bytes()
        device.leaves.append(leaf)
        units = {quantity.name: quantity.unit for quantity in device.quantities}
        of_message = []
        for index, (quantity, value, flags) in enumerate(values):
            reading = {
                "stream": device.path, "sequence": sequence, "index": index, "quantity": quantity, "kind": "number",
                "value": value, "unit": units[quantity], "device_ns": device_s * NS, "arrival_ns": arrival,
                "flags": [*flags, *(["backfill"] if device.backfill else [])], "origin": origin.name.lower(),
            }  # fmt: skip
            device.readings.append(reading)
            of_message.append(reading)
            fresh.append((device, reading))
        device.messages.append(
            {"sequence": sequence, "arrival_ns": arrival, "content_type": content_type, "origin": origin.name.lower(),
             "body": body, "leaf_hash": leaf_hash(leaf), "readings": of_message}
        )  # fmt: skip
        return leaf


def _senml(device: Simulated, values: list, device_s: int) -> bytes:
    units = {quantity.name: quantity.unit for quantity in device.quantities}
    records = [
        f'{{"n":"{name}","u":"{units[name]}","t":{device_s}' + (f',"v":{value}}}' if value is not None else "}")
        for name, value, _ in values
    ]
    return ("[" + ",".join(records) + "]").encode()


def noise(name: str, at: int) -> float:
    """Between -1 and 1, the same in every run."""
    return int.from_bytes(sha256(f"{name} {at}".encode()).digest()[:4], "big") / 2**31 - 1


def measure(device: Simulated, at: int) -> list[tuple[str, str | None, list[str]]]:
    """What the device sends as its message number `at`."""
    values: list[tuple[str, str | None, list[str]]] = []
    for place, quantity in enumerate(device.quantities):
        calm = sin(at / 46 + place * 1.7) * 4 + sin(at / 7.3) * 0.8 + noise(device.path + quantity.name, at) * 0.6
        base = {"Cel": 21.0, "%RH": 44.0, "l/s": 12.0, "bar": 6.0}[quantity.unit]
        if device.name == "machine-7" and 236 <= at < 262:
            calm -= (at - 236) * 0.45  # the failing bearing of the recording
        flags: list[str] = []
        value: str | None = f"{base + calm:.{3 if quantity.unit == 'bar' else 2}f}"
        if device.signer is None and at % 23 == 11 and place == 0:
            value, flags = None, ["missing"]
        if device.name == "fridge-12" and at % 31 == 7:
            flags = ["late", "out_of_order"]
        values.append((quantity.name, value, flags))
    return values


def populated(start_s: int) -> Chain:
    """A chain with four devices and a few hundred messages."""
    chain = Chain(start_s)
    cel, humidity = Quantity("temperature", "Cel"), Quantity("humidity", "%RH")
    recorded_s = 1_388_620_800  # 2014-01-02
    chain.add(Simulated("machine-7", "bearing", (cel,), Actor.seeded("m7"), 300, True, recorded_s))
    chain.add(Simulated("fridge-12", "climate", (cel, humidity), Actor.seeded("f12", Suite.ES256), 60, False, start_s))
    flow = (Quantity("flow", "l/s"), Quantity("pressure", "bar"))
    chain.add(Simulated("boiler-3", "supply", flow, None, 30, False, start_s))
    chain.add(Simulated("lobby-1", "air", (cel, humidity), Actor.seeded("l1"), 1, False, start_s))
    for _ in range(12):
        chain.anchor(
            [
                (device, [measure(device, len(device.leaves) + i) for i in range(count)])
                for device, count in zip(chain.devices, (28, 9, 14, 5), strict=True)
            ]
        )
        chain.devices[0].began_s += 4 * 3600 if len(chain.batches) == 8 else 0  # a gap in the recording
    chain.suspend("boiler-3")
    return chain
