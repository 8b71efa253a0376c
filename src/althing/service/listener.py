"""Where a process may listen: loopback freely, anything else only with TLS and a way to tell who calls.

ListenerError   listener.insecure_bind   others could reach it unprotected
                listener.bind_failed     the address is taken or not of this machine
                listener.certificate     certificate or key cannot be used
                listener.token           the token is missing or too short, or others can read it
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from althing.protocol.errors import AlthingError

__all__ = ["ListenerError", "bind_first", "is_loopback", "read_token", "require_safe", "tls_context"]

TOKEN_CHARS_MIN: Final = 32  # 128 bits in hexadecimal
TOKEN_BYTES_MAX: Final = 4096
BACKLOG: Final = 1024


class ListenerError(AlthingError):
    """A listener cannot be opened, or would be open to anybody; see the codes above."""


def is_loopback(host: str) -> bool:
    """True when only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_safe(host: str, *, tls: bool, authenticated: bool) -> None:
    """ListenerError `listener.insecure_bind` unless the host is loopback, or the listener has TLS and knows its callers."""
    if not is_loopback(host) and not (tls and authenticated):
        raise ListenerError(
            "listener.insecure_bind",
            f"{host} is reachable by others, and this listener has {'no token' if tls else 'no TLS'}",
            hint="give certificate, key and token_file, or bind 127.0.0.1",
        )


def bind_first(host: str, ports: Sequence[int]) -> socket.socket:
    """A listening socket on the first port that is free; ListenerError `listener.bind_failed` when none is. 0 is any."""
    reason = ""
    for port in dict.fromkeys(ports):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
        except OSError as error:
            reason = f"port {port}: {error.strerror or error}"
    raise ListenerError(
        "listener.bind_failed", f"cannot listen on {host}, {reason}", hint="choose another host or port"
    )


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's TLS context: version 1.2 or later, Python's safe defaults."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ListenerError(
            "listener.certificate", f"{certificate} or {key} cannot be used: {error}", hint="both are PEM files"
        ) from error
    return context


def read_token(path: Path) -> str:
    """The bearer token of a file that only its owner can read: one line, at least 32 characters without spaces."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(TOKEN_BYTES_MAX + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ListenerError("listener.token", f"{path} cannot be read as a token") from error
    if not TOKEN_CHARS_MIN <= len(token) <= TOKEN_BYTES_MAX or not token.isprintable() or " " in token:
        raise ListenerError(
            "listener.token",
            f"the token in {path} is not one word of at least {TOKEN_CHARS_MIN} characters",
            hint=f"(umask 077; openssl rand -hex 32 > {path})",
        )
    if mode & 0o077:
        raise ListenerError("listener.token", f"the token in {path} can be read by others", hint=f"chmod 600 {path}")
    return token
