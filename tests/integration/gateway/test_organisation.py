"""An organisation that is suspended: its devices' sessions end, and their messages are refused, until it is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from althing.client.sending import Signer
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.governance import AdmitOrganisation, GenesisOrganisation, Quota, SetOrganisation
from althing.protocol.messages.identity import Key
from althing.protocol.messages.streams import DefineStream
from althing.protocol.signatures import PrivateKey, Suite

from .place import SENML, Site, run, site

OWNER = PrivateKey(Suite.ED25519, b"o" * 32)
BODY = b'[{"n":"t","v":1}]'


async def session(here: Site, device: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An open MQTT 3.1.1 connection."""
    assert here.addresses.mqtt is not None
    reader, writer = await asyncio.open_connection(*here.addresses.mqtt)
    fields = [device, device, here.gateway.tokens.add(device)]
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c"
    body += b"".join(len(text).to_bytes(2, "big") + text.encode() for text in fields)
    assert len(body) < 128
    writer.write(b"\x10" + bytes([len(body)]) + body)
    assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
    return reader, writer  # a writer that nobody holds closes the connection


def test_a_suspended_organisations_devices_are_stopped(tmp_path: Path) -> None:
    async def test() -> None:
        async with site(tmp_path, mqtt=True) as here:
            key = Key(OWNER.suite, OWNER.public)
            owner = Signer(key.address, (OWNER,))
            admin = here.chain._signer
            assert admin is not None
            beta = GenesisOrganisation("beta", False, 1, (key,), Quota(10**9, 10**12))
            await here.chain.send(AdmitOrganisation(beta), signers=(admin, owner))
            await here.chain.send(RegisterDevice("dev", key.address, None, None, ()), signers=(owner,))
            await here.chain.send(DefineStream("dev", "senml", here.gateway.registry.gateway, SENML), signers=(owner,))
            assert (await here.post("dev/senml", BODY)).status_code == 200
            (theirs, held), (ours, kept) = await session(here, "dev"), await session(here, "legacy")
            await here.chain.send(SetOrganisation(key.address, None, True, None))
            async with asyncio.timeout(10):
                assert await theirs.read() == b""
            refused = await here.post("dev/senml", BODY)
            assert refused.status_code == 403
            assert not ours.at_eof()
            assert not kept.is_closing()
            held.close()
            assert (await here.post("legacy/senml", BODY)).status_code == 200
            await here.chain.send(SetOrganisation(key.address, None, False, None))
            async with asyncio.timeout(10):
                while not here.gateway.registry.devices["dev"].active:
                    await asyncio.sleep(0.01)
            assert (await here.post("dev/senml", BODY)).status_code == 200

    run(test())
