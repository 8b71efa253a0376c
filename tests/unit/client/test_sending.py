"""Whoever sends a transaction hears what became of the request that carried it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from althing.client.sending import Sender
from althing.client.transport import Transport


class Faulty(Transport):
    async def post_cbor(self, path: str, body: bytes, params: Any, *, timeout_s: float) -> Any:
        raise ZeroDivisionError("a fault of a library")


def test_an_unexpected_fault_reaches_everyone_who_waits() -> None:
    async def story() -> None:
        transport = Faulty(["http://127.0.0.1:1"])
        sender = Sender(transport, bytes(32))
        try:
            waiting = [sender.send(b"transaction %d" % number) for number in range(3)]
            for future in waiting:
                with pytest.raises(ZeroDivisionError):
                    await future
        finally:
            await sender.aclose()
            await transport.aclose()

    asyncio.run(story())
