"""What can go wrong between a client and its nodes.

AlthingError
├── ClientError      client.*   configuration or use of the SDK
├── NodeError        any code   a node's own answer: problem+json with code, message, hint
├── LyingNodeError   node.lied  an answer that does not verify; the node must not be used again
└── UnavailableError node.unavailable   no node answered
"""

from __future__ import annotations

from althing.protocol.errors import AlthingError

__all__ = ["ClientError", "LyingNodeError", "NodeError", "RefusedTransactionError"]


class ClientError(AlthingError):
    """The SDK was configured or used wrongly."""


class NodeError(AlthingError):
    """A node refused a request; `status` is its HTTP status."""

    def __init__(self, code: str, message: str, *, hint: str = "", status: int = 500) -> None:
        super().__init__(code, message, hint=hint)
        self.status = status


class LyingNodeError(AlthingError):
    """A node's answer contradicts what was verified."""

    def __init__(self, message: str) -> None:
        super().__init__("node.lied", message, hint="use another node, and tell its operator")


class RefusedTransactionError(AlthingError):
    """A transaction was refused at admission or by its receipt; `tx_id` names it."""

    def __init__(self, code: str, message: str, tx_id: bytes, *, hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.tx_id = tx_id
