"""A uvicorn server as a part of a process: on a socket that is bound already, leaving signals to the process."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

from althing.service.listener import ListenerError

__all__ = ["WebServer"]

_STARTED_POLL_S = 0.005


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class WebServer:
    """Serves an ASGI application. `start` and `stop` once each."""

    def __init__(
        self,
        app: Any,
        bound: socket.socket,
        *,
        tls: ssl.SSLContext | None,
        connections_max: int,
        idle_s: int,
        graceful_s: int,
        protocol: Any = "httptools",
    ) -> None:
        """`protocol` is uvicorn's `http`: a name, or a protocol class of one's own."""
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=connections_max,
            timeout_keep_alive=idle_s,
            timeout_graceful_shutdown=graceful_s,
        )
        config.load()
        config.ssl = tls
        self._bound = bound
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """What must run for as long as it serves."""
        return () if self._task is None else (self._task,)

    async def start(self) -> None:
        """Accept connections from now on."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._bound]), name="web")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise ListenerError("listener.bind_failed", "the web server ended before it began")
            await asyncio.sleep(_STARTED_POLL_S)

    async def stop(self) -> None:
        """Take no new connections, let answers under way finish for `graceful_s`, then close."""
        if self._task is not None:
            self._server.should_exit = True
            task, self._task = self._task, None
            await asyncio.wait({task})
            if not task.cancelled():  # by whom it was, those tell who watch `tasks`
                task.result()
