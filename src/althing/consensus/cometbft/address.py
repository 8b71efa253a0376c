"""Where server and engine meet: a Unix socket in a folder of this user's own, or a TCP port of this machine.

Neither ABCI nor CometBFT's RPC knows who calls. So a Unix socket is the rule, and TCP is bound to loopback only.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from althing.consensus.engine import EngineError
from althing.service.listener import ListenerError, bind_first, require_safe

__all__ = ["SocketAddress", "parse_address", "parse_signer_address"]

_UNIX_BYTES_MAX: Final = 100  # sun_path has 104 bytes on some systems, with a zero at the end


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """`path` of a Unix socket, or `host` and `port`."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """As CometBFT's settings write it."""
        return f"unix://{self.path}" if self.path is not None else f"tcp://{self.host}:{self.port}"

    def listen(self) -> tuple[socket.socket, SocketAddress]:
        """A listening socket, and the address with the port it got. ListenerError `listener.*` if it cannot be."""
        if self.path is None:
            require_safe(self.host, tls=False, authenticated=False)
            bound = bind_first(self.host, [self.port])
            return bound, replace(self, port=int(bound.getsockname()[1]))
        self.remove()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.path))
            os.chmod(self.path, 0o600)
            listener.listen(16)
        except OSError as error:
            listener.close()
            raise ListenerError(
                "listener.bind_failed", f"cannot listen on {self.path}: {error.strerror or error}"
            ) from error
        return listener, self

    def remove(self) -> None:
        """Take away the name of a Unix socket that nobody listens on any more."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def parse_signer_address(text: str) -> SocketAddress:
    """Where a remote signer connects: an absolute Unix socket or a fixed loopback port, or EngineError `engine.settings`.

    CometBFT takes whoever connects first for the signer, so nobody else may reach it; ListenerError `listener.insecure_bind`.
    """
    address = parse_address(text)
    if address.path is not None:
        if not address.path.is_absolute():
            raise EngineError("engine.settings", f"signer_listen needs an absolute path, not {address.path}")
        return address
    require_safe(address.host, tls=False, authenticated=False)
    if not address.port:
        raise EngineError("engine.settings", "signer_listen needs a port of its own: the signer has to know it")
    return address


def parse_address(text: str) -> SocketAddress:
    """`unix:///path` or `tcp://host:port`, or EngineError `engine.settings`."""
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest:
        if len(os.fsencode(rest)) > _UNIX_BYTES_MAX:
            raise EngineError(
                "engine.settings", f"the path of a Unix socket has at most {_UNIX_BYTES_MAX} bytes: {rest}"
            )
        return SocketAddress(path=Path(rest))
    host, colon, port = rest.rpartition(":")
    if scheme == "tcp" and colon and host and port.isascii() and port.isdigit() and int(port) < 65_536:
        return SocketAddress(host=host.strip("[]"), port=int(port))
    raise EngineError("engine.settings", f"{text!r} is no address", hint="unix:///path or tcp://127.0.0.1:26658")
