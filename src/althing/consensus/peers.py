"""What an engine knows of the network around it: itself as its peers see it, and its peers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EngineNetwork", "Peer"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, by its key's id. Its name is what it calls itself; nobody vouches for it.

    `outbound` tells who dialled (True: this node), `address` is an IP address or "", times are nanoseconds since 1970,
    None where unknown. `height` is the highest block it is known to have. A peer that went away is kept for a while.
    """

    id: str
    name: str
    connected: bool
    outbound: bool | None
    address: str
    version: str
    connected_at_ns: int | None
    seen_at_ns: int | None
    height: int | None
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class EngineNetwork:
    """This node among its peers. `id` is "" where an engine has no peers; `version` is the engine's own."""

    id: str
    name: str
    version: str
    peers: tuple[Peer, ...] = ()
