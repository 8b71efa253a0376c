"""What every request passes first: Host and token checks, bounds on address and body, headers, and its duration measured.

Plain ASGI, because it stands in the way of every transaction. A Host that is not ours on loopback is refused: otherwise
a page of somebody else could reach this node from a user's browser by pointing its own name at 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from althing.node.api.limits import BODY_BYTES_MAX, BODY_S, URL_BYTES_MAX
from althing.node.api.problems import SlowBodyError, TooLargeError, problem_response
from althing.service.hostnames import HostNames

__all__ = ["Gate"]

_OPEN_PATHS: Final = ("/healthz",)  # liveness probes carry no token and learn nothing
# Who has no ticket yet needs to know of which chain; readiness and heights are no content.
_STRANGERS_PATHS: Final = ("/v1/status", "/v1/trust", "/readyz")
_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_TOO_LARGE: Final = f"a request has at most {BODY_BYTES_MAX} bytes"
_SEND_LESS: Final = "send less at a time"

Observe = Callable[[str, str, int, float], None]


class Gate:
    """ASGI middleware. `token` None asks for none.

    `admits` judges reading tickets where the chain lists its readers: then one of them, or the token, is asked for.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: HostNames,
        token: str | None,
        open_page: bool,
        observe: Observe,
        admits: Callable[[str], bool] | None = None,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._token = None if token is None else f"Bearer {token}".encode("ascii")
        self._open_page = open_page
        self._admits = admits
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_SECURITY]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, sending)
                return
            await self._app(scope, _Body(receive).receive, sending)
        finally:
            route = scope.get("route")
            self._observe(getattr(route, "path", "other"), scope["method"], status, time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if len(scope["raw_path"]) + len(scope["query_string"]) > URL_BYTES_MAX:
            return problem_response(414, "api.too_large", f"an address has at most {URL_BYTES_MAX} bytes")
        headers = dict(scope["headers"])
        if not self._hosts.include(headers.get(b"host", b"")):
            return problem_response(
                421,
                "api.host",
                "this node does not go by that name",
                "use its address, or add the name to node.api.host_names in config.toml",
            )
        if self._asked(scope["method"], scope["path"]):
            given = headers.get(b"authorization", b"")
            if _is_rpc(scope["method"], scope["path"]) and given.startswith(b"Basic "):
                given = _bearer(given)
            right = self._token is not None and hmac.compare_digest(given, self._token)
            if not right and self._admits is not None:
                scheme, _, credential = given.decode("latin-1").partition(" ")
                if not (scheme == "Bearer" and self._admits(credential)):
                    return problem_response(
                        401,
                        "api.reader",
                        "this is a private chain: who reads it shows a ticket",
                        "althing reader ticket makes one; send Authorization: Bearer <ticket>",
                        {"WWW-Authenticate": 'Bearer realm="althing"'},
                    )
            elif not right:
                return problem_response(
                    401,
                    "api.token",
                    "this listener wants the bearer token of its node",
                    "send Authorization: Bearer <token>",
                    {"WWW-Authenticate": 'Bearer realm="althing"'},
                )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 12 or int(length) > BODY_BYTES_MAX:
            return problem_response(413, "api.too_large", _TOO_LARGE, _SEND_LESS)
        return None

    def _asked(self, method: str, path: str) -> bool:
        """Must this request show a token or a ticket?"""
        if self._admits is not None:
            return path not in _STRANGERS_PATHS and self._guarded(method, path)
        return self._token is not None and self._guarded(method, path)

    def _guarded(self, method: str, path: str) -> bool:
        if path in _OPEN_PATHS:
            return False
        if _is_rpc(method, path):
            return True
        # The page's own files hold nothing of the chain; what it asks for is guarded.
        return not self._open_page or path.startswith("/v1/") or path in ("/v1", "/metrics", "/readyz")


class _Body:
    """Counts a body's bytes and gives it a time to arrive, however it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self._deadline: float | None = None
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # waits for the client to go away, as long as that takes
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + BODY_S
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as exc:
            raise SlowBodyError("api.slow_body", f"the body did not arrive within {BODY_S} s") from exc
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._size > BODY_BYTES_MAX:
                raise TooLargeError("api.too_large", _TOO_LARGE, hint=_SEND_LESS)
        return message


def _is_rpc(method: str, path: str) -> bool:
    """CometBFT's JSON-RPC: its clients know no other way to log in than user and password in the address."""
    return path == "/cometbft" or path.startswith("/cometbft/") or (method == "POST" and path == "/")


def _bearer(basic: bytes) -> bytes:
    """The password of Basic credentials (RFC 7617) as the token it should be."""
    try:
        text = base64.b64decode(basic.removeprefix(b"Basic "), validate=True)
    except ValueError:
        return b""
    return b"Bearer " + text.partition(b":")[2]
