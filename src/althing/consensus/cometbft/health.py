"""How the engine stands in its network: behind, alone, or meeting peers of another chain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from althing.consensus.cometbft.peerbook import PeerBook
from althing.consensus.cometbft.rpc import AsyncRpc
from althing.protocol.errors import UnavailableError

__all__ = ["Health"]

_log = structlog.get_logger("althing.engine")

_EVERY_S: Final = 1.0
_REMEMBERED_S: Final = 120.0  # a peer of another chain is redialled more often than this
_OTHER_CHAIN: Final = "peer is on a different network"
_FAULTS: Final = ("error", "panic", "fatal")


class Health:
    """What was last heard from the engine's RPC and its log. Written on the event loop, read anywhere."""

    def __init__(self, book: PeerBook) -> None:
        self.catching_up = False
        self.peers = 0
        self.version = ""
        self.id = ""
        self._book = book
        self._other_chain_at = float("-inf")

    def conditions(self, *, alone: bool) -> tuple[str, ...]:
        """Of `behind`, `alone`, `other-chain` those that hold; `alone`: there are other validators."""
        found = []
        if self.catching_up:
            found.append("behind")
        if alone and not self.peers:
            found.append("alone")
        if time.monotonic() - self._other_chain_at < _REMEMBERED_S:
            found.append("other-chain")
        return tuple(found)

    def heard(self, level: str, message: str, fields: dict[str, Any]) -> None:
        """A line of the engine's log, passed on as ours."""
        reason = str(fields.get("c_err", ""))
        if _OTHER_CHAIN in reason:
            if time.monotonic() - self._other_chain_at > _REMEMBERED_S:
                _log.error("a peer belongs to another chain", reason=reason)
            self._other_chain_at = time.monotonic()
        if level in _FAULTS:
            _log.error(message, **fields)
        else:
            _log.debug(message, **fields)

    async def watch(self, rpc: AsyncRpc, told: Callable[[bool, int], None]) -> None:
        """Ask every second until cancelled; tell whether the engine catches up, and the lowest height it has."""
        try:
            while True:
                try:
                    status, network = await rpc.batch([("status", {}), ("net_info", {})])
                except UnavailableError:
                    self.peers = 0
                    self._book.told(None)
                else:
                    if isinstance(status, dict) and isinstance(network, dict):
                        self.catching_up = bool(status["sync_info"]["catching_up"])
                        self.peers = int(network["n_peers"])
                        self.id = str(status["node_info"]["id"]).lower()
                        self.version = str(status["node_info"]["version"])
                        self._book.told(network)
                        told(self.catching_up, int(status["sync_info"]["earliest_block_height"] or 0))
                await asyncio.sleep(_EVERY_S)
        finally:
            await rpc.close()
