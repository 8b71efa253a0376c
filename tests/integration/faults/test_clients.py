"""Clients that cost without giving: idle, half-open, slow. The daemons serve the others meanwhile, and stop in order."""

from __future__ import annotations

import resource
import socket
import time

import httpx2
import pytest

from althing.testing.audit import audit

IDLE = 1000


@pytest.fixture
def room_for_sockets():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 500:
        pytest.skip(f"only {hard} file descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def address(site, listener):
    return ("127.0.0.1", {"mqtt": site.ports.mqtt, "http": site.ports.http, "node": site.ports.node}[listener])


@pytest.mark.parametrize("beginning", [b"", b"GET /v1/status HTTP/1.1\r\nHost: 127"], ids=["idle", "half a request"])
@pytest.mark.usefixtures("room_for_sockets")
def test_a_thousand_connections_that_say_nothing(world, tmp_path, beginning):
    with world.copy(tmp_path) as site:
        site.start("node")
        site.start("gateway")
        listeners = ("mqtt", "http", "node")
        idle = []
        try:
            for number in range(IDLE):
                one = socket.create_connection(address(site, listeners[number % 3]), timeout=10)
                one.sendall(beginning)
                idle.append(one)
            journal = world.new_journal()
            world.publish(site, 5, first=200, journal=journal)
            assert not journal.refusals
            assert not journal.unanswered
            site.drain()
            assert httpx2.get(f"{site.api}/v1/status", timeout=10).status_code == 200
            started = time.monotonic()
            site.stop("gateway")
            site.stop("node")
            assert time.monotonic() - started < 30, "idle connections hold up the end"
        finally:
            for one in idle:
                one.close()
        audit(site.home, journal)


def test_a_client_that_does_not_read_its_answers(world, tmp_path):
    """The node's largest answers, asked for again and again on one connection, read by nobody."""
    with world.copy(tmp_path) as site:
        site.start("node")
        request = b"GET /v1/streams/sim-0/s0/readings?limit=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        slow = socket.create_connection(("127.0.0.1", site.ports.node))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(0.5)
        sent = 0
        try:
            while sent < 200:
                slow.sendall(request)
                sent += 1
        except (TimeoutError, ConnectionError):
            pass  # the node reads no further requests of a client that does not read
        for _ in range(3):
            assert httpx2.get(f"{site.api}/v1/status", timeout=10).status_code == 200
        slow.close()
        site.stop("node")
