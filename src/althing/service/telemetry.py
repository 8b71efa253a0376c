"""Structured logs of processes: one JSON object per line, or readable lines for a terminal. Standard output stays free."""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog

__all__ = ["configure_logs"]

Level = Literal["debug", "info", "warning", "error"]


def configure_logs(level: Level = "info", *, json: bool = True, stream: TextIO | None = None) -> None:
    """Set up structlog, and the standard library's logging of others through it, once per process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    out = stream if stream is not None else sys.stderr
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=out.isatty())
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
