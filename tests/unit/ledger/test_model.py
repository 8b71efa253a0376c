"""A random chain against a model that is only dictionaries: accounts, devices, streams, and replay.

Each rule sends one transaction that the model says will pass or be refused with a certain code; several may share a
block. After every block, and after restarts, the ledger's answers are the model's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from althing.ledger.query import LedgerView
from althing.protocol.address import address_of_name
from althing.protocol.catalog import MessageBody
from althing.protocol.merkle import Tree, leaf_hash
from althing.protocol.messages.devices import DeviceState, RegisterDevice, SetDeviceState
from althing.protocol.messages.identity import (
    AccountKind,
    AccountStatus,
    CreateAccount,
    SetAccountStatus,
    SetAttribute,
)
from althing.protocol.messages.streams import Anchor, AnchorEntry, DefineStream, HandOver
from althing.protocol.schema import StreamSchema
from althing.testing.harness import Actor, LedgerHarness

PEOPLE = [Actor.seeded(f"person {i}").under(Actor.seeded("admin")) for i in range(4)]
GATEWAYS = [Actor.seeded("gateway"), Actor.seeded("gateway 2")]
DEVICES = ["d0", "d1", "d2"]
PATHS = [f"{device}/{name}" for device in DEVICES for name in ("a", "b")]
PERSON, GATEWAY = st.sampled_from(PEOPLE), st.sampled_from(GATEWAYS)
DEVICE, PATH = st.sampled_from(DEVICES), st.sampled_from(PATHS)


@dataclass
class Stream:
    number: int
    gateway: bytes
    next: int = 0
    rows: list[tuple[bytes, int, int]] = field(default_factory=list)  # batch root, first, count


class Chain(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.chain = LedgerHarness()
        self.waiting: list[tuple[bytes, str]] = []
        self.sent: list[bytes] = []  # executed or waiting to be

    @initialize()
    def found(self) -> None:
        admin = self.chain.admin
        create = CreateAccount(admin.address, AccountKind.GATEWAY, "gw-2", (), 1, (GATEWAYS[1].public,))
        assert self.chain.run([admin, GATEWAYS[1]], create).ok
        self.people: dict[bytes, AccountStatus] = {}
        self.notes: dict[bytes, str] = {}
        self.devices: dict[str, DeviceState] = {}
        self.streams: dict[str, Stream] = {}
        self.anchors: dict[bytes, list[bytes]] = {gateway.address: [] for gateway in GATEWAYS}

    def send(self, actor: Actor, message: MessageBody, code: str) -> None:
        data = self.chain.sign(actor, message)
        self.waiting.append((data, code))
        if not code.startswith("tx."):
            self.sent.append(data)

    # --- rules: what the model expects is decided before the message is sent, in order --------------------------------

    @rule(person=PERSON)
    def create(self, person: Actor) -> None:
        admin = self.chain.admin
        code = "identity.exists" if person.address in self.people else ""
        self.people.setdefault(person.address, AccountStatus.ACTIVE)
        self.send(admin, CreateAccount(admin.address, AccountKind.PERSON, "p", (), 1, (person.public,)), code)

    @rule(person=PERSON, status=st.sampled_from(AccountStatus))
    def set_status(self, person: Actor, status: AccountStatus) -> None:
        present = self.people.get(person.address)
        code = ""
        if present is None:
            code = "identity.unknown"
        elif present == AccountStatus.CLOSED:
            code = "identity.closed"
        else:
            self.people[person.address] = status
        self.send(self.chain.admin, SetAccountStatus(person.address, status), code)

    @rule(person=PERSON, value=st.sampled_from(["x", "y", None]))
    def write_note(self, person: Actor, value: str | None) -> None:
        status = self.people.get(person.address)
        code = {None: "tx.unknown_account", AccountStatus.ACTIVE: ""}.get(status, "tx.suspended")
        if not code:
            self.notes.pop(person.address, None)
            if value is not None:
                self.notes[person.address] = value
        self.send(person, SetAttribute(person.address, "note", value), code)

    @rule(device=DEVICE)
    def register(self, device: str) -> None:
        code = "devices.name_taken" if device in self.devices else ""
        self.devices.setdefault(device, DeviceState.ACTIVE)
        self.send(self.chain.admin, RegisterDevice(device, self.chain.admin.address, None, None, ()), code)

    @rule(device=DEVICE, state=st.sampled_from(DeviceState))
    def set_state(self, device: str, state: DeviceState) -> None:
        present = self.devices.get(device)
        code = ""
        if present is None:
            code = "devices.unknown"
        elif present == DeviceState.RETIRED:
            code = "devices.retired"
        else:
            self.devices[device] = state
        self.send(self.chain.admin, SetDeviceState(device, state, ""), code)

    @rule(path=PATH, gateway=GATEWAY)
    def define(self, path: str, gateway: Actor) -> None:
        device, _, name = path.partition("/")
        code = ""
        if self.devices.get(device, DeviceState.RETIRED) == DeviceState.RETIRED:
            code = "streams.device"
        elif path in self.streams:
            code = "streams.exists"
        else:
            self.streams[path] = Stream(len(self.streams), gateway.address)
        self.send(self.chain.admin, DefineStream(device, name, gateway.address, StreamSchema()), code)

    @rule(path=PATH, gateway=GATEWAY, late=st.booleans())
    def hand_over(self, path: str, gateway: Actor, late: bool) -> None:
        stream = self.streams.get(path)
        following = 0 if stream is None else stream.next + late
        code = ""
        if stream is None:
            code = "streams.unknown"
        elif late:
            code = "streams.sequence"
        else:
            stream.gateway = gateway.address
        self.send(self.chain.admin, HandOver(path, gateway.address, following), code)

    @rule(
        gateway=GATEWAY,
        counts=st.dictionaries(PATH, st.integers(1, 5), min_size=1, max_size=4),
        slip=st.sampled_from([0, 0, 0, 1]),
        number_slip=st.sampled_from([0, 0, 0, 1]),
    )
    def anchor(self, gateway: Actor, counts: dict[str, int], slip: int, number_slip: int) -> None:
        parts = sorted((self.streams[p].number, p, n) for p, n in counts.items() if p in self.streams)
        if not parts:
            return
        done = self.anchors[gateway.address]
        entries = tuple(AnchorEntry(number, self.streams[path].next + slip, count) for number, path, count in parts)
        root = sha256(repr((gateway.address, len(done), parts, slip)).encode()).digest()
        code = ""
        if number_slip:
            code = "streams.anchor_number"
        else:
            for _, path, _ in parts:
                if self.streams[path].gateway != gateway.address:
                    code = "streams.not_writer"
                elif slip:
                    code = "streams.sequence"
                if code:
                    break
        message = Anchor(gateway.address, len(done) + number_slip, root, sum(e.count for e in entries), entries, ())
        self.send(gateway, message, code)
        if code:
            return
        done.append(root)
        for _, path, count in parts:
            stream = self.streams[path]
            stream.rows.append((root, stream.next, count))
            stream.next += count
        self.send(gateway, message, "")  # the gateway did not hear the answer

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        if self.sent:
            self.waiting.append((data.draw(st.sampled_from(self.sent)), "tx.replayed"))

    @rule()
    def empty_block(self) -> None:
        self.flush()
        root = self.chain.ledger.app_hash
        self.chain.block()
        assert self.chain.ledger.app_hash == root

    @rule()
    def restart(self) -> None:
        self.flush()
        root = self.chain.ledger.app_hash
        self.chain.reopen()
        assert self.chain.ledger.app_hash == root

    @rule(twice=st.booleans())
    def flush(self, twice: bool = False) -> None:
        """A block of all that waits, in two bundles; perhaps executed once more, as after a crash before commit."""
        if not self.waiting:
            return
        middle = len(self.waiting) // 2
        groups = [group for group in (self.waiting[:middle], self.waiting[middle:]) if group]
        items = tuple(self.chain.bundle(*(data for data, _ in group)) for group in groups)
        if twice:
            self.chain.height += 1
            self.chain.time_s += 1
            first = self.chain.finalize(items)
            self.chain.reopen()
            self.chain.height -= 1
            self.chain.time_s -= 1
        receipts = self.chain.block_of(items)
        if twice:
            assert self.chain.blocks[-1] == first
        assert [receipt.code for receipt in receipts] == [code for _, code in self.waiting]
        self.waiting.clear()

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        if self.waiting or not hasattr(self, "people"):
            return
        view = LedgerView(self.chain.ledger.store)
        for person in PEOPLE:
            if person.address in self.people:
                assert view.account(person.address).status == self.people[person.address]
            note = dict(view.attributes(person.address)).get("note")
            assert note == self.notes.get(person.address)
        assert {d.name: d.state for d in view.devices(None, 100)} == self.devices
        for name in self.devices:
            assert view.device(name).address == address_of_name(self.chain.admin.address, "device", name)
        assert {s.path: s.id for s in view.streams(None, 100)} == {p: s.number for p, s in self.streams.items()}
        for path, stream in self.streams.items():
            assert view.stream(path).gateway == stream.gateway
            head = view.head(stream.number)
            assert (head.next_sequence, head.log_size) == (stream.next, len(stream.rows))
            rows = [view.row(stream.number, i) for i in range(len(stream.rows))]
            assert [(row.batch_root, row.first, row.count) for row, _ in rows] == stream.rows
            if rows:
                assert head.log_root == Tree([leaf_hash(data) for _, data in rows]).root
                assert view.row_of(stream.number, stream.next - 1) == len(rows) - 1
        for gateway, done in self.anchors.items():
            found = view.gateway_head(gateway)
            assert (found.next_number, found.last_root) == (len(done), done[-1] if done else bytes(32))

    def teardown(self) -> None:
        if hasattr(self, "people"):
            self.flush()
            self.the_ledger_is_the_model()


TestChain = Chain.TestCase
TestChain.settings = settings(max_examples=25, stateful_step_count=40)
