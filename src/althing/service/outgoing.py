"""TLS towards servers: whose certificates are believed.

ConnectionSettingsError   tls.ca   the file of certificates cannot be used
"""

from __future__ import annotations

import ssl
from pathlib import Path

from althing.protocol.errors import AlthingError

__all__ = ["ConnectionSettingsError", "client_tls"]


class ConnectionSettingsError(AlthingError):
    """A connection cannot be made as the settings say; see the code above."""


def client_tls(ca: Path | None) -> ssl.SSLContext | bool:
    """What an HTTP client takes as `verify`: the certificates of a PEM file instead of the system's, or these (None)."""
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:  # ssl.SSLError is one
        raise ConnectionSettingsError(
            "tls.ca",
            f"{ca} cannot be used as certificates to trust: {error.strerror or error}",
            hint="a PEM file: the certificate of the authority that signed the server's, or the server's own",
        ) from error
