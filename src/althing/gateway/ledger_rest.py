"""The ledger through the REST API of one or several nodes, none of which is trusted to be there.

A request goes to the node that answered last; one that fails in transport, with 5xx or with nonsense moves on to the
next. Answers are bounded and checked; what matters (anchors) is proved by the light verifier, not believed from here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import cbor2
import httpx2
import structlog

from althing.gateway.errors import LedgerError, LedgerRefusedError
from althing.gateway.ledger import (
    AccountView,
    Cursor,
    DeviceView,
    LedgerEvent,
    LedgerStatus,
    StreamView,
    Submission,
)
from althing.protocol.address import format_address, parse_address
from althing.protocol.errors import AlthingError
from althing.protocol.limits import PROOF_BYTES_MAX
from althing.protocol.messages.devices import DeviceState
from althing.protocol.messages.identity import AccountStatus, Key, KeyEntry
from althing.protocol.messages.streams import GatewayHead, StreamDefinition
from althing.protocol.receipt import Receipt
from althing.protocol.signatures import Suite
from althing.protocol.timestamps import parse_time

__all__ = ["RestLedger"]

_log = structlog.get_logger("althing.gateway.ledger")

_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_EVENT_BYTES_MAX: Final = 1024 * 1024
_PAGE: Final = 1000
_PAGES_MAX: Final = 10_000
_COMMIT_S: Final = 10  # how long one submission waits for its block
_SILENCE_S: Final = 90.0  # a block comes at least every 60 s, so a silent event stream is a dead one


class RestLedger:
    """LedgerPort over HTTP. `urls` are bases such as http://127.0.0.1:8000, tried in turn.

    `trusted_height` is that of the trust file which proofs will be checked against: nodes make them for it.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        trusted_height: int | None = None,
        timeout_s: float = 5.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ):
        assert urls
        self._trusted = {} if trusted_height is None else {"trusted_height": str(trusted_height)}
        self._urls = [url.rstrip("/") for url in urls]
        self._at = 0
        self._client = httpx2.AsyncClient(timeout=timeout_s, transport=transport, follow_redirects=False)

    @property
    def node(self) -> str:
        """The node in use."""
        return self._urls[self._at]

    async def close(self) -> None:
        await self._client.aclose()

    # --- the port

    async def status(self) -> LedgerStatus:
        found = await self._json("/v1/status")
        with _checked("status"):
            return LedgerStatus(
                found["chain_id"],
                bytes.fromhex(found["genesis_hash"]),
                int(found["height"]),
                _time_ns(found["block_time"]) // 1_000_000_000,
            )

    async def block_time_ns(self, height: int) -> int:
        found = await self._json(f"/v1/blocks/{height}")
        with _checked("block"):
            return _time_ns(found["time"])

    async def devices(self, gateway: bytes) -> AsyncIterator[DeviceView]:
        async for item in self._pages("/v1/devices", "devices", gateway):
            # A listing that leaves the keys out is completed one by one.
            view = _device(item) if "keys" in item else await self.device(str(item["name"]))
            if view is not None:
                yield view

    async def device(self, name: str) -> DeviceView | None:
        found = await self._json(f"/v1/devices/{quote(name, safe='')}", missing_ok=True)
        if found is None:
            return None
        view = _device(found)
        if "status" in found:
            return view
        account = await self.account(view.address)
        if account is None:
            return view
        return DeviceView(
            view.name, view.address, view.organisation, view.gateway, view.state, account.status, account.keys
        )

    async def streams(self, gateway: bytes) -> AsyncIterator[StreamView]:
        async for item in self._pages("/v1/streams", "streams", gateway):
            view = _stream(item) if "definition" in item else await self.stream(str(item["stream"]))
            if view is not None and view.definition.gateway == gateway:
                yield view

    async def stream(self, path: str) -> StreamView | None:
        device, _, name = path.partition("/")
        found = await self._json(f"/v1/streams/{quote(device, safe='')}/{quote(name, safe='')}", missing_ok=True)
        return None if found is None else _stream(found)

    async def account(self, address: bytes) -> AccountView | None:
        found = await self._json(f"/v1/accounts/{format_address(address)}", missing_ok=True)
        if found is None:
            return None
        with _checked("account"):
            return AccountView(
                address, parse_address(found["organisation"]), _status(found["status"]), _keys(found["keys"])
            )

    async def gateway_head(self, gateway: bytes) -> GatewayHead:
        found = await self._json("/v1/batches", {"gateway": format_address(gateway), "limit": "1"})
        with _checked("batches"):
            if not found["batches"]:
                return GatewayHead(0, bytes(32), 0)
            last = found["batches"][0]
            return GatewayHead(int(last["number"]) + 1, bytes.fromhex(last["root"]), int(last["height"]))

    async def submit(self, transaction: bytes) -> Submission:
        answer = await self._request(
            "POST",
            "/v1/transactions",
            params={"wait": "commit", "timeout_s": str(_COMMIT_S)},
            content=cbor2.dumps([transaction]),
            headers={"content-type": "application/cbor", "accept": "application/json"},
            timeout_s=_COMMIT_S + 5.0,
        )
        with _checked("transactions"):
            result = json.loads(answer.content)["results"][0]
            height, receipt = result.get("height"), result.get("receipt")
            # Committed is not yet carried out: the receipt tells.
            code = result["code"] or (Receipt.from_bytes(bytes.fromhex(receipt)).code if receipt else "")
            return Submission(
                bytes.fromhex(result["id"]),
                str(code),
                str(result["message"] or ""),
                None if height is None else int(height),
            )

    async def proof(self, stream: str, sequence: int) -> bytes:
        device, _, name = stream.partition("/")
        path = f"/v1/proofs/{quote(device, safe='')}/{quote(name, safe='')}/{sequence}"
        answer = await self._request("GET", path, params=self._trusted, headers={"accept": "application/cbor"})
        if len(answer.content) > PROOF_BYTES_MAX:
            raise self._nonsense("a proof is too large")
        return answer.content

    async def events(self, after: Cursor | None) -> AsyncIterator[LedgerEvent]:
        headers = {"accept": "text/event-stream"}
        if after is not None:
            headers["last-event-id"] = f"{after[0]}:{after[1]}"
        node = self.node
        timeout = httpx2.Timeout(5.0, read=_SILENCE_S)
        try:
            async with self._client.stream("GET", f"{node}/v1/events", headers=headers, timeout=timeout) as answer:
                if answer.status_code != 200:
                    raise self._away(node, f"status {answer.status_code}")
                async for event in _server_sent(answer):
                    yield event
        except LedgerError:
            raise
        except httpx2.HTTPError as error:
            raise self._away(node, repr(error)) from error
        except (ValueError, KeyError, TypeError, AlthingError) as error:
            raise self._away(node, f"an event cannot be read: {error}") from error
        raise self._away(node, "the event stream ended")

    # --- requests

    async def _json(self, path: str, params: dict[str, str] | None = None, *, missing_ok: bool = False) -> Any:
        try:
            answer = await self._request("GET", path, params=params, headers={"accept": "application/json"})
        except LedgerRefusedError as error:
            if missing_ok and error.code == "ledger.not_found":
                return None
            raise
        with _checked(path):
            return json.loads(answer.content)

    async def _pages(self, path: str, name: str, gateway: bytes) -> AsyncIterator[dict[str, Any]]:
        params = {"limit": str(_PAGE), "gateway": format_address(gateway)}
        for _ in range(_PAGES_MAX):
            page = await self._json(path, params)
            with _checked(path):
                items, following = list(page[name]), page["next"]
            for item in items:
                yield item
            if following is None:
                return
            params["cursor"] = str(following)
        raise self._nonsense(f"{path} does not end")

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx2.Response:
        reasons = []
        for _ in self._urls:
            node = self.node
            try:
                answer = await self._client.request(
                    method,
                    node + path,
                    params=params,
                    content=content,
                    headers=headers,
                    timeout=timeout_s if timeout_s is not None else httpx2.USE_CLIENT_DEFAULT,
                )
            except httpx2.HTTPError as error:
                reasons.append(str(self._away(node, repr(error)).message))
                continue
            if len(answer.content) > _ANSWER_BYTES_MAX:
                raise self._nonsense("an answer is too large")
            if answer.status_code < 300:
                return answer
            code, message = _problem(answer)
            if answer.status_code >= 500 or answer.status_code == 429:
                reasons.append(str(self._away(node, f"status {answer.status_code} {code} {message}").message))
                continue
            if answer.status_code == 404:
                raise LedgerRefusedError("ledger.not_found", message or f"{path} does not exist")
            raise LedgerRefusedError(code or "ledger.refused", message or f"status {answer.status_code}")
        raise LedgerError(
            "ledger.unavailable",
            f"no node answers: {'; '.join(reasons)}",
            hint="start a node, or name another in config",
        )

    def _away(self, node: str, reason: str) -> LedgerError:
        """Move on to the next node."""
        if node == self.node:
            self._at = (self._at + 1) % len(self._urls)
        return LedgerError("ledger.unavailable", f"{node}: {reason}")

    def _nonsense(self, reason: str) -> LedgerError:
        node = self.node
        self._at = (self._at + 1) % len(self._urls)
        return LedgerError("ledger.invalid", f"{node}: {reason}")


