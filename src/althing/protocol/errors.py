"""Typed, coded errors: the one base class and the codes that every layer shares.

AlthingError
├── ProtocolError        bytes from outside do not have the form the specification demands
│   ├── EncodingError    cbor.*      not deterministic CBOR, or beyond a limit
│   ├── CoseError        cose.*      envelope, key or signature is not acceptable
│   ├── MerkleError      merkle.*    a path or a log does not recompute
│   └── PayloadError     payload.*   SenML, JSON mapping or raw payload cannot be resolved
├── RefusedError         tx.* auth.* module.*   a transaction or message is well formed but not allowed
├── StateError           state.*     stored state is missing, foreign, damaged or pruned
└── UnavailableError     *.unavailable, *.full   try again later; `retry_after_s` says when

Other packages derive their own classes from these and document their codes in docs/reference/errors.md.
Codes are stable: programs may match on them. Texts may change.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlthingError",
    "CoseError",
    "EncodingError",
    "MerkleError",
    "PayloadError",
    "ProtocolError",
    "RefusedError",
    "StateError",
    "UnavailableError",
]


class AlthingError(Exception):
    """An expected failure: a stable `code`, what happened (`message`), and what to do (`hint`)."""

    http_status: ClassVar[int] = 500

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message
        self.hint = hint


class ProtocolError(AlthingError):
    """Bytes from outside do not have the form the specification demands."""

    http_status = 400


class EncodingError(ProtocolError):
    """Not deterministic CBOR (RFC 8949 §4.2.1), or beyond a limit."""


class CoseError(ProtocolError):
    """A COSE envelope (RFC 9052), key or signature is not acceptable."""


class MerkleError(ProtocolError):
    """A Merkle path, log or state proof does not recompute."""


class PayloadError(ProtocolError):
    """A device's payload cannot be resolved into readings."""


class RefusedError(AlthingError):
    """Well formed, but not allowed by the rules in force."""

    http_status = 403


class StateError(AlthingError):
    """Stored state is missing, foreign, damaged or pruned."""

    http_status = 500


class UnavailableError(AlthingError):
    """Cannot be served now; trying again after `retry_after_s` seconds is right."""

    http_status = 503

    def __init__(self, code: str, message: str, *, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(code, message, hint=hint)
        self.retry_after_s = retry_after_s
