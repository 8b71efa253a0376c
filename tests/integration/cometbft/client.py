"""The engine's side of ABCI, as CometBFT's socket client behaves: calls are queued, sent, and answered in order."""

from __future__ import annotations

import socket
from typing import Any

from althing.consensus.cometbft.address import SocketAddress
from althing.consensus.cometbft.frames import FrameReader, frame
from althing.consensus.cometbft.proto.tendermint.abci import types_pb2 as pb

WAIT_S = 20


class AbciClient:
    """One connection."""

    def __init__(self, address: SocketAddress) -> None:
        if address.path is not None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(str(address.path))
        else:
            self.socket = socket.create_connection((address.host, address.port))
        self.socket.settimeout(WAIT_S)
        self._reader = FrameReader(self.socket)

    def send(self, *requests: pb.Request) -> None:
        self.socket.sendall(b"".join(frame(request.SerializeToString()) for request in requests))

    def receive(self) -> pb.Response | None:
        """The next answer, None when the server has closed the connection."""
        try:
            data = self._reader.next()
        except ConnectionResetError:
            return None
        return None if data is None else pb.Response.FromString(data)

    def call(self, **request: Any) -> Any:
        """A synchronous call: the request and a flush; the answer's content."""
        self.send(pb.Request(**request), pb.Request(flush=pb.RequestFlush()))
        answer = self.receive()
        assert answer is not None, "the server closed the connection"
        flushed = self.receive()
        assert flushed is not None
        assert flushed.WhichOneof("value") == "flush"
        return getattr(answer, answer.WhichOneof("value"))

    def close(self) -> None:
        self.socket.close()
