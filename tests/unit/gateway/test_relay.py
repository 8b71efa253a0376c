"""A nameless client of an open listener relays for all devices; nobody else speaks for another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from althing.gateway.access import Access, MqttAuthenticator
from althing.gateway.ingest.mqtt.ports import Credentials, Denied
from althing.gateway.ingest.port import Accepted, Inbound, Outcome, Principal, Refused
from althing.gateway.tokens import TokenStore
from althing.testing.gateway_rig import new_ledger, running


@pytest.mark.parametrize(
    ("principal", "device", "may"),
    [
        (Principal("pump", "acme", "token"), "pump", True),
        (Principal("pump", "acme", "token"), "valve", False),
        (Principal("pump", "acme", "open"), "valve", False),
        (Principal("", "acme", "token"), "valve", False),
        (Principal("", "", "open"), "valve", True),
    ],
)
def test_who_speaks_for_whom(principal: Principal, device: str, may: bool) -> None:
    assert principal.speaks_for(device) is may


def test_only_an_open_listener_knows_relays_and_the_guard_takes_their_messages(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = new_ledger()
        ledger.add_device("valve")
        ledger.add_stream("valve/data")
        async with running(tmp_path, ledger) as rig:
            nameless = Credentials("bridge", None, None, None, "127.0.0.1", False)
            answers: dict[bool, Principal | Denied] = {}
            for open_ in (True, False):
                access = Access(rig.registry, TokenStore(tmp_path / "tokens.json"), None, open_=open_)
                MqttAuthenticator(access).authenticate(
                    nameless, lambda found, open_=open_: answers.update({open_: found})
                )
            assert isinstance(answers[False], Denied)
            relay = answers[True]
            assert relay == Principal("", "", "open")
            for principal, kind in ((relay, Accepted), (Principal("pump", "acme", "token"), Refused)):
                done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
                rig.pipeline.submit(Inbound(principal, "valve", "data", b"x", "text/plain"), done.set_result)
                assert isinstance(await done, kind)

    asyncio.run(test())
