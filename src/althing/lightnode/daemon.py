"""The light node's process: follows the chain, and serves what it verified on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from althing.client.client import AsyncClient
from althing.client.light import LightClient, LightOptions
from althing.client.lightreader import LightReader
from althing.client.lightsource import ApiSource, RpcSource, Source
from althing.client.lightstore import Anchor, LightStore
from althing.client.transport import Transport
from althing.lightnode.api import build_app
from althing.protocol.errors import AlthingError
from althing.protocol.trust import Trust
from althing.service.lifecycle import Lifecycle, start_unless_stopped
from althing.service.listener import bind_first, require_safe
from althing.service.webserver import WebServer

__all__ = ["LightNodeConfig", "make_light_client", "run_light_node"]

_log = structlog.get_logger("althing.lightnode")
_CONNECTIONS_MAX: Final = 64
_IDLE_S: Final = 30
_GRACEFUL_S: Final = 3


@dataclass(frozen=True, slots=True)
class LightNodeConfig:
    """Whom to ask, what to trust, where to listen. `trust` None: a chain that is not Althing's, headers only."""

    anchor: Anchor
    node: str
    witnesses: tuple[str, ...]
    store: Path
    trust: Trust | None = None
    rpc: bool = False
    host: str = "127.0.0.1"
    port: int = 8430
    follow_s: int = 5
    options: LightOptions = field(default_factory=LightOptions)
    token: str = ""  # shown to every node that is named
    verify: Any = True  # an ssl.SSLContext for certificates that the system does not trust


def make_light_client(config: LightNodeConfig) -> LightClient:
    """The light client that a configuration describes, not started."""

    def source(url: str) -> Source:
        kind = RpcSource if config.rpc else ApiSource
        return kind(url, token=config.token, verify=config.verify)

    witnesses = [source(url) for url in config.witnesses]
    return LightClient(config.anchor, source(config.node), witnesses, LightStore(config.store), config.options)


async def run_light_node(config: LightNodeConfig, *, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Serve until `stop`. It listens only once the trusted block is verified."""
    require_safe(config.host, tls=False, authenticated=False)
    parts = Lifecycle(stop_timeout_s=10)
    light = make_light_client(config)
    try:
        url = await start_unless_stopped(_start(config, light, parts), stop)
        if url is not None:
            ready(url)
            await _follow(light, config.follow_s, stop)
    finally:
        await parts.stop()


async def _start(config: LightNodeConfig, light: LightClient, parts: Lifecycle) -> str:
    """The address that it listens on."""
    await parts.start("light client", light.start, light.aclose)
    client: AsyncClient | None = None
    if config.trust is not None and not config.rpc:
        transport = Transport([config.node, *config.witnesses], token=config.token, verify=config.verify)
        reader = LightReader(transport, config.trust, light)
        client = AsyncClient(transport, config.trust, None, reader=reader)
        await parts.start("client", None, client.aclose)
    bound = bind_first(config.host, [config.port])
    web = WebServer(
        build_app(light, client),
        bound,
        tls=None,
        connections_max=_CONNECTIONS_MAX,
        idle_s=_IDLE_S,
        graceful_s=_GRACEFUL_S,
    )
    await parts.start("web", web.start, web.stop)
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _follow(light: LightClient, every_s: int, stop: asyncio.Event) -> None:
    """Keep up with the chain, so that trust does not expire and answers are quick; failures are told and tried again."""
    while not stop.is_set():
        try:
            await light.update()
        except AlthingError as error:
            _log.warning("cannot follow", code=error.code, reason=error.message)
        try:
            async with asyncio.timeout(every_s):
                await stop.wait()
        except TimeoutError:
            continue
