"""Several ledgers around an abstract consensus, in one process and in simulated time: what happens follows from the seed.

python -m althing.testing.replicas --seed 17          # this schedule again, event by event
python -m althing.testing.replicas --count 1000       # seeds 0 to 999, until one fails

Consensus decides a block when more than two thirds accept what a proposer made; messages are late or lost, replicas
lose power at any moment, also within a durable write, and clients send again what nobody answered. What must hold is
listed at `_Schedule.judge`.
"""

from __future__ import annotations

import argparse
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from random import Random
from typing import Final

from althing.ledger.app import Ledger
from althing.ledger.assembly import Rulebook, assemble
from althing.ledger.modules.identity.state import Attribute
from althing.ledger.query import find_transaction
from althing.ledger.runtime.errors import NotFoundError
from althing.ledger.state.backend import Backend
from althing.protocol.bundle import make_bundle
from althing.protocol.errors import AlthingError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import (
    Genesis,
    GenesisNode,
    GenesisOrganisation,
    GenesisValidator,
    Quota,
)
from althing.protocol.messages.identity import SetAttribute
from althing.protocol.receipt import Receipt
from althing.protocol.transaction import Transaction, sign_transaction
from althing.testing.harness import GAS, GENESIS_TIME, Actor, default_parameters, seeded_key
from althing.testing.journal import Disk, JournalBackend, PowerLossError
from althing.testing.linearizability import Operation, check_registers

__all__ = ["Outcome", "main", "run_schedule"]

REPLICAS: Final = 4
CLIENTS: Final = 3
REGISTERS: Final = 2
_STEPS: Final = 6  # operations of each client
_FAULTS_MS: Final = 6_000  # simulated time in which faults happen
_END_MS: Final = 120_000
_ROUND_MS: Final = 150
_AGAIN_MS: Final = 400  # a client that has no answer sends again
_POLL_MS: Final = 60  # a replica asks for blocks it has not heard of
_BLOCK_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a schedule did; `digest` is over every event of it, so that two runs of one seed can be compared."""

    seed: str
    height: int
    acknowledged: int
    power_losses: int
    torn_writes: int
    lost_messages: int
    digest: str


MakeLedger = Callable[[int, Backend, Genesis], Ledger]
MakeBackend = Callable[[int, Disk, Callable[[str], None]], Backend]


@cache
def _rulebook() -> Rulebook:
    return assemble()


def _ledger(_number: int, backend: Backend, genesis: Genesis) -> Ledger:
    return Ledger(backend, genesis, rulebook=_rulebook())


def _backend(_number: int, disk: Disk, fault: Callable[[str], None]) -> Backend:
    return JournalBackend(disk, fault=fault)


def run_schedule(
    seed: str,
    *,
    make_ledger: MakeLedger = _ledger,
    make_backend: MakeBackend = _backend,
    told: Callable[[str], None] = lambda _line: None,
) -> Outcome:
    """One schedule; AssertionError with the seed and how to repeat it when something does not hold."""
    schedule = _Schedule(seed, make_ledger, make_backend, told)
    try:
        return schedule.run()
    except (AssertionError, AlthingError) as error:
        raise AssertionError(
            f"seed {seed}: {error}\nagain: python -m althing.testing.replicas --seed {seed}"
        ) from error


@cache
def _genesis() -> Genesis:
    quota = Quota(2**50, 2**50)
    return Genesis(
        version=1,
        chain_id="simulated",
        time=GENESIS_TIME,
        initial_height=1,
        app_version=1,
        salt=bytes(16),
        parameters=default_parameters(),
        organisations=(GenesisOrganisation("acme", True, 1, (_admin().public,), quota),),
        validators=tuple(GenesisValidator(seeded_key(f"validator {i}").public, 10, "acme") for i in range(REPLICAS)),
        nodes=tuple(GenesisNode(f"node-{i}", "acme", _node(i).public) for i in range(REPLICAS)),
    )


@cache
def _admin() -> Actor:
    return Actor.seeded("admin")


@cache
def _node(number: int) -> Actor:
    return Actor.seeded(f"node {number}")


@dataclass(frozen=True, slots=True)
class _Block:
    height: int
    time_ns: int
    items: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        return sha256(self.height.to_bytes(8, "big") + self.time_ns.to_bytes(8, "big") + b"".join(self.items)).digest()


@dataclass(slots=True)
class _Replica:
    number: int
    skew_s: int
    disk: Disk = field(default_factory=Disk)
    ledger: Ledger | None = None  # None without power
    pool: dict[bytes, None] = field(default_factory=dict)  # in order of arrival
    waiting: dict[bytes, int] = field(default_factory=dict)  # transaction id → the client that asked here last


@dataclass(slots=True)
class _Call:
    """A client's operation under way: its transaction, and for a read the register it looks at afterwards."""

    client: int
    register: str
    kind: str
    value: str
    data: bytes
    called: int
    tx_id: bytes


