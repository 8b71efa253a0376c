"""The ABCI 2.0 server that CometBFT calls: one thread per connection, replies in the order of the calls.

CometBFT opens four connections, each for one group of calls. A thread that answers one call before it reads the next is
all the order and back-pressure that ABCI asks for: while a block executes on the consensus connection, queries, snapshots
and checks go on beside it. A group belongs to one connection at a time, so consensus calls come from one thread even if
the engine is restarted while an old call still runs.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from google.protobuf.message import DecodeError

from althing.consensus.abci import Application
from althing.consensus.cometbft.address import SocketAddress
from althing.consensus.cometbft.frames import FRAME_BYTES_MAX, AbciPeerError, FrameReader, frame
from althing.consensus.cometbft.messages import decode_request, encode_response
from althing.consensus.cometbft.proto.tendermint.abci import types_pb2 as pb
from althing.protocol.errors import AlthingError

__all__ = ["AbciServer"]

_log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 8  # four of an engine, and four of its successor while the old ones close
_UNSENT_MAX: Final = 256 * 1024  # replies kept for one write
_LINGER_S: Final = 5.0


class _Group(Enum):
    CONSENSUS = "consensus"
    MEMPOOL = "mempool"
    QUERY = "query"
    SNAPSHOT = "snapshot"


# The field of `Request` that names the call, the method of `Application`, and the group it belongs to.
_CALLS: Final[dict[str, tuple[str, _Group]]] = {
    "info": ("info", _Group.QUERY),
    "query": ("query", _Group.QUERY),
    "check_tx": ("check_tx", _Group.MEMPOOL),
    "init_chain": ("init_chain", _Group.CONSENSUS),
    "prepare_proposal": ("prepare_proposal", _Group.CONSENSUS),
    "process_proposal": ("process_proposal", _Group.CONSENSUS),
    "extend_vote": ("extend_vote", _Group.CONSENSUS),
    "verify_vote_extension": ("verify_vote_extension", _Group.CONSENSUS),
    "finalize_block": ("finalize_block", _Group.CONSENSUS),
    "commit": ("commit", _Group.CONSENSUS),
    "list_snapshots": ("list_snapshots", _Group.SNAPSHOT),
    "offer_snapshot": ("offer_snapshot", _Group.SNAPSHOT),
    "load_snapshot_chunk": ("load_chunk", _Group.SNAPSHOT),
    "apply_snapshot_chunk": ("apply_chunk", _Group.SNAPSHOT),
}
_EXCLUSIVE: Final = (_Group.CONSENSUS, _Group.MEMPOOL)


class _StoppingError(Exception):
    """The server stops: the connection's thread ends."""


class AbciServer:
    """Serves one application at one address until `stop`.

    `failed` is told, on the thread concerned, what the application raised. That connection is left without an answer:
    CometBFT would end itself on one that says failure, and blocks it has stored could no longer be read.
    """

    def __init__(
        self,
        app: Application,
        address: SocketAddress,
        *,
        failed: Callable[[Exception], None],
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        self._app = app
        self._address = address
        self._failed = failed
        self._frame_bytes_max = frame_bytes_max
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._changed = threading.Condition()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._held: dict[_Group, socket.socket] = {}
        self._stopping = False

    @property
    def address(self) -> SocketAddress:
        """Where it listens: the port in use when it was started on port 0."""
        return self._address

    def start(self) -> None:
        """Listen. AlthingError `listener.*` when the address cannot be used."""
        self._listener, self._address = self._address.listen()
        self._accepting = threading.Thread(target=self._accept, name="abci-accept", daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        """Close every connection and wait, bounded, for calls in work. Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            connections = dict(self._connections)
        if self._listener is not None:
            _shut(self._listener)
            self._listener.close()
        for connection in connections:
            _shut(connection)
        for thread in connections.values():
            if thread is not threading.current_thread():
                thread.join(_LINGER_S)
        self._address.remove()

    @property
    def connected(self) -> int:
        """Connections that are open or whose last call still runs."""
        with self._changed:
            return len(self._connections)

    def wait_idle(self, timeout_s: float) -> bool:
        """True once no connection is left: a new engine meets no call of the old one."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections or self._stopping, timeout_s)

    # --- threads ------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed by stop
            thread = threading.Thread(target=self._serve, args=(connection,), name="abci", daemon=True)
            with self._changed:
                refused = self._stopping or len(self._connections) >= CONNECTIONS_MAX
                if not refused:
                    # Started before anyone else sees it: `stop` joins what it finds.
                    self._connections[connection] = thread
                    thread.start()
            if refused:
                _log.warning("an ABCI connection was refused: %d are open", CONNECTIONS_MAX)
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._converse(connection)
        except AbciPeerError as error:
            _log.error("an ABCI connection was closed: %s [%s]", error.message, error.code)
        except (_StoppingError, OSError):
            pass  # the engine went away; whoever supervises it notices by itself
        finally:
            _shut(connection)
            connection.close()
            with self._changed:
                del self._connections[connection]
                for group in [group for group, holder in self._held.items() if holder is connection]:
                    del self._held[group]
                self._changed.notify_all()

    def _converse(self, connection: socket.socket) -> None:
        reader = FrameReader(connection, bytes_max=self._frame_bytes_max)
        unsent = bytearray()
        while (data := reader.next()) is not None:
            request = pb.Request()
            try:
                request.ParseFromString(data)
            except DecodeError as error:
                raise AbciPeerError("abci.malformed", "a message is no ABCI request") from error
            kind = request.WhichOneof("value")
            unsent += frame(self._answer(connection, kind, request).SerializeToString())
            # Replies of calls that came together leave together; a flush, or nothing left to read, sends them.
            if kind == "flush" or not reader.waiting or len(unsent) > _UNSENT_MAX:
                connection.sendall(unsent)
                unsent.clear()

    def _answer(self, connection: socket.socket, kind: str | None, request: pb.Request) -> pb.Response:
        if kind == "flush":
            return pb.Response(flush=pb.ResponseFlush())
        if kind == "echo":
            return pb.Response(echo=pb.ResponseEcho(message=request.echo.message))
        call = _CALLS.get(kind or "")
        if kind is None or call is None:
            raise AbciPeerError(
                "abci.unknown_call", f"the engine calls {kind!r}", hint="keep the engine's own mempool: type `flood`"
            )
        method, group = call
        self._claim(group, connection)
        argument = decode_request(kind, getattr(request, kind))
        function = getattr(self._app, method)
        try:
            result = function() if argument is None else function(argument)
        except Exception as error:  # noqa: BLE001 -- whatever the application raised ends it, visibly and in order
            self._report(error)
        return encode_response(kind, result)

    def _claim(self, group: _Group, connection: socket.socket) -> None:
        """Wait until no other connection holds the group."""
        if group not in _EXCLUSIVE or self._held.get(group) is connection:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or group not in self._held)
            if self._stopping:
                raise _StoppingError
            self._held[group] = connection
            threading.current_thread().name = f"abci-{group.value}"

    def _report(self, error: Exception) -> Any:
        if not self._stopping:
            if not isinstance(error, AlthingError):
                _log.error("the application failed", exc_info=error)
            self._failed(error)
        with self._changed:
            self._changed.wait_for(lambda: self._stopping)
        raise _StoppingError


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected any more
