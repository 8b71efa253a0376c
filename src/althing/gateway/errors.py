"""What can go wrong in a gateway outside of single messages.

SpoolError           spool.locked .corrupt .foreign_chain .unwritable .version: the spool cannot be used
LedgerError          ledger.unavailable .invalid .behind: no node answers, or none answers what holds
LedgerRefusedError   ledger.not_found, or the node's own code: a node answers, and refuses
TaskError            gateway.failed: a task of the gateway ended by a bug, and the process ends with it
SettingsError        gateway.settings .home .tokens .certificates .foreign_chain: the gateway refuses to start like this

Refusals of messages are no exceptions but outcomes; their codes are in docs/spec/device-message.md §5.
"""

from __future__ import annotations

from pathlib import Path

from althing.protocol.errors import AlthingError, StateError, UnavailableError

__all__ = ["LedgerError", "LedgerRefusedError", "SettingsError", "SpoolCorruptError", "SpoolError", "TaskError"]


class SpoolError(StateError):
    """The spool is locked, foreign, damaged or cannot be written."""


class SpoolCorruptError(SpoolError):
    """Bytes that were durable once cannot be read any more. `path` and `offset` say where."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(
            "spool.corrupt",
            f"{path} is damaged at byte {offset}: {what}",
            hint="restore the file, or run `althing gateway repair`, which keeps every other message",
        )
        self.path = path
        self.offset = offset


class LedgerError(UnavailableError):
    """No node can be reached, or what it says cannot be used; nothing is known about what was asked."""


class LedgerRefusedError(AlthingError):
    """A node answered and refused what was asked (an unknown stream, a proof that is not ready yet)."""


class TaskError(StateError):
    """A task without which the gateway does not work has ended."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            "gateway.failed",
            f"the gateway's task {name!r} ended: {reason}",
            hint="start it again, nothing accepted is lost; report it with the log, it is a fault of the program",
        )


class SettingsError(AlthingError):
    """Settings, keys or files of the gateway are not acceptable."""