class _Schedule:
    def __init__(
        self, seed: str, make_ledger: MakeLedger, make_backend: MakeBackend, told: Callable[[str], None]
    ) -> None:
        self.seed = seed
        self._random = Random(seed)  # noqa: S311 -- a plan to be repeated
        self._make_ledger = make_ledger
        self._make_backend = make_backend
        self._told = told
        self._digest = sha256()
        self._now = 0  # simulated milliseconds
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._replicas = [_Replica(i, self._random.randint(-30, 30)) for i in range(REPLICAS)]
        self._loss = self._random.choice((0.0, 0.1, 0.3))
        self._delay_ms = self._random.choice((5, 30, 120))
        self._crash = self._random.choice((0.0, 0.03, 0.1))  # of a durable write
        self._groups: list[set[int]] = [set(range(REPLICAS))]
        self._decided: list[_Block] = []
        self._roots: dict[int, bytes] = {0: b""}
        self._votes: dict[tuple[int, int], set[int]] = {}
        self._calls: dict[int, _Call] = {}
        self._steps = [0] * CLIENTS
        self._history: list[Operation] = []
        self._acknowledged: dict[bytes, int] = {}
        self._losses = self._torn = self._lost = 0
        self._calm = False
        self._done = False

    # --- time and messages ------------------------------------------------------------------------------------------

    def _at(self, after_ms: int, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self._now + after_ms, self._count, event))

    def _say(self, line: str) -> None:
        text = f"{self._now:7} {line}"
        self._digest.update(text.encode())
        self._told(text)

    def _send(self, origin: int, to: int, event: Callable[[], None]) -> None:
        """A message between replicas: late, lost, or cut off."""
        together = any(origin in group and to in group for group in self._groups)
        if origin != to and not self._calm and (not together or self._random.random() < self._loss):
            self._lost += 1
            return
        self._at(1 if origin == to else 1 + int(self._random.expovariate(1 / self._delay_ms)), event)

    # --- power ------------------------------------------------------------------------------------------------------

    def _start(self, replica: _Replica) -> None:
        if replica.ledger is not None:
            return
        try:
            backend = self._make_backend(replica.number, replica.disk, lambda at: self._within_write(replica, at))
            ledger = self._make_ledger(replica.number, backend, _genesis())
            if not ledger.height:
                root, _ = ledger.init_chain()
                self._same_root(0, root, replica)
        except PowerLossError:
            self._lose_power(replica)
            return
        replica.ledger = ledger
        self._say(f"replica {replica.number} starts at {ledger.height}")
        height = ledger.height
        assert height <= len(self._decided), "a replica is ahead of the chain"
        assert not height or ledger.app_hash == self._roots[height], f"replica {replica.number} woke with another state"

    def _within_write(self, replica: _Replica, at: str) -> None:
        if not self._calm and self._random.random() < self._crash / 2:
            self._torn += 1
            self._say(f"replica {replica.number} loses power {at}")
            raise PowerLossError

    def _lose_power(self, replica: _Replica) -> None:
        self._losses += 1
        replica.ledger, replica.pool, replica.waiting = None, {}, {}
        replica.disk.lose_power(self._random)
        self._say(f"replica {replica.number} is without power")
        self._at(self._random.randint(50, 1500), lambda: self._start(replica))

    def _faults(self) -> None:
        """Now and then somebody loses power, or the network falls apart."""
        if self._now > _FAULTS_MS:
            self._calm, self._groups = True, [set(range(REPLICAS))]
            self._say("calm")
            return
        draw = self._random.random()
        if draw < 0.25:
            victim = self._random.choice(self._replicas)
            if victim.ledger is not None:
                self._lose_power(victim)
        elif draw < 0.5:
            first = set(self._random.sample(range(REPLICAS), self._random.randint(1, 2)))
            self._groups = [first, set(range(REPLICAS)) - first]
            self._say(f"cut {sorted(first)} off")
        elif draw < 0.75:
            self._groups = [set(range(REPLICAS))]
        self._at(self._random.randint(50, 900), self._faults)

    # --- consensus --------------------------------------------------------------------------------------------------

    def _round(self, height: int, number: int) -> None:
        if self._done or height <= len(self._decided):
            return
        proposer = self._replicas[(height + number) % REPLICAS]
        ledger = proposer.ledger
        if ledger is not None and ledger.height == height - 1:
            before = self._decided[-1].time_ns if self._decided else GENESIS_TIME * 10**9
            clock = self._time_ns(proposer)
            items = tuple(ledger.choose(list(proposer.pool), _BLOCK_BYTES_MAX))
            block = _Block(height, max(before + 1, clock), items)
            for voter in self._replicas:
                self._send(
                    proposer.number,
                    voter.number,
                    lambda voter=voter: self._vote(voter, block, number),  # type: ignore[misc]
                )
        self._at(_ROUND_MS + 20 * number, lambda: self._round(height, number + 1))

    def _vote(self, voter: _Replica, block: _Block, number: int) -> None:
        ledger = voter.ledger
        if ledger is None or ledger.height != block.height - 1 or block.height <= len(self._decided):
            return
        assert ledger.acceptable(block.items), f"replica {voter.number} refuses what a correct proposer made"
        votes = self._votes.setdefault((block.height, number), set())
        votes.add(voter.number)
        if 3 * len(votes) > 2 * REPLICAS:
            self._decided.append(block)
            self._say(f"block {block.height} of {len(block.items)} items decided in round {number}")
            for replica in self._replicas:
                self._send(voter.number, replica.number, lambda replica=replica: self._execute(replica))  # type: ignore[misc]
            self._at(20, lambda: self._round(block.height + 1, 0))

    def _execute(self, replica: _Replica) -> None:
        """All blocks that this replica has not executed: heard of, or fetched from others."""
        try:
            while replica.ledger is not None and replica.ledger.height < len(self._decided):
                self._execute_block(replica, replica.ledger, self._decided[replica.ledger.height])
        except PowerLossError:
            self._lose_power(replica)

    def _execute_block(self, replica: _Replica, ledger: Ledger, block: _Block) -> None:
        done = ledger.finalize(block.height, block.time_ns, block.hash, block.items)
        self._same_root(block.height, done.app_hash, replica)
        ledger.commit()
        self._say(f"replica {replica.number} commits {block.height}")
        for item in block.items:
            replica.pool.pop(item, None)
        for bundle in done.result.bundles:
            for tx_id, data in zip(bundle.tx_ids, bundle.receipts, strict=True):
                receipt = Receipt.from_bytes(data)
                if tx_id in replica.waiting and receipt.gas_used:
                    self._answer(replica, replica.waiting.pop(tx_id), tx_id, block.height, receipt)
        clock = self._time_ns(replica) // 10**9
        for item in list(replica.pool):
            try:
                ledger.check_bundle(item, clock, recheck=True)
            except AlthingError:
                del replica.pool[item]

    def _same_root(self, height: int, root: bytes, replica: _Replica) -> None:
        known = self._roots.get(height) or root
        self._roots[height] = known
        assert root == known, f"replica {replica.number} has another state at height {height}"

    def _poll(self, replica: _Replica) -> None:
        if self._done:
            return
        if self._calm or len(next((g for g in self._groups if replica.number in g), ())) > 1:
            self._execute(replica)
        self._at(_POLL_MS, lambda: self._poll(replica))

    def _time_ns(self, replica: _Replica) -> int:
        return (GENESIS_TIME + 60 + replica.skew_s) * 10**9 + self._now * 10**6

    # --- clients ----------------------------------------------------------------------------------------------------

    def _next(self, client: int) -> None:
        """Its next operation. A read is a write of the client's own mark, and then a look at a state that has it."""
        if self._steps[client] == _STEPS:
            return
        self._steps[client] += 1
        register = f"r{self._random.randrange(REGISTERS)}"
        value = f"{client}.{self._steps[client]}"
        kind = "read" if self._random.random() < 0.4 else "write"
        name = f"mark-{client}" if kind == "read" else register
        admin = _admin()
        transaction = Transaction(
            signers=(admin.address,),
            payer=admin.address,
            gas_limit=GAS,
            fee=0,
            expiry=GENESIS_TIME + 400,
            nonce=(client * 1000 + self._steps[client]).to_bytes(8, "big"),
            messages=(SetAttribute(admin.address, name, value),),
        )
        data = sign_transaction(transaction, [admin.key], genesis_hash(_genesis()))
        call = _Call(client, register, kind, value, data, self._now, b"")
        self._calls[client] = call
        self._submit(call, self._steps[client])

    def _submit(self, call: _Call, step: int) -> None:
        """To any replica, and again while there is no answer: the same transaction, so it is executed once."""
        if self._done or self._calls.get(call.client) is not call:
            return
        replica = self._random.choice(self._replicas)
        if replica.ledger is not None and (self._calm or self._random.random() >= self._loss):
            self._admit(replica, replica.ledger, call)
        self._at(_AGAIN_MS, lambda: self._submit(call, step))

    def _admit(self, replica: _Replica, ledger: Ledger, call: _Call) -> None:
        clock = self._time_ns(replica) // 10**9
        (found,) = ledger.admit([call.data], clock)
        if isinstance(found, AlthingError):
            assert found.code == "tx.replayed", f"a good transaction is refused: {found}"
            tx = ledger.transactions.parse(call.data, ledger.genesis_hash)
            place = find_transaction(ledger.store, tx.id)
            receipt = Receipt.from_bytes(ledger.outcome(place.height).receipts[place.bundle][place.index])
            self._answer(replica, call.client, tx.id, place.height, receipt)
            return
        replica.waiting[found.tx.id] = call.client
        node = _node(replica.number)
        bundle = make_bundle(node.key, node.address, (call.data,), ledger.genesis_hash)
        for other in self._replicas:
            self._send(replica.number, other.number, lambda other=other: self._gossip(other, bundle))  # type: ignore[misc]

    def _gossip(self, replica: _Replica, bundle: bytes) -> None:
        if replica.ledger is None or bundle in replica.pool:
            return
        try:
            replica.ledger.check_bundle(bundle, self._time_ns(replica) // 10**9, recheck=False)
        except AlthingError:
            return
        replica.pool[bundle] = None

    def _answer(self, replica: _Replica, client: int, tx_id: bytes, height: int, receipt: Receipt) -> None:
        assert receipt.ok, f"a good transaction is executed with {receipt.code}"
        if not self._calm and self._random.random() < self._loss:
            return
        call = self._calls.get(client)
        ledger = replica.ledger
        if call is None or ledger is None or receipt.tx_id != tx_id:
            return
        if ledger.transactions.parse(call.data, ledger.genesis_hash).id != tx_id:
            return  # of an operation before this one
        value: str | None = call.value
        if call.kind == "read":
            with ledger.store.backend.read():
                data = ledger.store.view().get(b"identity/attribute/" + _admin().address + call.register.encode())
            value = None if data is None else Attribute.from_bytes(data).value
        self._acknowledged[tx_id] = height
        kind = "read" if call.kind == "read" else "write"
        self._history.append(
            Operation(str(client), call.register, kind, value, call.called, self._now)  # type: ignore[arg-type]
        )
        self._say(f"client {client}: {kind} {call.register} {value} at {height}")
        del self._calls[client]
        self._at(self._random.randint(1, 100), lambda: self._next(client))

    # --- the whole --------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        for replica in self._replicas:
            self._start(replica)
            self._at(self._random.randrange(_POLL_MS), lambda replica=replica: self._poll(replica))  # type: ignore[misc]
        for client in range(CLIENTS):
            self._at(client, lambda client=client: self._next(client))  # type: ignore[misc]
        self._at(1, lambda: self._round(1, 0))
        self._at(1, self._faults)
        while self._events and not self._done:
            self._now, _, event = heapq.heappop(self._events)
            assert self._now < _END_MS, f"no end in sight: {len(self._decided)} blocks, {self._calls}"
            event()
            idle = not self._calls and min(self._steps) == _STEPS
            self._done = self._calm and idle and all(self._caught_up(replica) for replica in self._replicas)
        self.judge()
        return Outcome(
            self.seed,
            len(self._decided),
            len(self._acknowledged),
            self._losses,
            self._torn,
            self._lost,
            self._digest.hexdigest(),
        )

    def _caught_up(self, replica: _Replica) -> bool:
        return replica.ledger is not None and replica.ledger.height == len(self._decided)

    def judge(self) -> None:
        """After all replicas have lost power once more, by what is on their disks:

        1. each has every block, and the same state at every height,
        2. what was acknowledged was executed, at the height told,
        3. nothing was executed twice,
        4. the registers are linearizable.
        """
        assert len(self._acknowledged) == CLIENTS * _STEPS, "an operation has no answer"
        for replica in self._replicas:
            replica.disk.lose_power(self._random)
            backend = self._make_backend(replica.number, replica.disk, lambda _at: None)
            ledger = self._make_ledger(replica.number, backend, _genesis())
            assert ledger.height == len(self._decided), f"replica {replica.number} has lost blocks"  # 1
            executed: Counter[bytes] = Counter()
            for height in range(1, ledger.height + 1):
                assert ledger.store.root(height) == self._roots[height], f"replica {replica.number}, height {height}"
                executed.update(_executed(ledger, height))
            for tx_id, height in self._acknowledged.items():  # 2
                assert executed[tx_id], f"replica {replica.number} has lost {tx_id.hex()[:8]} of height {height}"
                try:
                    place = find_transaction(ledger.store, tx_id)
                except NotFoundError:
                    raise AssertionError(f"replica {replica.number} does not find {tx_id.hex()[:8]}") from None
                assert place.height == height, f"{tx_id.hex()[:8]} was told to be at {height}"
            assert max(executed.values()) == 1, f"replica {replica.number} has executed something twice"  # 3
        check_registers(self._history)  # 4


def _executed(ledger: Ledger, height: int) -> Iterator[bytes]:
    """Ids that a block used up: a refusal before execution uses no gas."""
    try:
        outcome = ledger.outcome(height)
    except NotFoundError:
        return
    for bundle in outcome.receipts:
        for data in bundle:
            receipt = Receipt.from_bytes(data)
            if receipt.gas_used:
                yield receipt.tx_id


def main(arguments: Sequence[str] | None = None) -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m althing.testing.replicas")
    parser.add_argument("--seed", help="one schedule, with its events")
    parser.add_argument("--count", type=int, default=100, help="how many seeds, from 0 on")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        print(run_schedule(chosen.seed, told=print))
        return
    for seed in range(chosen.count):
        run_schedule(str(seed))
    print(f"{chosen.count} schedules hold")


if __name__ == "__main__":
    main()