@contextmanager
def _checked(what: str) -> Iterator[None]:
    """What a node says is checked by taking it apart; what does not fit is LedgerError, never a crash."""
    try:
        yield
    except LedgerError:
        raise
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, AlthingError) as error:
        raise LedgerError("ledger.invalid", f"a node's answer about {what} has another form: {error!r}") from error


def _problem(answer: httpx2.Response) -> tuple[str, str]:
    """Code and detail of an RFC 9457 answer."""
    try:
        problem = json.loads(answer.content)
        return str(problem.get("code", "")), str(problem.get("detail", ""))
    except (ValueError, AttributeError):
        return "", ""


def _time_ns(text: str) -> int:
    time_ns = parse_time(text, "rfc3339", 0)
    if time_ns is None:
        raise ValueError(f"{text!r} is not a time")
    return time_ns


def _name_of(value: Any, kind: type[Any]) -> Any:
    """An enumeration's member from its number or its name in any case."""
    return kind(value) if type(value) is int else kind[str(value).upper()]


def _status(value: Any) -> AccountStatus:
    return AccountStatus(_name_of(value, AccountStatus))


def _seconds(value: Any) -> int | None:
    if value is None or type(value) is int:
        return value
    return _time_ns(value) // 1_000_000_000


def _keys(items: list[dict[str, Any]]) -> tuple[KeyEntry, ...]:
    found = []
    for item in items:
        suite = item["suite"]
        own = Suite(suite) if type(suite) is int else _SUITES[str(suite).lower().replace("-", "").replace("_", "")]
        key = Key(own, bytes.fromhex(item["public"]))
        key.check()
        found.append(
            KeyEntry(key, _seconds(item["valid_from"]) or 0, _seconds(item["valid_to"]), _seconds(item["revoked_at"]))
        )
    return tuple(found)


