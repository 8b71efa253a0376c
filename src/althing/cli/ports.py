"""Ports of a home: the remembered one if it is free, else the usual one, else any; what is used is remembered."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from althing.node.home import Home, write_json

__all__ = ["choose_port", "port_of", "remember"]


def port_of(address: object) -> int:
    """The port of `scheme://host:port`, 0 when there is none."""
    tail = str(address).rpartition(":")[2]
    return int(tail) if tail.isascii() and tail.isdigit() and len(tail) <= 5 else 0


def choose_port(host: str, candidates: Sequence[int]) -> int:
    """The first candidate that is free now; 0 (any) when none is."""
    for port in candidates:
        if not 0 < port < 65536:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    return 0


def remember(home: Home, **addresses: Any) -> None:
    """Merge addresses into ports.json."""
    write_json(home.ports_file, {**home.ports(), **addresses})
