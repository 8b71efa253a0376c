"""The ledger through the REST API of one or several nodes, none of which is trusted.

What the registry and anchoring decide by is proved: state under headers that follow from the home's trust file, block
times by those headers. Only lists of names, events and receipts are a node's word: names are looked up by proof, an event
makes the gateway look, a receipt is checked against the proved head. A node that lies is not asked while another answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cbor2
import structlog

from althing.client.errors import LyingNodeError, RefusedTransactionError
from althing.client.events import ChainEvent, events_of
from althing.client.lightstore import Anchor, LightStore
from althing.client.transport import item_of
from althing.client.verified import pinned
from althing.gateway.errors import LedgerError
from althing.gateway.ledger import Cursor, DeviceView, LedgerEvent, LedgerStatus, Looked, Said, StreamView, Submission
from althing.gateway.nodes import AskedNode, Nodes
from althing.protocol.address import format_address, parse_address, stream_path
from althing.protocol.errors import AlthingError, ProtocolError
from althing.protocol.limits import PROOF_BYTES_MAX
from althing.protocol.merkle import leaf_hash, verify_inclusion
from althing.protocol.messages.devices import Device
from althing.protocol.messages.governance import Organisation, Parameters
from althing.protocol.messages.identity import Account
from althing.protocol.messages.streams import AnchorRow, GatewayHead, StreamDefinition, StreamHead
from althing.protocol.timestamps import parse_time
from althing.protocol.trust import Trust

__all__ = ["NodeLedger"]

_log = structlog.get_logger("althing.gateway.ledger")

_KEEP_EVERY_S: Final = 60.0
_HEADERS_KEPT: Final = 2  # the newest, and the one before it should that file be damaged
_PAGE: Final = 1000
_PAGES_MAX: Final = 10_000
_LOOK_MAX: Final = 100  # devices and streams of one look
_SILENCE_S: Final = 90.0  # a block comes at least every 60 s, so a silent event stream is a dead one


class NodeLedger:
    """LedgerPort over HTTP. `urls` are bases such as http://127.0.0.1:8420, asked in turn.

    With a folder `kept`, the newest header verified is there after a restart, unless `trust` has been replaced since.
    `trusting_period_s` as in VerifiedReader.
    """

    def __init__(
        self,
        urls: Sequence[str],
        trust: Trust,
        *,
        timeout_s: float = 5.0,
        token: str = "",
        verify: Any = True,
        kept: Path | None = None,
        trusting_period_s: int = 0,
    ) -> None:
        newest = None
        self._store: LightStore | None = None
        if kept is not None:
            self._store = LightStore(kept, blocks_max=_HEADERS_KEPT)
            if self._store.open(Anchor(trust.chain_id, trust.height, trust.header_hash)):
                newest = self._store.latest()
        self._saved = 0 if newest is None else newest.height
        self._saved_at = float("-inf")
        self._nodes = Nodes(
            urls,
            trust,
            timeout_s=timeout_s,
            token=token,
            verify=verify,
            newest=newest,
            trusting_period_s=trusting_period_s,
        )
        self._genesis_hash = trust.genesis_hash
        self._pinned = pinned(trust)  # what proof files will be checked against

    @property
    def lies_total(self) -> int:
        return self._nodes.lies_total

    @property
    def proved_height(self) -> int:
        return self._nodes.order[0].reader.version

    @property
    def node(self) -> str:
        """The node in use."""
        return self._nodes.order[0].url

    @property
    def trust(self) -> Trust:
        """The newest header verified."""
        return self._nodes.order[0].reader.trust

    async def close(self) -> None:
        await self._nodes.aclose()
        await self._keep(force=True)

    async def _keep(self, *, force: bool = False) -> None:
        """Put the newest header on the disk, now and then: what is verified again after a crash is a minute's blocks."""
        newest, now = self._nodes.order[0].reader.newest, asyncio.get_running_loop().time()
        if self._store is None or newest is None or newest.height <= self._saved:
            return
        if not force and now - self._saved_at < _KEEP_EVERY_S:
            return
        self._saved, self._saved_at = newest.height, now
        try:
            await asyncio.to_thread(self._store.add, newest)
        except OSError as error:
            _log.warning("the newest header is not kept", reason=error.strerror)

    # --- the port

    async def status(self) -> LedgerStatus:
        header = await self._nodes.ask(lambda node: node.reader.header())
        await self._keep()
        return LedgerStatus(header.chain_id, self._genesis_hash, header.height - 1, header.time.ns // 1_000_000_000)

    async def block_time_ns(self, height: int) -> int:
        return (await self._nodes.ask(lambda node: node.reader.header(height))).time.ns

    async def listed(self, gateway: bytes) -> list[str]:
        return await self._nodes.ask(lambda node: _paths(node, gateway))

    async def look(
        self, devices: Sequence[str], streams: Sequence[str], *, at_least: int = 0, elsewhere: bool = False
    ) -> Looked:
        if elsewhere:
            self._nodes.turn()
        return await self._nodes.ask(lambda node: _look(node, devices, streams, at_least))

    async def stream(self, path: str) -> StreamView | None:
        found = (await self.look((), (path,))).streams[path]
        if found is not None:
            return found
        # Proved is the state before the newest block, which may have defined it.
        height = await self._nodes.ask(_height)
        return (await self.look((), (path,), at_least=height)).streams[path]

    async def anchored_under(self, path: str, sequence: int) -> StreamDefinition:
        return await self._nodes.ask(lambda node: _anchored_under(node, path, sequence))

    async def gas_price(self) -> int:
        _, (value,) = await self._nodes.ask(lambda node: _states(node, [b"governance/parameters"], 0))
        if value is None:
            raise LedgerError("ledger.invalid", "the chain has no parameters")
        return Parameters.from_bytes(value).gas_price_min

    async def gateway_head(self, gateway: bytes, *, at_least: int = 0) -> GatewayHead:
        _, (value,) = await self._nodes.ask(lambda node: _states(node, [b"streams/gateway/" + gateway], at_least))
        return GatewayHead(0, bytes(32), 0) if value is None else GatewayHead.from_bytes(value)

    async def submit(self, transaction: bytes) -> Submission:
        try:
            done = await self._nodes.ask(lambda node: node.sender.send(transaction), "submit")
        except RefusedTransactionError as error:
            return Submission(error.tx_id, error.code, error.message, None)
        return Submission(done.tx_id, "", "", done.height)

    async def proof(self, stream: str, sequence: int) -> bytes:
        path = f"/v1/proofs/{stream}/{sequence}"
        data = await self._nodes.ask(lambda node: node.transport.get_bytes(path, self._pinned), "proof")
        if len(data) > PROOF_BYTES_MAX:
            self.doubt("proof", "a proof is too large")
            raise LedgerError("ledger.invalid", "a node's proof is too large")
        return data

    async def events(self, after: Cursor | None) -> AsyncIterator[LedgerEvent]:
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = f"{after[0]}:{after[1]}"
        node = self._nodes.use("events")
        try:
            async with node.transport.stream("/v1/events", headers, {}, silence_s=_SILENCE_S) as answer:
                async for event in events_of(answer.aiter_bytes()):
                    yield _event(event)
        except (LyingNodeError, ValueError, KeyError, TypeError) as error:
            self._nodes.shun(node, f"an event is not of the form: {error}")
            raise LedgerError("ledger.invalid", f"{node.url}: an event is not of the form") from error
        except AlthingError as error:
            self._nodes.leave(node)
            raise LedgerError("ledger.unavailable", f"{node.url}: {error.message}") from error
        self._nodes.leave(node)
        raise LedgerError("ledger.unavailable", f"{node.url}: the event stream ended")

    def doubt(self, said: Said, reason: str) -> None:
        self._nodes.doubt(said, reason)


# --- proved reads


async def _look(node: AskedNode, devices: Sequence[str], streams: Sequence[str], at_least: int) -> Looked:
    """First what names an account or a number, then what stands there, both as of one version."""
    found = Looked(0, {}, {})
    while devices or streams:
        part, devices = devices[:_LOOK_MAX], devices[_LOOK_MAX:]
        paths, streams = streams[:_LOOK_MAX], streams[_LOOK_MAX:]
        keys = [b"devices/device/" + name.encode() for name in part]
        keys += [b"streams/number/" + path.encode() for path in paths]
        version, values = await _states(node, keys, at_least)
        records = [None if value is None else Device.from_bytes(value) for value in values[: len(part)]]
        numbers = [None if value is None else _number(value) for value in values[len(part) :]]
        owners = list(dict.fromkeys(record.organisation for record in records if record is not None))
        keys = [b"governance/organisation/" + owner for owner in owners]
        keys += [b"identity/account/" + record.address for record in records if record is not None]
        for number in numbers:
            if number is not None:
                keys += [b"streams/definition/" + number, b"streams/head/" + number]
        rest: Iterator[bytes | None] = iter(())
        if keys:
            rest = iter((await node.reader.states(keys, version=version))[1])
        members = {owner: not Organisation.from_bytes(_there(next(rest))).suspended for owner in owners}
        for name, record in zip(part, records, strict=True):
            if record is None:
                found.devices[name] = None
            else:
                found.devices[name] = _device(record, _there(next(rest)), member=members[record.organisation])
        for path, number in zip(paths, numbers, strict=True):
            found.streams[path] = None if number is None else _stream(_there(next(rest)), _there(next(rest)))
        found = Looked(version if not found.height else min(version, found.height), found.devices, found.streams)
    return found


async def _anchored_under(node: AskedNode, path: str, sequence: int) -> StreamDefinition:
    """The row of the stream's log that covers the message, proved by its head; then the definition the row names."""
    data = await node.transport.get_bytes(f"/v1/streams/{path}/rows/{sequence}")
    match item_of(data, node.url):
        case [int() as version, bytes() as row_bytes, int() as index, list() as way] if _hashes(way):
            row = AnchorRow.from_bytes(row_bytes)
        case _:
            raise LyingNodeError("a row's answer is not of the form")
    _, (value,) = await node.reader.states([b"streams/number/" + path.encode()], version=version)
    number = _number(_there(value))
    keys = [b"streams/head/" + number, b"streams/definition/" + number]
    keys.append(b"streams/schema/" + number + row.schema_version.to_bytes(4, "big"))
    _, (head_bytes, present, replaced) = await node.reader.states(keys, version=version)
    head = StreamHead.from_bytes(_there(head_bytes))
    try:
        verify_inclusion(head.log_root, head.log_size, index, leaf_hash(row_bytes), way)
    except ProtocolError as error:
        raise LyingNodeError(f"a row is not in the stream's log: {error.message}") from error
    if not row.first <= sequence < row.first + row.count:
        raise LyingNodeError("a row is of other messages than those asked for")
    # A version is replaced by the next one, and kept then.
    return StreamDefinition.from_bytes(_there(present) if replaced is None else replaced)


def _hashes(values: list[Any]) -> bool:
    return all(type(value) is bytes for value in values)


async def _states(node: AskedNode, keys: Sequence[bytes], at_least: int) -> tuple[int, list[bytes | None]]:
    # Never older than what was proved before, whichever node is asked.
    return await node.reader.states(keys, at_least=max(at_least, node.reader.version))


# --- a node's word


async def _paths(node: AskedNode, gateway: bytes) -> list[str]:
    params = {"limit": str(_PAGE), "gateway": format_address(gateway)}
    found: list[str] = []
    for _ in range(_PAGES_MAX):
        page = await node.transport.get_json("/v1/streams", params)
        with _checked("streams"):
            found += [_path(item["stream"]) for item in page["streams"]]
            following = page["next"]
        if following is None:
            return found
        params["cursor"] = str(following)
    raise LyingNodeError("the list of streams does not end")


async def _height(node: AskedNode) -> int:
    found = await node.transport.get_json("/v1/status")
    with _checked("/v1/status"):
        return int(found["height"])


@contextmanager
def _checked(what: str) -> Iterator[None]:
    """What a node says is checked by taking it apart."""
    try:
        yield
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise LyingNodeError(f"the answer about {what} has another form") from error


def _path(value: Any) -> str:
    try:
        stream_path(value)
    except ProtocolError as error:
        raise ValueError("not the path of a stream") from error
    return str(value)


def _there(value: bytes | None) -> bytes:
    # Proved, so it is the chain that is broken, not the node.
    assert value is not None, "an account, definition or head exists while its device or stream does"
    return value


def _number(value: bytes) -> bytes:
    (number,) = cbor2.loads(value)
    return int(number).to_bytes(8, "big")


def _device(record: Device, value: bytes, *, member: bool) -> DeviceView:
    account = Account.from_bytes(value)
    return DeviceView(
        record.name,
        record.address,
        record.organisation,
        record.gateway,
        record.state,
        account.status,
        account.keys,
        member,
    )


def _stream(definition: bytes, head: bytes) -> StreamView:
    return StreamView(StreamDefinition.from_bytes(definition), StreamHead.from_bytes(head).next_sequence)


def _event(event: ChainEvent) -> LedgerEvent:
    if event.name == "block":
        time_ns = parse_time(_text(event.data["time"]), "rfc3339", 0)
        if time_ns is None:
            raise ValueError("a block's time is no time")
        count = _natural(event.data["transactions"])
        return LedgerEvent(event.height, event.index, event.name, (count,), time_ns // 1_000_000_000)
    values = event.data["values"]
    if type(values) is not list:
        raise ValueError("an event's values are an array")
    forms = _FORMS.get(event.name) or _FORMS.get(event.name.partition(".")[0], ())
    if len(values) < len(forms):
        raise ValueError(f"{event.name} has at least {len(forms)} values")
    checked = tuple(form(value) for form, value in zip(forms, values, strict=False))
    return LedgerEvent(event.height, event.index, event.name, checked)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a name is text")
    return value


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("a number is a natural one")
    return value


def _address(value: Any) -> bytes:
    try:
        return parse_address(_text(value))
    except ProtocolError as error:
        raise ValueError("an address is not of the form") from error


# The values of an event that the registry looks at, by its name or else its module; others are left out.
_FORMS: Final[dict[str, tuple[Callable[[Any], Any], ...]]] = {
    "devices": (_text,),
    "identity": (_address,),
    "governance.organisation": (_address,),
    "streams.defined": (_natural, _text, _address),
    "streams.updated": (_natural,),
    "streams.handed_over": (_natural, _address),
}
