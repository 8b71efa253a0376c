"""Clients that write and read registers of a chain while it suffers, and remember every call and answer.

A write is a transaction. A linearizable read is a transaction of the reader's own and then a proved read of a state that
has it: what any node proves may be old, what is proved after an own write is not older than that.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

from althing.client import AsyncClient, Signer
from althing.client.errors import LyingNodeError
from althing.client.sending import Committed
from althing.client.transport import Transport
from althing.ledger.modules.identity.state import Attribute
from althing.protocol.errors import AlthingError
from althing.protocol.messages.identity import SetAttribute
from althing.protocol.trust import parse_trust
from althing.testing.faults import wait_until
from althing.testing.linearizability import Operation

__all__ = ["Record", "Workload"]

_ANSWER_S: Final = 8.0  # then the answer counts as lost; what was sent may still be executed
_READS: Final = 0.35
_PAUSE_S: Final = 0.02
_LATER_S: Final = 0.2  # after a refusal


@dataclass(slots=True)
class Record:
    """What happened. `acknowledged` are transactions with their heights, `refusals` codes of calls that got no answer."""

    operations: list[Operation] = field(default_factory=list)
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    lies: list[str] = field(default_factory=list)


class Workload:
    """`clients` clients, each with a plan that follows from the seed. Use as a context manager: leaving it ends them."""

    def __init__(
        self,
        nodes: Sequence[str],
        trust: Path,
        signers: Sequence[Signer],
        *,
        seed: str,
        clients: int = 4,
        registers: int = 3,
    ) -> None:
        self.record = Record()
        self._nodes = list(nodes)
        self._trust = trust
        self._signers = list(signers)
        self._registers = registers
        self._seed = seed
        self._clients = clients
        self._stop = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="workload", daemon=True)
        self._working: list[Future[None]] = []

    def __enter__(self) -> Workload:
        self._thread.start()
        for number in range(self._clients):
            self._working.append(asyncio.run_coroutine_threadsafe(self._work(number), self._loop))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        try:
            for one in self._working:
                one.result(6 * _ANSWER_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def answered(self) -> int:
        """Writes and reads so far that were answered."""
        return sum(one.returned is not None for one in tuple(self.record.operations))

    def until(self, more: int, timeout_s: float = 90) -> None:
        """Wait until so many further operations are answered: the chain goes on."""
        wanted = self.answered + more

        def done() -> bool:
            for one in self._working:
                if one.done():
                    one.result()  # a client that failed fails the test
            return self.answered >= wanted

        wait_until(done, timeout_s, lambda: f"{self.answered} of {wanted} answers; refusals: {self.record.refusals}")

    async def _work(self, number: int) -> None:
        random = Random(f"{self._seed} {number}")  # noqa: S311 -- a plan to be repeated
        turned = self._nodes[number % len(self._nodes) :] + self._nodes[: number % len(self._nodes)]
        transport = Transport(turned, timeout_s=_ANSWER_S)
        trust = parse_trust(await asyncio.to_thread(self._trust.read_bytes))
        client = AsyncClient(transport, trust, self._signers[number % len(self._signers)])
        try:
            for step in range(1_000_000):
                if self._stop.is_set():
                    return
                register = random.randrange(self._registers)
                if random.random() < _READS:
                    answered = await self._read(client, number, register, f"m{step}")
                else:
                    answered = await self._write(client, number, register, f"{number}.{step}")
                if not answered:
                    transport.turn()
                await asyncio.sleep(_PAUSE_S if answered else _LATER_S)
        finally:
            await client.aclose()

    async def _write(self, client: AsyncClient, number: int, register: int, value: str) -> bool:
        return await self._call(number, register, "write", value, lambda: self._set(client, register, value))

    async def _read(self, client: AsyncClient, number: int, register: int, mark: str) -> bool:
        async def read() -> str | None:
            own = self._signers[number % len(self._signers)]
            done = await client.send(SetAttribute(own.address, f"mark-{number}", mark), signers=[own])
            self._acknowledged(done)
            key = b"identity/attribute/" + self._owner(register).address + f"r{register}".encode()
            version, value = await client.state(key)
            assert version >= done.height, "the state that was read has not the reader's own write"
            return None if value is None else Attribute.from_bytes(value).value

        return await self._call(number, register, "read", None, read)

    async def _set(self, client: AsyncClient, register: int, value: str) -> str:
        owner = self._owner(register)
        self._acknowledged(await client.send(SetAttribute(owner.address, f"r{register}", value), signers=[owner]))
        return value

    def _owner(self, register: int) -> Signer:
        return self._signers[register % len(self._signers)]

    def _acknowledged(self, done: Committed) -> None:
        self.record.acknowledged[done.tx_id] = done.height

    async def _call(
        self, number: int, register: int, kind: Literal["read", "write"], value: str | None, call: Callable[[], Any]
    ) -> bool:
        called = time.monotonic_ns()
        returned: int | None = None
        try:
            value = await asyncio.wait_for(call(), _ANSWER_S)
            returned = time.monotonic_ns()
        except TimeoutError:
            self.record.refusals["timeout"] += 1
        except LyingNodeError as error:
            self.record.lies.append(error.message)
        except AlthingError as error:
            self.record.refusals[error.code] += 1
        self.record.operations.append(Operation(str(number), f"r{register}", kind, value, called, returned))
        return returned is not None
