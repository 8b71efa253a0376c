"""A process that verifies signatures for a node: frames of checks in, one byte a check out (`signaturecheck`).

It ends when the node closes its end, also by dying. Signals that end a whole group of processes are left to the node.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import Final

import cbor2

from althing.protocol.signatures import Suite, verify

__all__ = ["HEAD_BYTES", "READY", "frame", "main"]

HEAD_BYTES: Final = 4
READY: Final = b"\x01"  # sent once, when everything is imported


def frame(body: bytes) -> bytes:
    """A body behind its length."""
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def main(descriptor: int) -> None:
    """Serve the connected socket `descriptor` until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    suites = {int(suite): suite for suite in Suite}
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as incoming:
        try:
            connection.sendall(READY)
            while head := incoming.read(HEAD_BYTES):
                flat = cbor2.loads(incoming.read(int.from_bytes(head, "big")))
                parts = [iter(flat)] * 4
                verdicts = bytes(
                    verify(suites[suite], public, signed, value)
                    for suite, public, signed, value in zip(*parts, strict=True)
                )
                connection.sendall(frame(verdicts))
        except (BrokenPipeError, ConnectionResetError):
            return  # the node has gone


if __name__ == "__main__":
    main(int(sys.argv[1]))
