"""Who takes part: accounts, keys in the state, devices and streams, written through the chain before the clock starts.

Keys are derived from numbers, so that client processes can make them again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from althing.client.client import AsyncClient, load_signer
from althing.client.keyfile import generate_key, load_key, save_key
from althing.client.sending import Signer
from althing.gateway.config import GatewayPaths
from althing.node.home import Home, create_home
from althing.protocol.address import address_of_key
from althing.protocol.catalog import MessageBody
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.identity import AccountKind, CreateAccount, Key, SetAttribute
from althing.protocol.messages.streams import DefineStream
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite
from bench.processes import write_config

__all__ = [
    "ACCOUNTS",
    "DEVICES",
    "KEYS_EACH",
    "account_signer",
    "device_key",
    "device_name",
    "make_accounts",
    "make_devices",
    "make_home",
]

ACCOUNTS = 1_000
KEYS_EACH = 100  # registers of each account: 10^5 keys in all
DEVICES = 1_000
SENML = StreamSchema((Quantity("t", "Cel"),), content_type="application/senml+json")
RAW = StreamSchema((), content_type="application/octet-stream")
_MESSAGES_A_TX = 100


def make_home(path: Path) -> Home:
    """A new chain of one organisation, with settings for a load test."""
    home = create_home(path, chain_id="bench", organisation="acme", time_s=int(time.time()) - 60)
    write_config(path)
    return home


def account_signer(number: int) -> Signer:
    key = PrivateKey(Suite.ED25519, sha256(b"bench account %d" % number).digest())
    return Signer(address_of_key(key.suite, key.public), (key,))


def device_key(number: int) -> PrivateKey:
    return PrivateKey(Suite.ED25519, sha256(b"bench device %d" % number).digest())


def device_name(number: int, *, signed: bool) -> str:
    return f"{'signer' if signed else 'plain'}-{number:04d}"


def make_accounts(home: Home, url: str, accounts: int = ACCOUNTS, keys_each: int = KEYS_EACH) -> None:
    """Accounts, each co-signed by its own key, and a value in each of their registers."""

    async def work() -> None:
        admin = load_signer(home.admin_key_file)
        async with await AsyncClient.connect(url, signer=admin) as chain:
            signers = [account_signer(number) for number in range(accounts)]
            created = []
            for number, signer in enumerate(signers):
                key = Key(signer.keys[0].suite, signer.keys[0].public)
                message = CreateAccount(admin.address, AccountKind.SERVICE, f"service-{number}", (), 1, (key,))
                created.append(chain.send_later(message, signers=(admin, signer)))
            await asyncio.gather(*created)
            futures = []
            for signer in signers:
                registers = [SetAttribute(signer.address, f"r{at}", "0" * 32) for at in range(keys_each)]
                futures.append(chain.send_later(*registers, signers=(signer,)))
            await asyncio.gather(*futures)

    asyncio.run(work())


def make_devices(home: Home, url: str, *, count: int = DEVICES, signed: bool, readings: bool = False) -> None:
    """The home's gateway and so many devices with a stream `data` each, raw or with a quantity `t`."""

    async def work() -> None:
        admin = load_signer(home.admin_key_file)
        paths = GatewayPaths(home.path)
        fresh = not paths.key.exists()
        if fresh:
            save_key(paths.key, generate_key())
        held = load_key(paths.key)
        gateway = address_of_key(held.suite, held.public)
        async with await AsyncClient.connect(url, signer=admin) as chain:
            if fresh:
                await chain.create_account(
                    "gateway-1",
                    AccountKind.GATEWAY,
                    [Key(held.suite, held.public)],
                    holder=Signer(gateway, (held,)),
                )
            schema = SENML if readings else RAW
            registered, defined = [], []
            for number in range(count):
                name = device_name(number, signed=signed)
                key = device_key(number) if signed else None
                public = None if key is None else Key(key.suite, key.public)
                registered.append(RegisterDevice(name, admin.address, public, gateway, ()))
                defined.append(DefineStream(name, "data", gateway, schema))
            await _send(chain, registered)
            await _send(chain, defined)

    asyncio.run(work())


async def _send(chain: AsyncClient, messages: Sequence[MessageBody]) -> None:
    await asyncio.gather(*(chain.send_later(*pack) for pack in _packs(messages)))


def _packs(messages: Sequence[MessageBody]) -> Iterable[Sequence[MessageBody]]:
    for at in range(0, len(messages), _MESSAGES_A_TX):
        yield messages[at : at + _MESSAGES_A_TX]
