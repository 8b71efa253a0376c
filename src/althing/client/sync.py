"""`Client`: the SDK without async, a thin façade that runs an `AsyncClient` on a background loop.

with Client("http://127.0.0.1:8420", signer=load_signer(path)) as chain:
    print(chain.readings("pump-1/temperature").to_pandas())
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from althing.client.client import AsyncClient, ChainEvent
from althing.client.readings import Readings
from althing.client.sending import Committed, Signer
from althing.protocol.catalog import MessageBody
from althing.protocol.messages.assets import Balance, Unit
from althing.protocol.messages.devices import Device, DeviceState
from althing.protocol.messages.governance import Parameters
from althing.protocol.messages.identity import Account, AccountKind, Key
from althing.protocol.messages.proposals import Proposal
from althing.protocol.messages.staking import Stake, StakingParameters
from althing.protocol.messages.streams import StreamDefinition, StreamHead
from althing.protocol.schema import StreamSchema
from althing.protocol.trust import Trust

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """Synchronous calls of `AsyncClient`; see there for each. Safe from any thread."""

    def __init__(
        self,
        nodes: str | Sequence[str],
        *,
        trust: Trust | Path | None = None,
        signer: Signer | None = None,
        token: str = "",
        verify: Any = True,
        timeout_s: int = 30,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="althing-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(
                AsyncClient.connect(nodes, trust=trust, signer=signer, token=token, verify=verify, timeout_s=timeout_s)
            )
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if not self._loop.is_closed():
            self._run(self._client.aclose())
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @property
    def trust(self) -> Trust:
        return self._client.trust

    @property
    def url(self) -> str:
        return self._client.url

    def send(self, *messages: MessageBody, signers: Sequence[Signer] = ()) -> Committed:
        return self._run(self._client.send(*messages, signers=signers))

    def send_all(self, transactions: Iterable[Sequence[MessageBody]]) -> list[Committed]:
        """Many transactions in flight at once, one for each group of messages; receipts in the same order."""

        async def gather() -> list[Committed]:
            return list(await asyncio.gather(*(self._client.send_later(*group) for group in transactions)))

        return self._run(gather())

    def create_account(self, name: str, kind: AccountKind, keys: Sequence[Key], **options: Any) -> Committed:
        return self._run(self._client.create_account(name, kind, keys, **options))

    def register_device(
        self,
        name: str,
        *,
        key: Key | None,
        gateway: bytes | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        device: Signer | None = None,
    ) -> Committed:
        return self._run(self._client.register_device(name, key=key, gateway=gateway, metadata=metadata, device=device))

    def set_device_state(self, name: str, state: DeviceState, reason: str = "") -> Committed:
        return self._run(self._client.set_device_state(name, state, reason))

    def set_device_metadata(self, name: str, metadata: Sequence[tuple[str, str]]) -> Committed:
        return self._run(self._client.set_device_metadata(name, metadata))

    def bind_gateway(self, name: str, gateway: bytes | None) -> Committed:
        return self._run(self._client.bind_gateway(name, gateway))

    def define_stream(self, path: str, gateway: bytes, schema: StreamSchema) -> Committed:
        return self._run(self._client.define_stream(path, gateway, schema))

    def update_stream(self, path: str, schema: StreamSchema) -> Committed:
        return self._run(self._client.update_stream(path, schema))

    def hand_over(self, path: str, gateway: bytes, next_sequence: int) -> Committed:
        return self._run(self._client.hand_over(path, gateway, next_sequence))

    def set_attribute(self, name: str, value: str | None) -> Committed:
        return self._run(self._client.set_attribute(name, value))

    def rotate_keys(
        self, account: bytes, *, add: Sequence[Key], end: Sequence[bytes], compromised: bool = False
    ) -> Committed:
        return self._run(self._client.rotate_keys(account, add=add, end=end, compromised=compromised))

    def propose(self, title: str, decisions: Sequence[MessageBody], *, expires: int) -> Committed:
        return self._run(self._client.propose(title, decisions, expires=expires))

    def vote(self, proposal: int | Proposal, *, agree: bool = True) -> Committed:
        return self._run(self._client.vote(proposal, agree=agree))

    def withdraw(self, proposal: int) -> Committed:
        return self._run(self._client.withdraw(proposal))

    def parameters(self) -> Parameters:
        return self._run(self._client.parameters())

    def proposal(self, number: int) -> Proposal:
        return self._run(self._client.proposal(number))

    def account(self, address: bytes) -> Account:
        return self._run(self._client.account(address))

    def unit(self, symbol: str) -> Unit:
        return self._run(self._client.unit(symbol))

    def balance(self, account: bytes, symbol: str) -> Balance:
        return self._run(self._client.balance(account, symbol))

    def learn_price(self) -> int:
        return self._run(self._client.learn_price())

    def staking(self) -> StakingParameters:
        return self._run(self._client.staking())

    def stake(self, organisation: bytes) -> Stake:
        return self._run(self._client.stake(organisation))

    def device(self, name: str) -> Device:
        return self._run(self._client.device(name))

    def stream(self, path: str) -> tuple[StreamDefinition, StreamHead]:
        return self._run(self._client.stream(path))

    def readings(self, stream: str, **options: Any) -> Readings:
        return self._run(self._client.readings(stream, **options))

    def proof(self, stream: str, sequence: int, *, trust: Trust | None = None, height: int | None = None) -> bytes:
        return self._run(self._client.proof(stream, sequence, trust=trust, height=height))

    def tied(self, proof: bytes, trust: Trust) -> bytes:
        return self._run(self._client.tied(proof, trust))

    def network(self, *, window: int = 100) -> dict[str, Any]:
        return self._run(self._client.network(window=window))

    def get(self, path: str, **params: Any) -> Any:
        return self._run(self._client.get(path, **params))

    def events(self, after: tuple[int, int] = (0, 0), *, name: str = "") -> Iterator[ChainEvent]:
        events = self._client.events(after, name=name)

        async def following() -> ChainEvent:
            return await anext(events)

        while True:
            yield self._run(following())
