"""Structured logs of processes: one JSON object per line, or readable lines for a terminal. Standard output stays free."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog

__all__ = ["configure_logs"]

Level = Literal["debug", "info", "warning", "error"]


class _Lines:
    """A stream that is closed, broken or full loses its lines: what they tell of must go on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: it was closed
            return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(level: Level = "info", *, json: bool = True, stream: TextIO | None = None) -> None:
    """Set up structlog, and the standard library's logging of others through it, once per process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    to = stream if stream is not None else sys.stderr
    out = cast("TextIO", _Lines(to))
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=to.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries' info is nobody's news: httpx2 logs every request.
    root.setLevel(max(number, logging.WARNING))
