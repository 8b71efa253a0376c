"""Why a header cannot be trusted. The classes say what a light client does about it.

LightError            light.*        any of those below
├── InvalidHeaderError               it can never be trusted: whoever sent it is wrong or lies
├── NotEnoughTrustError light.trust  too far from the trusted one: try a header in between
├── ExpiredError      light.expired  the trusted header is too old: a person must find a newer one to trust
└── AttackError       light.attack   two histories, both signed: evidence of an attack
"""

from __future__ import annotations

from althing.protocol.errors import AlthingError

__all__ = ["AttackError", "ExpiredError", "InvalidHeaderError", "LightError", "NotEnoughTrustError"]


class LightError(AlthingError):
    """A header cannot be trusted. Codes:

    light.chain, light.height, light.time, light.future: the header does not fit the trusted one;
    light.validators: a validator set is not the one a header names; light.commit: the commit is not for the header or
    not in canonical form; light.signature: a signature does not verify; light.quorum: two thirds did not sign.
    """

    http_status = 502


class InvalidHeaderError(LightError):
    """CometBFT's ErrInvalidHeader."""


class NotEnoughTrustError(LightError):
    """CometBFT's ErrNewValSetCantBeTrusted: too few of the trusted validators signed to skip this far."""

    def __init__(self, message: str) -> None:
        super().__init__("light.trust", message, hint="verify a header in between first")


class ExpiredError(LightError):
    """CometBFT's ErrOldHeaderExpired: the validators of the trusted header may have left and owe nothing any more."""

    def __init__(self, message: str) -> None:
        super().__init__("light.expired", message, hint="get a newer trust file from somebody you trust")


class AttackError(LightError):
    """Two signed histories of one chain: the light client stops until a person has decided."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "light.attack", message, hint="stop, tell the validators' operators, and begin again with a new trust file"
        )
