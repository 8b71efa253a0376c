"""HTTP(S) ingest: POST /v1/messages/{device}/{stream} with one message, NDJSON, or a CBOR sequence; and health.

Every item gets its own answer, in order, after the fsync of those accepted; one bad item does not refuse the rest.
200 when all are accepted, 207 when some are, else the status of the first refusal; 503 with Retry-After when busy.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from althing.gateway.access import Access
from althing.gateway.ingest.hints import HINTS
from althing.gateway.ingest.items import Item, split_cbor_sequence, split_lines
from althing.gateway.ingest.port import Accepted, Busy, Inbound, Intake, Outcome, Principal, Refused
from althing.protocol.limits import MESSAGE_BYTES_MAX
from althing.service.hostnames import HostNames
from althing.service.listener import bind_first, is_loopback, require_safe
from althing.service.webserver import WebServer

__all__ = ["HttpConfig", "HttpServer", "Reports"]

_GRACEFUL_S: Final = 5  # for requests under way at the end
_CERTIFICATE: Final = "althing.certificate"
_STATUS_OF_AREA: Final = {"auth": 403, "device": 403, "stream": 404}
_STATUS_OF_CODE: Final = {"message.too_large": 413, "stream.name": 422, "stream.other_gateway": 409}
_CONFLICTS: Final = ("message.key_reused", "message.counter_reused", "message.replayed")


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Settings of the HTTP listener. Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0: any free port
    host_names: tuple[str, ...] = ()  # names besides the address under which clients on this machine reach it
    tls: ssl.SSLContext | None = None
    body_bytes_max: int = 16 * 1024**2  # of one request: a logger's day, not its life
    items_max: int = 10_000  # of one request
    idle_s: int = 15  # an idle connection is closed after it
    body_s: int = 60  # a request's body has to arrive within it
    connections_max: int = 1_000


class Reports(Protocol):
    """What the listener tells of the gateway beside its answers."""

    def status(self) -> dict[str, Any]: ...

    def not_ready(self) -> list[str]:
        """Why the gateway cannot take messages right now; empty when it can."""
        ...

    def refusals(self, limit: int) -> list[dict[str, Any]]: ...

    def metrics(self) -> bytes: ...

    def declared_type(self, device: str, stream: str) -> str: ...


class HttpServer:
    """One listener under uvicorn, on the gateway's event loop."""

    def __init__(self, config: HttpConfig, intake: Intake, access: Access, reports: Reports) -> None:
        self._config = config
        self._intake = intake
        self._access = access
        self._reports = reports
        self._server: WebServer | None = None
        self.requests_total = 0
        self.denied_total = 0

    async def start(self) -> tuple[str, int]:
        """Bind and serve; (host, port). ListenerError `listener.*` when that is not possible or not safe."""
        config = self._config
        require_safe(config.host, tls=config.tls is not None, authenticated=not self._access.open)
        bound = bind_first(config.host, [config.port])
        host, port = bound.getsockname()[:2]
        self._server = WebServer(
            self.app(),
            bound,
            tls=config.tls,
            connections_max=config.connections_max,
            idle_s=config.idle_s,
            graceful_s=_GRACEFUL_S,
            protocol=_Protocol,
        )
        await self._server.start()
        return str(host), int(port)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """What must run for as long as it listens."""
        return () if self._server is None else self._server.tasks

    def app(self) -> Starlette:
        names = HostNames(self._config.host, self._config.host_names)
        return Starlette(
            middleware=[Middleware(_HostCheck, names=names)],
            routes=[
                Route("/v1/messages/{device}/{stream}", self._messages, methods=["POST"]),
                Route("/v1/status", self._status),
                Route("/v1/refusals", self._refusals),
                Route("/healthz", _health),
                Route("/readyz", self._ready),
                Route("/metrics", self._metrics),
            ],
        )

    # --- messages

    async def _messages(self, request: Request) -> Response:
        self.requests_total += 1
        device, stream = request.path_params["device"], request.path_params["stream"]
        principal = self._principal(request, device)
        if principal is None:
            self.denied_total += 1
            return _problem(401, "auth.token", "show a token of this device, or its certificate")
        if self._intake.overloaded:
            return _busy(1)
        try:
            body = await self._body(request)
        except _TooLarge:
            return _problem(413, "http.too_large", f"a request has at most {self._config.body_bytes_max} bytes")
        except (TimeoutError, ClientDisconnect):
            return _problem(408, "http.timeout", f"the body did not arrive within {self._config.body_s} s")
        content_type = request.headers.get("content-type", "")
        media = content_type.partition(";")[0].strip().lower()
        rest = b""
        if media == "application/x-ndjson":
            # Lines are JSON; which kind of JSON, the stream's declaration says.
            declared = self._reports.declared_type(device, stream)
            line_type = declared if "json" in declared else "application/json"
            items = [Item(item.body, line_type) for item in split_lines(body)]
        elif media == "application/cbor-seq":
            items, rest = split_cbor_sequence(body)
            items += [Item(rest, "application/senml+cbor")] if rest else []
        else:
            if len(body) > MESSAGE_BYTES_MAX:
                return _problem(413, "message.too_large", f"a message has at most {MESSAGE_BYTES_MAX} bytes")
            items = [Item(body, content_type)]
        many = media in ("application/x-ndjson", "application/cbor-seq")
        if not items or len(items) > self._config.items_max:
            return _problem(422, "http.items", f"a request has 1 to {self._config.items_max} messages")
        key = request.headers.get("idempotency-key", "").encode("latin-1")
        if len(key) > 200:
            return _problem(422, "message.header_too_large", "an Idempotency-Key has at most 200 characters")
        inbound = [
            Inbound(
                principal,
                device,
                stream,
                item.body,
                item.content_type,
                key + b"#%d" % index if key and many else key,
                "http",
            )
            for index, item in enumerate(items)
        ]
        return _answer(await self._submit(inbound))

    def _principal(self, request: Request, device: str) -> Principal | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        certificate = request.scope.get("extensions", {}).get(_CERTIFICATE, {}).get("der")
        shown = token.strip() if kind.lower() == "bearer" else ""
        # A wrong device is not an unknown sender: the pipeline refuses it, and keeps the refusal.
        principal = self._access.identify(certificate, shown, "")
        if principal is None and not shown and certificate is None:
            principal = self._access.identify(None, "", device)
        return principal

    async def _body(self, request: Request) -> bytes:
        limit = self._config.body_bytes_max
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _TooLarge
        parts: list[bytes] = []
        size = 0
        async with asyncio.timeout(self._config.body_s):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _TooLarge
                parts.append(part)
        return b"".join(parts)

    async def _submit(self, items: Sequence[Inbound]) -> list[Outcome]:
        """Give all of them to the pipeline at once; one group of the spool answers most of them together."""
        outcomes: list[Outcome | None] = [None] * len(items)
        left = len(items)
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(index: int) -> Callable[[Outcome], None]:
            def answer(outcome: Outcome) -> None:
                nonlocal left
                outcomes[index] = outcome
                left -= 1
                if not left and not finished.done():
                    finished.set_result(None)

            return answer

        for index, item in enumerate(items):
            self._intake.submit(item, done(index))
        await finished
        return [outcome for outcome in outcomes if outcome is not None]

    # --- reports

    async def _status(self, request: Request) -> Response:
        return self._for_operators(request) or JSONResponse(self._reports.status())

    async def _refusals(self, request: Request) -> Response:
        limit = request.query_params.get("limit", "100")
        if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
            return _problem(422, "http.limit", "limit is 1 to 1000")
        return self._for_operators(request) or JSONResponse({"refusals": self._reports.refusals(int(limit))})

    async def _metrics(self, request: Request) -> Response:
        denied = self._for_operators(request)
        return denied or Response(self._reports.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _ready(self, request: Request) -> Response:
        reasons = self._reports.not_ready()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    def _for_operators(self, request: Request) -> Response | None:
        """Reads are open on loopback; elsewhere they take an operator's token."""
        if is_loopback(self._config.host):
            return None
        principal = self._principal(request, "")
        if principal is None:
            return _problem(401, "auth.token", "show an operator's token")
        return None if not principal.device else _problem(403, "auth.operator", "this is for operators")


async def _health(request: Request) -> Response:
    return JSONResponse({"alive": True})


class _HostCheck:
    """ASGI middleware: what is asked of another name is not answered (see `HostNames`)."""

    def __init__(self, app: ASGIApp, names: HostNames) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if self._names.include(host):
            await self._app(scope, receive, send)
        else:
            hint = "use its address, or add the name to gateway.http.host_names in config.toml"
            await _problem(421, "http.host", "this gateway does not go by that name", hint)(scope, receive, send)


class _TooLarge(Exception):  # noqa: N818 (never leaves this file)
    pass


class _Protocol(HttpToolsProtocol):
    """Hands the client's certificate, which TLS has verified, to the application."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        tls = self.transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(True)
        self.scope["extensions"] = {_CERTIFICATE: {"der": certificate}}


def _answer(outcomes: list[Outcome]) -> Response:
    items: list[dict[str, Any]] = []
    accepted = busy = 0
    status = 0
    retry_after_s = 1
    for outcome in outcomes:
        if isinstance(outcome, Accepted):
            accepted += 1
            items.append({"sequence": outcome.sequence, "duplicate": outcome.duplicate})
        elif isinstance(outcome, Busy):
            busy += 1
            retry_after_s = max(retry_after_s, outcome.retry_after_s)
            items.append({"code": "gateway.busy", "message": "not recorded; send it again"})
        else:
            status = status or _status_of(outcome)
            item = {"code": outcome.code, "message": outcome.reason}
            items.append(item | ({"hint": HINTS[outcome.code]} if outcome.code in HINTS else {}))
    headers = {"retry-after": str(retry_after_s)} if busy else {}
    if accepted == len(outcomes):
        status = 200
    elif accepted or (busy and status):
        status = 207
    elif busy:
        status = 503
    return JSONResponse({"items": items}, status_code=status, headers=headers)


def _status_of(refused: Refused) -> int:
    code = refused.code
    if code in _CONFLICTS:
        return 409
    return _STATUS_OF_CODE.get(code) or _STATUS_OF_AREA.get(code.partition(".")[0], 422)


def _problem(status: int, code: str, detail: str, hint: str = "") -> Response:
    """RFC 9457."""
    document = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, "hint": hint}
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    return Response(json.dumps(document), status, headers, "application/problem+json")


def _busy(retry_after_s: int) -> Response:
    answer = _problem(503, "gateway.busy", "the gateway is slow right now; nothing was recorded")
    answer.headers["retry-after"] = str(retry_after_s)
    return answer
