"""How every command reaches a node or gateway: options of `althing` itself, so that each command has them."""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Final

import typer

from althing.service.listener import read_token
from althing.service.outgoing import client_tls

__all__ = ["CaOption", "TokenFileOption", "named_certificates", "reached_by", "shown_token", "trusted_certificates"]

CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="ALTHING_CA",
        dir_okay=False,
        help="Certificates (PEM) to trust in https:// addresses, instead of the system's.",
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="ALTHING_TOKEN_FILE",
        dir_okay=False,
        help="File (mode 0600) with the token to show to nodes and gateways; default: the home's own node's.",
    ),
]


_CA: Final[ContextVar[Path | None]] = ContextVar("althing_ca", default=None)
_TOKEN_FILE: Final[ContextVar[Path | None]] = ContextVar("althing_token_file", default=None)


def reached_by(ca: Path | None, token_file: Path | None) -> None:
    """What this run of the program was told."""
    _CA.set(ca)
    _TOKEN_FILE.set(token_file)


def named_certificates() -> Path | None:
    """The file of --ca, for a program that is given a file."""
    return _CA.get()


def trusted_certificates() -> ssl.SSLContext | bool:
    """What an HTTP client takes as `verify`."""
    return client_tls(_CA.get())


def shown_token(otherwise: Path | None = None) -> str:
    """The token to show: of --token-file, else of the file given, else none ("")."""
    path = _TOKEN_FILE.get() or otherwise
    return "" if path is None else read_token(path)
