"""HTTP to one or several nodes: typed errors, rotation to the next node when one does not answer, bounded answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import httpx2

from althing.client.errors import ClientError, NodeError
from althing.protocol.codec import Item, decode
from althing.protocol.errors import EncodingError, UnavailableError

__all__ = ["ANSWER_BYTES_MAX", "Answer", "Transport", "item_of"]

ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
_CBOR: Final = "application/cbor"
_READS_MAX: Final = 6
_PAUSE_MAX_S: Final = 5
_DEPTH_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's whole answer, of at most ANSWER_BYTES_MAX bytes."""

    url: str
    status_code: int
    headers: httpx2.Headers
    content: bytes

    def json(self) -> Any:
        """ValueError for what is not JSON, or is nested deeper than anybody can read."""
        try:
            return json.loads(self.content)
        except RecursionError as exc:
            raise ValueError("nested too deep") from exc


class Transport:
    """Requests to nodes' REST APIs. A request that reached no node is tried at the others before it fails.

    A read is asked up to `reads_max` times of a node that says that it will have the answer soon.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout_s: float = 30,
        token: str = "",
        verify: Any = True,
        reads_max: int = _READS_MAX,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        if not urls or any(not url.startswith(("http://", "https://")) for url in urls):
            raise ClientError("client.url", "a node's address begins with http:// or https://")
        self._urls = [url.rstrip("/") for url in urls]
        self._reads_max = reads_max
        self._answer_bytes_max = answer_bytes_max
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.AsyncClient(timeout=timeout_s, headers=headers, verify=verify, follow_redirects=False)

    @property
    def url(self) -> str:
        """The node used at the moment."""
        return self._urls[0]

    @property
    def urls(self) -> tuple[str, ...]:
        """All nodes, in the order in which they are used."""
        return tuple(self._urls)

    def turn(self) -> None:
        """Use the next node from now on."""
        self._urls.append(self._urls.pop(0))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get_json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        response = await self._read(path, params, "application/json")
        try:
            return response.json()
        except ValueError as exc:
            raise NodeError("node.answer", f"{self.url}{path} did not answer with JSON", status=502) from exc

    async def get_bytes(self, path: str, params: Mapping[str, Any] | None = None, *, accept: str = _CBOR) -> bytes:
        return (await self._read(path, params, accept)).content

    async def _read(self, path: str, params: Mapping[str, Any] | None, accept: str) -> Answer:
        """A read, asked again while a node says that it will have the answer soon (a segment still being stored)."""
        for attempt in range(self._reads_max):
            try:
                return await self.request("GET", path, params=params, accept=accept)
            except UnavailableError as exc:
                if exc.code == "node.unavailable" or attempt == self._reads_max - 1:
                    raise
                await asyncio.sleep(min(exc.retry_after_s, _PAUSE_MAX_S))
        raise AssertionError("the last attempt returns or raises")

    async def post_cbor(self, path: str, body: bytes, params: Mapping[str, Any], *, timeout_s: float) -> Any:
        response = await self.request(
            "POST", path, params=params, accept=_CBOR, content=body, content_type=_CBOR, timeout_s=timeout_s
        )
        return item_of(response.content, self.url + path)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        accept: str,
        content: bytes | None = None,
        content_type: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """One request, at each node in turn until one answers. NodeError for an answer that is not 2xx."""
        headers = {"Accept": accept}
        if content_type:
            headers["Content-Type"] = content_type
        clean = {key: value for key, value in (params or {}).items() if value is not None}
        plain = tuple((key, str(value)) for key, value in clean.items() if type(value) in (str, int))
        if len(plain) < len(clean):
            plain = ()
        last: httpx2.TransportError | None = None
        for _ in range(len(self._urls)):
            try:
                async with self._http.stream(
                    method,
                    _url(self._urls[0] + path, plain) if plain else self._urls[0] + path,
                    params=None if plain else clean,
                    headers=headers,
                    content=content,
                    timeout=httpx2.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
                ) as response:
                    answer = Answer(
                        str(response.url), response.status_code, response.headers, await self._bounded(response)
                    )
            except httpx2.TransportError as exc:
                last = exc
                self.turn()
                continue
            except httpx2.DecodingError as exc:
                raise _damaged(self._urls[0] + path) from exc
            if answer.status_code // 100 != 2:
                raise _problem(answer)
            return answer
        if last is not None and _untrusted(last):
            raise UnavailableError(
                "node.certificate",
                f"the certificate of {self._urls[-1]} is not trusted: {last}",
                hint="name the certificates to trust: althing --ca FILE …, or nodes_ca of a gateway",
            )
        raise UnavailableError(
            "node.unavailable",
            f"no node answered ({', '.join(self._urls)}): {last}",
            hint="start it: althing node start; or name another one",
            retry_after_s=2,
        )

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], params: Mapping[str, Any], *, silence_s: float | None = None
    ) -> AsyncIterator[httpx2.Response]:
        """A long answer (server-sent events). Silence is normal; longer than `silence_s` is a lost connection."""
        timeout = httpx2.Timeout(30, read=silence_s)
        try:
            async with self._http.stream(
                "GET", self._urls[0] + path, headers=dict(headers), params=dict(params), timeout=timeout
            ) as response:
                if response.status_code // 100 != 2:
                    content = await self._bounded(response)
                    raise _problem(Answer(str(response.url), response.status_code, response.headers, content))
                yield response
        except httpx2.TransportError as exc:
            self.turn()
            raise UnavailableError("node.unavailable", f"the event stream broke: {exc}", retry_after_s=1) from exc
        except httpx2.DecodingError as exc:
            raise _damaged(self._urls[0] + path) from exc

    async def _bounded(self, response: httpx2.Response) -> bytes:
        """The body, as long as it is not larger than anything a node has reason to say. It is decoded in pieces of 1 MiB at
        most, so a small body that inflates is cut off like a large one."""
        parts: list[bytes] = []
        size = 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > self._answer_bytes_max:
                raise NodeError(
                    "node.answer", f"{response.url} answered with more than {self._answer_bytes_max} bytes", status=502
                )
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _untrusted(error: BaseException) -> bool:
    """True where TLS ended because nobody vouches for the server."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@lru_cache(maxsize=256)
def _url(address: str, params: tuple[tuple[str, str], ...]) -> httpx2.URL:
    """A request's whole address, taken apart once: a sender asks for the same one again and again."""
    return httpx2.URL(address, params=dict(params))


def _damaged(url: str) -> NodeError:
    return NodeError("node.answer", f"{url} answered in a damaged encoding", status=502)


def item_of(answer: bytes, where: str) -> Item:
    """What a node's answer in CBOR says. Strict: tags would let few bytes stand for many, or for other types."""
    try:
        return decode(answer, bytes_max=ANSWER_BYTES_MAX, depth_max=_DEPTH_MAX)
    except EncodingError as exc:
        raise NodeError("node.answer", f"{where} did not answer with CBOR of the form", status=502) from exc


def _problem(response: Answer) -> NodeError | UnavailableError:
    try:
        body = response.json()
        code, message, hint = str(body["code"]), str(body["detail"]), str(body.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        code, message, hint = "node.answer", f"HTTP status {response.status_code} from {response.url}", ""
    if response.status_code == 503:
        after = response.headers.get("retry-after", "1")
        seconds = int(after) if after.isascii() and after.isdigit() and len(after) < 5 else 1
        return UnavailableError(code, message, hint=hint, retry_after_s=seconds)
    return NodeError(code, message, hint=hint, status=response.status_code)
