"""The engine's own metrics: from its private listener, bounded, and an error when they do not come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from althing.consensus.cometbft import instrumentation
from althing.consensus.cometbft.instrumentation import Instrumentation, own_metrics
from althing.protocol.errors import UnavailableError

TEXT = b"""# HELP cometbft_consensus_height Height of the chain.
# TYPE cometbft_consensus_height gauge
cometbft_consensus_height{chain_id="c"} 7
# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 12
# TYPE process_open_fds gauge
process_open_fds 38
promhttp_metric_handler_requests_total{code="200"} 1
"""


@contextmanager
def listener(instruments: Instrumentation, body: bytes, *, status: int = 200, pause: float = 0.0) -> Iterator[None]:
    """What answers where the engine would."""
    held = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            held.wait(pause)
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    host, _, port = instruments.renew().partition(":")
    server = HTTPServer((host, int(port)), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        held.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_only_what_is_the_engines_own_is_passed_on() -> None:
    assert own_metrics(TEXT) == (
        b"# HELP cometbft_consensus_height Height of the chain.\n"
        b"# TYPE cometbft_consensus_height gauge\n"
        b'cometbft_consensus_height{chain_id="c"} 7\n'
        b"# TYPE cometbft_process_open_fds gauge\n"
        b"cometbft_process_open_fds 38\n"
    )
    assert own_metrics(b"<html>\nnothing of ours 1\n\xff\xfe") == b""


def test_an_answer_is_read_once_a_second() -> None:
    instruments = Instrumentation()
    with listener(instruments, TEXT):
        first = instruments.scrape()
        assert b"cometbft_consensus_height" in first
    assert instruments.scrape() == first


def test_nobody_there_is_an_error_in_time() -> None:
    instruments = Instrumentation()
    with pytest.raises(UnavailableError, match="does not serve"):
        instruments.scrape()
    instruments.renew()
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="do not answer"):
        instruments.scrape()
    assert time.monotonic() - began < 30


def test_who_took_the_port_is_not_believed() -> None:
    instruments = Instrumentation()
    with listener(instruments, TEXT):
        instruments.failed()
        with pytest.raises(UnavailableError, match="does not serve"):
            instruments.scrape()


@pytest.mark.parametrize(
    ("body", "status", "why"), [(b"cometbft_x 1\n" * 200, 200, "too long"), (b"no", 503, "HTTP 503")]
)
def test_a_wrong_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, body: bytes, status: int, why: str) -> None:
    monkeypatch.setattr(instrumentation, "ANSWER_BYTES_MAX", 2000)
    instruments = Instrumentation()
    with listener(instruments, body, status=status), pytest.raises(UnavailableError, match=why):
        instruments.scrape()


def test_a_listener_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instrumentation, "TIMEOUT_S", 0.2)
    instruments = Instrumentation()
    with listener(instruments, TEXT, pause=30), pytest.raises(UnavailableError, match="do not answer"):
        instruments.scrape()
