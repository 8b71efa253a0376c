"""A node that lies: it stands before an honest one and alters some of what that says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from althing.service.webserver import WebServer


@dataclass
class Liar:
    """`alter` is given method, path and an answer's body, and says what is answered; `events` each event's lines."""

    alter: Callable[[str, str, bytes], bytes] = lambda method, path, body: body
    events: Callable[[bytes], bytes] = lambda event: event
    refuses: Callable[[str, str], int] = lambda method, path: 0  # the HTTP status it answers instead, 0 for none
    swallows: str = ""  # requests of this path are answered by `alter` alone and go nowhere
    asked: list[str] = field(default_factory=list)
    _dropped: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def __call__(self, honest: str) -> AsyncIterator[str]:
        async with httpx2.AsyncClient(base_url=honest, timeout=60) as http:

            async def answer(request: Request) -> Response:
                method, path = request.method, request.url.path
                self.asked.append(f"{method} {path}")
                headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
                refused = self.refuses(method, path)
                if refused:
                    problem = {"code": "node.refused", "detail": "not for you", "status": refused}
                    return JSONResponse(problem, refused)
                if path == "/v1/events":
                    return StreamingResponse(self._follow(http, headers), media_type="text/event-stream")
                if path == self.swallows:
                    return Response(self.alter(method, path, await request.body()), media_type="application/cbor")
                own = await http.request(
                    method, path, params=dict(request.query_params), content=await request.body(), headers=headers
                )
                body = own.content if own.status_code != 200 else self.alter(method, path, own.content)
                return Response(body, own.status_code, media_type=own.headers.get("content-type"))

            bound = socket.create_server(("127.0.0.1", 0))
            app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
            server = WebServer(app, bound, tls=None, connections_max=100, idle_s=5, graceful_s=1)
            await server.start()
            try:
                yield f"http://127.0.0.1:{bound.getsockname()[1]}"
            finally:
                await server.stop()

    def drop(self) -> None:
        """End the event streams that are open."""
        self._dropped.set()
        self._dropped = asyncio.Event()

    async def _follow(self, http: httpx2.AsyncClient, headers: dict[str, str]) -> AsyncIterator[bytes]:
        dropped = asyncio.create_task(self._dropped.wait())
        async with http.stream("GET", "/v1/events", headers=headers) as own:
            rest = b""
            chunks = aiter(own.aiter_bytes())
            while True:
                following = asyncio.ensure_future(anext(chunks, b""))
                await asyncio.wait({dropped, following}, return_when=asyncio.FIRST_COMPLETED)
                if dropped.done():
                    following.cancel()
                    return
                chunk = following.result()
                if not chunk:
                    dropped.cancel()
                    return
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    yield self.events(event + b"\n\n")
