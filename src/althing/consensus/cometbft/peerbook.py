"""The peers that CometBFT's RPC tells of, and for a while those that have gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any, Final

from althing.consensus.peers import Peer

__all__ = ["PeerBook", "heights_of"]

GONE_MAX: Final = 100  # peers remembered that are not connected; who changes ids cannot fill memory
GONE_NS: Final = 24 * 3600 * 1_000_000_000
_NAME_MAX: Final = 128  # a peer writes its name itself
_VERSION_MAX: Final = 32


class PeerBook:
    """`told` is called with each answer of `net_info`; `peers` may be read anywhere. `expected`: <id>@host:port."""

    def __init__(self, expected: Iterable[str] = (), *, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._lock = Lock()
        self._expected = {entry.partition("@")[0].lower() for entry in expected}
        self._peers: dict[str, Peer] = {}
        for entry in self._expected:
            self._peers[entry] = _unknown(entry)

    def told(self, answer: Mapping[str, Any] | None) -> None:
        """What is connected now; None when the engine does not answer, and nothing is."""
        now = self._clock()
        found = {} if answer is None else dict(_peer(item, now) for item in answer["peers"])
        with self._lock:
            found = {
                n: replace(peer, height=self._peers[n].height) if n in self._peers else peer
                for n, peer in found.items()
            }
            gone = [replace(peer, connected=False) for name, peer in self._peers.items() if name not in found]
            kept = [peer for peer in gone if peer.id in self._expected or now - (peer.seen_at_ns or 0) < GONE_NS]
            kept.sort(key=lambda peer: (peer.id in self._expected, peer.seen_at_ns or 0), reverse=True)
            self._peers = {**found, **{peer.id: peer for peer in kept[: max(GONE_MAX, len(self._expected))]}}

    def peers(self) -> tuple[Peer, ...]:
        """Connected ones first, each group by id."""
        with self._lock:
            known = list(self._peers.values())
        return tuple(sorted(known, key=lambda peer: (not peer.connected, peer.id)))

    def told_heights(self, heights: Mapping[str, int]) -> None:
        """By peer; remembered, so that one that goes is known by the last height it had."""
        with self._lock:
            for name, height in heights.items():
                if name in self._peers:
                    self._peers[name] = replace(self._peers[name], height=height)


def heights_of(dump: Mapping[str, Any]) -> dict[str, int]:
    """By peer, from `dump_consensus_state`: who works on a height has the block before it."""
    found = {}
    for item in dump.get("peers") or ():
        at = int(item["peer_state"]["round_state"]["height"])
        if at > 0:  # 0 until it has said so
            found[str(item["node_address"]).partition("@")[0].lower()] = at - 1
    return found


def _peer(item: Mapping[str, Any], now: int) -> tuple[str, Peer]:
    info, status = item["node_info"], item["connection_status"]
    name = str(info["id"]).lower()
    received = status["RecvMonitor"]
    return name, Peer(
        id=name,
        name=_plain(info["moniker"], _NAME_MAX),
        connected=True,
        outbound=bool(item["is_outbound"]),
        address=str(item["remote_ip"]),
        version=_plain(info["version"], _VERSION_MAX),
        connected_at_ns=now - int(status["Duration"]),
        seen_at_ns=now - int(received["Idle"]),
        height=None,
        bytes_sent=int(status["SendMonitor"]["Bytes"]),
        bytes_received=int(received["Bytes"]),
    )


def _unknown(name: str) -> Peer:
    return Peer(name, "", False, None, "", "", None, None, None, 0, 0)


def _plain(value: Any, length: int) -> str:
    return "".join(c for c in str(value) if c.isprintable())[:length]
