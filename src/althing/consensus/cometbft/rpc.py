"""CometBFT's RPC, for this node alone: JSON-RPC over HTTP on a private socket, kept open.

Every answer is of our own engine, but is still bounded and read strictly (`rpcforms`). RpcError carries what the engine
said; UnavailableError `engine.unreachable` that it does not answer now (it starts, restarts or has ended).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx2

from althing.consensus.cometbft.address import SocketAddress
from althing.protocol.errors import AlthingError, UnavailableError

__all__ = ["BATCH_MAX", "AsyncRpc", "Call", "Rpc", "RpcError"]

TIMEOUT_S: Final = 3.0  # blocking: a caller may be an event loop, and the engine is on this machine
SEND_S: Final = 30.0  # the application's checks of a whole batch are in it
BATCH_MAX: Final = 64  # calls of one request; `rpc.max_request_batch_size` is this and one more
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024  # a block of 100 MiB in base64, and its results

Call = tuple[str, Mapping[str, Any]]


class RpcError(AlthingError):
    """The engine answered a call with an error: code `engine.rpc`, `data` is what it said."""

    def __init__(self, method: str, data: str) -> None:
        super().__init__("engine.rpc", f"CometBFT refused {method}: {data}")
        self.data = data


class Rpc:
    """Blocking calls, from any thread."""

    def __init__(self, address: SocketAddress) -> None:
        uds = None if address.path is None else str(address.path)
        limits = httpx2.Limits(max_connections=16, max_keepalive_connections=8)
        transport = httpx2.HTTPTransport(uds=uds, limits=limits)
        self._http = httpx2.Client(transport=transport, base_url=_base(address), timeout=TIMEOUT_S, trust_env=False)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of one call, or RpcError."""
        (answer,) = self.batch([(method, parameters)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls; an RpcError in place of a result that is none."""
        try:
            response = self._http.post("/", json=_requests(calls))
            return _answers(calls, response)
        except httpx2.HTTPError as error:
            raise _unreachable(error) from error

    def close(self) -> None:
        """Release the connections."""
        self._http.close()


class AsyncRpc:
    """The same on an event loop, over one connection: requests are answered in the order they are sent."""

    def __init__(self, address: SocketAddress) -> None:
        uds = None if address.path is None else str(address.path)
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
        transport = httpx2.AsyncHTTPTransport(uds=uds, limits=limits)
        self._http = httpx2.AsyncClient(transport=transport, base_url=_base(address), timeout=SEND_S, trust_env=False)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """See `Rpc.batch`."""
        try:
            response = await self._http.post("/", json=_requests(calls))
            return _answers(calls, response)
        except httpx2.HTTPError as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Release the connection."""
        await self._http.aclose()


def _base(address: SocketAddress) -> str:
    return "http://engine" if address.path is not None else f"http://{address.host}:{address.port}"


def _requests(calls: Sequence[Call]) -> list[dict[str, Any]]:
    assert 0 < len(calls) <= BATCH_MAX + 1, "a batch is bounded"
    return [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(parameters)}
        for number, (method, parameters) in zip(itertools.count(), calls)
    ]


def _answers(calls: Sequence[Call], response: httpx2.Response) -> list[Any]:
    if len(response.content) > ANSWER_BYTES_MAX:
        raise UnavailableError("engine.unreachable", "CometBFT's RPC answers more than a block")
    try:
        found = response.json()
    except ValueError as error:
        raise UnavailableError("engine.unreachable", f"CometBFT's RPC answers HTTP {response.status_code}") from error
    # One answer is an object, several are a list.
    by_id = {item["id"]: item for item in (found if isinstance(found, list) else [found]) if isinstance(item, dict)}
    answers: list[Any] = []
    for number, (method, _) in enumerate(calls):
        item = by_id.get(number)
        if item is None:
            raise UnavailableError("engine.unreachable", f"CometBFT's RPC left out the answer to {method}")
        refusal = item.get("error")
        if refusal:
            answers.append(RpcError(method, str(refusal.get("data") or refusal.get("message"))))
        else:
            answers.append(item.get("result"))
    return answers


def _unreachable(error: Exception) -> UnavailableError:
    return UnavailableError("engine.unreachable", f"CometBFT does not answer: {type(error).__name__}", retry_after_s=1)
