"""Errors of the archive.

AlthingError
├── StateError
│   └── ArchiveError        what is stored does not hold: damaged, doctored, foreign
│         archive.truncated, archive.damaged, archive.hash_differs, archive.format, archive.name_differs,
│         archive.leaf, archive.root_differs, archive.row_missing, archive.row_extra, archive.column_differs,
│         archive.summary_differs, archive.anchor_differs, archive.schema_differs, archive.batch_conflict,
│         archive.not_writable, archive.location, archive.export_differs
├── UnavailableError
│   ├── SegmentUnavailable  archive.segment_unavailable: the chain says that the data exists, it cannot be read here
│   └── UnavailableError    archive.full, archive.store_unavailable
└── RefusedError
    └── QueryError          archive.query, archive.cursor, archive.unknown_message: the question cannot be answered
"""

from __future__ import annotations

from althing.protocol.errors import RefusedError, StateError, UnavailableError

__all__ = ["ArchiveError", "QueryError", "SegmentUnavailable"]


class ArchiveError(StateError):
    """A segment, export or refusal file does not hold. `where` names the object, row and column as far as known."""

    def __init__(self, code: str, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(code, f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class SegmentUnavailable(UnavailableError):  # noqa: N818 (named as its base is)
    """Data that the chain says exists cannot be read here and now. Never answered by an empty list."""

    def __init__(self, message: str, *, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(
            "archive.segment_unavailable",
            message,
            hint=hint or "the gateway may still be writing it; else restore the archive folder or bucket",
            retry_after_s=retry_after_s,
        )


class QueryError(RefusedError):
    """A range, cursor, bound or address of a query is not acceptable."""

    http_status = 400
