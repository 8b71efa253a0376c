"""Server-sent events (WHATWG HTML §9.2) of the chain, resumed at a cursor.

What a follower has not read waits in the socket, never in memory: the next height is rendered when the last one is sent.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from althing.node.api.context import Api
from althing.node.api.limits import EVENTS_CHUNK_BYTES, EVENTS_HEARTBEAT_S, EVENTS_SEND_S
from althing.protocol.errors import AlthingError

__all__ = ["EventStream"]

_log = structlog.get_logger("althing.node.api")

_HEARTBEAT: Final = b": nothing new\n\n"
_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class EventStream(Response):
    """An ASGI answer that ends when the client goes, reads nothing for too long, or the node stops."""

    def __init__(self, api: Api, after: tuple[int, int], prefix: str) -> None:
        super().__init__(media_type="text/event-stream")
        self._api = api
        self._after = after
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._api.metrics.event_clients += 1
        sending = asyncio.create_task(self._send_all(send))
        others = {asyncio.create_task(_gone(receive)), asyncio.create_task(self._stopping())}
        try:
            await asyncio.wait({sending, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, *others):
                task.cancel()
            await asyncio.wait({sending, *others})
            self._api.metrics.event_clients -= 1
        if not sending.cancelled():
            sending.result()
        elif self._api.stopping.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stopping(self) -> None:
        await self._api.stopping.wait()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        try:
            # At once, so that a client knows that it is connected before anything happens.
            await _bounded(send, b"retry: 1000\n\n")
            await self._follow(send)
        except TimeoutError:
            _log.info("a follower of the events reads too slowly and is cut off")
        except AlthingError as exc:
            _log.info("an event stream ended", code=exc.code, reason=exc.message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, send: Send) -> None:
        height, index = self._after
        height = max(height, self._api.node.genesis.initial_height)
        if height > self._after[0]:
            index = -1
        engine = self._api.node.engine
        while True:
            while engine.latest_height < height:
                try:
                    async with asyncio.timeout(EVENTS_HEARTBEAT_S):
                        await engine.wait_height(height)
                except TimeoutError:
                    await _bounded(send, _HEARTBEAT)
            chunk = bytearray()
            for at, name, data in await self._api.event_lines.at(height):
                if at > index and name.startswith(self._prefix):
                    chunk += data
                    if len(chunk) >= EVENTS_CHUNK_BYTES:
                        await _bounded(send, bytes(chunk))
                        chunk.clear()
            if chunk:
                await _bounded(send, bytes(chunk))
            height, index = height + 1, -1


async def _bounded(send: Send, data: bytes) -> None:
    async with asyncio.timeout(EVENTS_SEND_S):
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