_SUITES: Final = {
    "eddsa": Suite.ED25519,
    "ed25519": Suite.ED25519,
    "es256": Suite.ES256,
    "p256": Suite.ES256,
    "ecdsap256": Suite.ES256,
}


def _device(item: dict[str, Any]) -> DeviceView:
    with _checked("device"):
        gateway = item["gateway"]
        return DeviceView(
            str(item["name"]),
            parse_address(item["address"]),
            parse_address(item["organisation"]),
            None if gateway is None else parse_address(gateway),
            DeviceState(_name_of(item["state"], DeviceState)),
            _status(item.get("status", 0)),
            _keys(item["keys"]),
        )


def _stream(item: dict[str, Any]) -> StreamView:
    with _checked("stream"):
        return StreamView(StreamDefinition.from_bytes(bytes.fromhex(item["definition"])), int(item["next_sequence"]))


async def _server_sent(answer: httpx2.Response) -> AsyncIterator[LedgerEvent]:
    """Events of a text/event-stream (HTML standard §9.2)."""
    identifier, name, size = "", "", 0
    data: list[str] = []
    async for line in answer.aiter_lines():
        size += len(line)
        if size > _EVENT_BYTES_MAX:
            raise ValueError("an event is too large")
        if line.startswith(":"):
            continue
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                identifier = value
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            continue
        if data and identifier:
            yield _event(identifier, name, "\n".join(data))
        identifier, name, data, size = "", "", [], 0


def _event(identifier: str, name: str, data: str) -> LedgerEvent:
    height, _, index = identifier.partition(":")
    content = json.loads(data)
    if type(content) is not dict:
        raise ValueError("an event's data is an object")
    if name == "block":
        time_s = _time_ns(content["time"]) // 1_000_000_000
        return LedgerEvent(int(height), int(index), name, (int(content["transactions"]),), time_s)
    return LedgerEvent(int(height), int(index), name, tuple(_value(value) for value in content["values"]))


def _value(value: Any) -> Any:
    """Addresses and hashes come as text; inside the gateway they are bytes."""
    if isinstance(value, str):
        if len(value) == 41 and value.startswith("al1"):
            return parse_address(value)
        if len(value) in (40, 64) and all(char in "0123456789abcdef" for char in value):
            return bytes.fromhex(value)
    return value
