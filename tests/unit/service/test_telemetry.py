"""Logs tell of the work and never stop it."""

from __future__ import annotations

import errno
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from althing.service.telemetry import configure_logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Full(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")


def test_a_line_is_one_json_object() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    structlog.get_logger("a").warning("it rains", drops=3)
    logging.getLogger("b").warning("it pours")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["it rains", "it pours"]
    assert lines[0]["drops"] == 3


@pytest.mark.parametrize("stream", [Full(), io.StringIO()])
def test_a_stream_that_takes_nothing_stops_nobody(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    if not isinstance(stream, Full):
        stream.close()
    structlog.get_logger("a").error("it rains")
    logging.getLogger("b").error("it pours")
