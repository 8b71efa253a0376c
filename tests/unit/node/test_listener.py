"""What counts as loopback, and what others may reach only when it is safe."""

from __future__ import annotations

import socket

import pytest

from althing.service.listener import ListenerError, bind_first, is_loopback, require_safe


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_loopback_is_free(host: str) -> None:
    assert is_loopback(host)
    require_safe(host, tls=False, authenticated=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.168.1.1", "example.org", "127.evil.example", ""])
def test_anything_else_needs_tls_and_a_caller_that_is_known(host: str) -> None:
    assert not is_loopback(host)
    for tls, authenticated in ((False, False), (True, False), (False, True)):
        with pytest.raises(ListenerError) as raised:
            require_safe(host, tls=tls, authenticated=authenticated)
        assert raised.value.code == "listener.insecure_bind"
    require_safe(host, tls=True, authenticated=True)


def test_the_first_free_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with bind_first("127.0.0.1", [port, 0]) as bound:
            assert bound.getsockname()[1] not in (0, port)
        with pytest.raises(ListenerError) as raised:
            bind_first("127.0.0.1", [port])
        assert raised.value.code == "listener.bind_failed"
