"""`AsyncClient`: one account's view of a chain through nodes it need not trust.

async with await AsyncClient.connect("http://127.0.0.1:8420", signer=load_signer(path)) as chain:
    await chain.register_device("pump-1", key=public_key, gateway=gateway)
    page = await chain.readings("pump-1/temperature", time="device")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from althing.client.errors import ClientError, LyingNodeError, NodeError, RefusedTransactionError
from althing.client.events import ChainEvent, events_of
from althing.client.keyfile import load_key
from althing.client.readings import Readings, reading_of_json
from althing.client.sending import Committed, Sender, Signer
from althing.client.transport import Transport
from althing.client.verified import VerifiedReader, pinned
from althing.client.verifying import check_readings, verify_all
from althing.light.verifier import Verified
from althing.protocol.address import address_of_key, format_address, stream_path
from althing.protocol.catalog import MessageBody, body_to_item
from althing.protocol.codec import decode, encode
from althing.protocol.errors import UnavailableError
from althing.protocol.messages.assets import Balance, Unit
from althing.protocol.messages.devices import (
    BindGateway,
    Device,
    DeviceState,
    RegisterDevice,
    SetDeviceState,
    SetMetadata,
)
from althing.protocol.messages.governance import Parameters
from althing.protocol.messages.identity import (
    Account,
    AccountKind,
    CreateAccount,
    Key,
    Role,
    RotateKeys,
    SetAttribute,
)
from althing.protocol.messages.proposals import Proposal, Propose, Vote, Withdraw
from althing.protocol.messages.staking import Stake, StakingParameters
from althing.protocol.messages.streams import DefineStream, HandOver, StreamDefinition, StreamHead, UpdateStream
from althing.protocol.record import Record
from althing.protocol.schema import StreamSchema
from althing.protocol.trust import Trust, parse_trust

__all__ = ["AsyncClient", "ChainEvent", "load_signer"]

_PROOFS_A_REQUEST: Final = 256
R = TypeVar("R", bound=Record)


def load_signer(path: Path, *, passphrase: str | None = None) -> Signer:
    """The account of a key file: its address is that of the key it was created with."""
    key = load_key(path, passphrase=passphrase)
    return Signer(address_of_key(key.suite, key.public), (key,))


class AsyncClient:
    """The SDK. Made by `connect`; every read of state is verified against the trusted validators."""

    def __init__(
        self, transport: Transport, trust: Trust, signer: Signer | None, *, reader: VerifiedReader | None = None
    ) -> None:
        """`reader` decides which headers are the chain's; by default those that follow from `trust`."""
        self._transport = transport
        self._reader = reader or VerifiedReader(transport, trust)
        self._sender = Sender(transport, trust.genesis_hash)
        self._signer = signer

    @classmethod
    async def connect(
        cls,
        nodes: str | Sequence[str],
        *,
        trust: Trust | Path | None = None,
        signer: Signer | None = None,
        token: str = "",
        verify: Any = True,
        timeout_s: int = 30,
    ) -> Self:
        """Connect to one or several nodes of a chain.

        Without `trust` the first node's word is taken once: fine on your own machine, not across the internet.
        `verify` is an ssl.SSLContext for certificates that the system does not trust.
        """
        urls = [nodes] if isinstance(nodes, str) else nodes
        transport = Transport(urls, token=token, verify=verify, timeout_s=timeout_s)
        try:
            if isinstance(trust, Path):
                trust = parse_trust(await asyncio.to_thread(trust.read_bytes))
            if trust is None:
                trust = parse_trust(await transport.get_bytes("/v1/trust", accept="application/json"))
        except BaseException:
            await transport.aclose()
            raise
        return cls(transport, trust, signer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._sender.aclose()
        await self._transport.aclose()

    @property
    def trust(self) -> Trust:
        """The newest header verified so far, to be pinned."""
        return self._reader.trust

    @property
    def url(self) -> str:
        return self._transport.url

    # --- writing --------------------------------------------------------------------------------------------------

    async def send(self, *messages: MessageBody, signers: Sequence[Signer] = ()) -> Committed:
        """One transaction of these messages, all or nothing; returns when it is in a block.

        Where the chain asks for fees the least one is paid: `learn_price` is called when a node refuses for it.
        """
        try:
            return await self.send_later(*messages, signers=signers)
        except RefusedTransactionError as exc:
            before = self._sender.gas_price
            if exc.code != "tx.fee" or await self.learn_price() == before:
                raise
        return await self.send_later(*messages, signers=signers)

    async def learn_price(self) -> int:
        """What the chain asks for a unit of gas, proved; what is sent from now on pays it."""
        self._sender.gas_price = (await self.parameters()).gas_price_min
        return self._sender.gas_price

    def send_later(self, *messages: MessageBody, signers: Sequence[Signer] = ()) -> asyncio.Future[Committed]:
        """As `send`, but returns an awaitable at once: keep thousands in flight and gather them."""
        chosen = tuple(signers) or ((self._signer,) if self._signer else ())
        if not chosen:
            raise ClientError("client.signer", "this client has no key to sign with", hint="connect with signer=…")
        return self._sender.send(self._sender.sign(chosen, messages))

    async def create_account(
        self,
        name: str,
        kind: AccountKind,
        keys: Sequence[Key],
        *,
        organisation: bytes | None = None,
        roles: Sequence[Role] = (),
        threshold: int = 1,
        holder: Signer | None = None,
    ) -> Committed:
        """Create an account in the organisation (default: the signer's own).

        With `holder`, who signs too, it stands at the address of the first key; else at one derived from the
        organisation and this key (docs/spec/addresses.md §1), so that nobody's place is taken without him.
        """
        home = organisation or await self._organisation()
        message = CreateAccount(home, kind, name, tuple(roles), threshold, tuple(keys))
        return await self._send_with(message, holder)

    async def register_device(
        self,
        name: str,
        *,
        key: Key | None,
        gateway: bytes | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        device: Signer | None = None,
    ) -> Committed:
        """Register a device; with `device` it signs too (registered by itself, co-signed by the organisation)."""
        message = RegisterDevice(name, await self._organisation(), key, gateway, tuple(sorted(metadata)))
        return await self._send_with(message, device)

    async def _send_with(self, message: MessageBody, holder: Signer | None) -> Committed:
        if holder is None:
            return await self.send(message)
        if self._signer is None:
            raise ClientError("client.signer", "the organisation must co-sign", hint="connect with signer=…")
        return await self.send(message, signers=(self._signer, holder))

    async def set_device_state(self, name: str, state: DeviceState, reason: str = "") -> Committed:
        return await self.send(SetDeviceState(name, state, reason))

    async def set_device_metadata(self, name: str, metadata: Sequence[tuple[str, str]]) -> Committed:
        return await self.send(SetMetadata(name, tuple(sorted(metadata))))

    async def bind_gateway(self, name: str, gateway: bytes | None) -> Committed:
        return await self.send(BindGateway(name, gateway))

    async def define_stream(self, path: str, gateway: bytes, schema: StreamSchema) -> Committed:
        device, stream = stream_path(path)
        return await self.send(DefineStream(device, stream, gateway, schema))

    async def update_stream(self, path: str, schema: StreamSchema) -> Committed:
        return await self.send(UpdateStream(path, schema))

    async def hand_over(self, path: str, gateway: bytes, next_sequence: int) -> Committed:
        return await self.send(HandOver(path, gateway, next_sequence))

    async def set_attribute(self, name: str, value: str | None) -> Committed:
        if self._signer is None:
            raise ClientError("client.signer", "only an account writes its registers", hint="connect with signer=…")
        return await self.send(SetAttribute(self._signer.address, name, value))

    async def rotate_keys(
        self, account: bytes, *, add: Sequence[Key], end: Sequence[bytes], compromised: bool = False
    ) -> Committed:
        """Add keys and end others (by key id) at once; see `identity.RotateKeys`."""
        return await self.send(RotateKeys(account, tuple(add), None, tuple(end), compromised, None))

    async def propose(self, title: str, decisions: Sequence[MessageBody], *, expires: int) -> Committed:
        """Propose governance messages to the governors, one of which is the signer's organisation; proposing is agreeing.

        `expires` is ledger time in seconds, at most 90 days ahead.
        """
        messages = tuple(encode(body_to_item(decision)) for decision in decisions)
        return await self.send(Propose(await self._organisation(), title, expires, messages))

    async def vote(self, proposal: int | Proposal, *, agree: bool = True) -> Committed:
        """Vote on a proposal as the signer's organisation. Give the Proposal that was shown to whoever decides."""
        found = await self.proposal(proposal) if isinstance(proposal, int) else proposal
        return await self.send(Vote(await self._organisation(), found.number, found.content, agree))

    async def withdraw(self, proposal: int) -> Committed:
        return await self.send(Withdraw(proposal))

    async def _organisation(self) -> bytes:
        if self._signer is None:
            raise ClientError("client.signer", "this client has no key to sign with", hint="connect with signer=…")
        return (await self.account(self._signer.address)).organisation

    # --- verified state -------------------------------------------------------------------------------------------

    async def account(self, address: bytes) -> Account:
        """An account's record, proved."""
        return await self._record(b"identity/account/" + address, Account, f"account {format_address(address)}")

    async def parameters(self) -> Parameters:
        """The parameters in force, proved."""
        return await self._record(b"governance/parameters", Parameters, "parameters")

    async def proposal(self, number: int) -> Proposal:
        """An open proposal, proved."""
        key = b"governance/proposal/" + number.to_bytes(8, "big")
        return await self._record(key, Proposal, f"open proposal {number}")

    async def unit(self, symbol: str) -> Unit:
        """A unit of account, proved."""
        return await self._record(b"assets/unit/" + symbol.encode("utf-8"), Unit, f"unit {symbol}")

    async def balance(self, account: bytes, symbol: str) -> Balance:
        """What an account has of a unit, proved; also that it has nothing."""
        key = b"assets/balance/" + account + symbol.encode("utf-8")
        _, value = await self._reader.state(key, at_least=self._sender.height)
        return Balance(0, frozen=False) if value is None else Balance.from_bytes(value)

    async def staking(self) -> StakingParameters:
        """The rules of bonds of a public chain, proved; NodeError `query.absent` on another."""
        return await self._record(b"staking/parameters", StakingParameters, "bonds on this chain")

    async def stake(self, organisation: bytes) -> Stake:
        """What an organisation has bonded, proved."""
        return await self._record(b"staking/stake/" + organisation, Stake, f"bond of {format_address(organisation)}")

    async def device(self, name: str) -> Device:
        """A device's record, proved."""
        return await self._record(b"devices/device/" + name.encode("ascii"), Device, f"device {name}")

    async def stream(self, path: str) -> tuple[StreamDefinition, StreamHead]:
        """A stream's definition and head, proved."""
        stream_path(path)
        number = await self._value(b"streams/number/" + path.encode("ascii"), f"stream {path}")
        match decode(number):
            case [int() as own]:
                key = own.to_bytes(8, "big")
            case _:
                raise LyingNodeError("a stream's number is not of the form")
        definition = await self._record(b"streams/definition/" + key, StreamDefinition, f"stream {path}")
        head = await self._record(b"streams/head/" + key, StreamHead, f"stream {path}")
        return definition, head

    async def state(self, key: bytes) -> tuple[int, bytes | None]:
        """Any state key: the height of its version, and its value or None, proved present or absent."""
        return await self._reader.state(key, at_least=self._sender.height)

    async def _value(self, key: bytes, what: str) -> bytes:
        _, value = await self._reader.state(key, at_least=self._sender.height)
        if value is None:
            raise NodeError("query.absent", f"there is no {what}; its absence is proved", status=404)
        return value

    async def _record(self, key: bytes, cls: type[R], what: str) -> R:
        return cls.from_bytes(await self._value(key, what))

    # --- readings and proofs --------------------------------------------------------------------------------------

    async def readings(
        self,
        stream: str,
        *,
        time: str = "device",
        start: str | None = None,
        end: str | None = None,
        quantity: str | None = None,
        limit: int = 1000,
        newest_first: bool = False,
        verify: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> Readings:
        """Readings with start <= time < end, at most `limit`. `time` is device, arrival or block.

        `progress` is told how many are there, page by page. With `verify` every message they come from is proved and
        resolved again here; a difference is a lie.
        """
        stream_path(stream)
        rows: list[Any] = []
        cursor: str | None = None
        while len(rows) < limit:
            page = await self._transport.get_json(
                f"/v1/streams/{stream}/readings",
                {
                    "time": time,
                    "from": start,
                    "to": end,
                    "quantity": quantity,
                    "order": "desc" if newest_first else "asc",
                    "limit": min(1000, limit - len(rows)),
                    "cursor": cursor,
                },
            )
            rows.extend(reading_of_json(item) for item in page["readings"])
            if progress is not None:
                progress(len(rows))
            cursor = page["next"]
            if cursor is None:
                break
        found = Readings(stream, tuple(rows))
        if verify and rows:
            sequences = sorted({row.sequence for row in rows})
            verified = verify_all(stream, sequences, await self.proofs(stream, sequences, trust=self.trust), self.trust)
            check_readings(found, verified, await self._schemas(verified), self.trust)
        return found

    async def _schemas(self, verified: Mapping[int, Verified]) -> dict[int, StreamSchema]:
        """The schemas under which messages were anchored: the one in the proof, or an older one from the state, proved."""
        schemas: dict[int, StreamSchema] = {}
        for found in verified.values():
            definition, version = found.definition, found.row.schema_version
            if version == definition.schema_version:
                schemas[version] = definition.schema
            elif version not in schemas:
                key = b"streams/schema/" + definition.id.to_bytes(8, "big") + version.to_bytes(4, "big")
                older = await self._record(key, StreamDefinition, f"schema version {version} of {definition.path}")
                schemas[version] = older.schema
        return schemas

    async def proof(
        self, stream: str, sequence: int, *, trust: Trust | None = None, height: int | None = None
    ) -> bytes:
        """The proof file of one message; check it with `althing.light.verifier.verify_proof`.

        It is made for `trust`, so that it verifies under that also after validators have changed; else it verifies
        where the trusted validators are today's. `height`: against the header of that height, while its state is kept.
        """
        stream_path(stream)
        params = {**pinned(trust), "height": height}
        return await self._transport.get_bytes(f"/v1/proofs/{stream}/{sequence}", params)

    async def tied(self, proof: bytes, trust: Trust) -> bytes:
        """A proof file made earlier, tied to another trust file by linking headers or by the chain's header log."""
        response = await self._transport.request(
            "POST",
            "/v1/proofs/tied",
            params=pinned(trust),
            accept="application/cbor",
            content=proof,
            content_type="application/cbor",
        )
        return response.content

    async def proofs(self, stream: str, sequences: Sequence[int], *, trust: Trust | None = None) -> list[bytes]:
        """Proof files of several messages, in the order asked; see `proof`."""
        found: list[bytes] = []
        for i in range(0, len(sequences), _PROOFS_A_REQUEST):
            wanted = list(sequences[i : i + _PROOFS_A_REQUEST])
            answer = await self._transport.post_cbor(
                "/v1/proofs", encode([stream, wanted]), pinned(trust), timeout_s=120
            )
            if type(answer) is not list or len(answer) != len(wanted) or any(type(p) is not bytes for p in answer):
                raise NodeError("node.answer", "the node did not answer with one proof each", status=502)
            found.extend(answer)
        return found

    # --- events and plain reads -----------------------------------------------------------------------------------

    async def events(self, after: tuple[int, int] = (0, 0), *, name: str = "") -> AsyncIterator[ChainEvent]:
        """Events behind a cursor, without loss or repetition, for as long as the caller iterates; reconnects by itself."""
        height, index = after
        while True:
            headers = {"Last-Event-ID": f"{height}:{index}", "Accept": "text/event-stream"}
            try:
                async with self._transport.stream("/v1/events", headers, {"name": name} if name else {}) as response:
                    async for event in events_of(response.aiter_bytes()):
                        height, index = event.height, event.index
                        yield event
            except UnavailableError as exc:
                await asyncio.sleep(exc.retry_after_s)

    async def network(self, *, window: int = 100) -> dict[str, Any]:
        """Validators with what they signed of the latest `window` blocks (1 to 1000), proposers, peers, versions, progress.

        `NetworkAnswer` of the API's description; the node's word, not verified.
        """
        return dict(await self._transport.get_json("/v1/network", {"window": window}))

    async def get(self, path: str, **params: Any) -> Any:
        """A plain, unverified read of the REST API as JSON, for lists and dashboards."""
        return await self._transport.get_json(f"/v1/{path}", params)
