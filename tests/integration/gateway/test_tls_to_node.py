"""A node behind TLS and a token: its gateway and the commands reach it with settings of their own, and with no less."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client.client import AsyncClient, load_signer
from althing.client.errors import NodeError
from althing.client.keyfile import generate_key, save_key
from althing.client.sending import Signer
from althing.gateway.config import GatewayConfig, GatewayPaths, ListenerConfig, read_config
from althing.gateway.daemon import Gateway
from althing.gateway.errors import LedgerError
from althing.light.verifier import verify_proof
from althing.node.config import ApiConfig, NodeConfig
from althing.node.daemon import NodeProcess
from althing.node.home import Home, create_home
from althing.protocol.errors import AlthingError, UnavailableError
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.trust import parse_trust
from althing.service.outgoing import client_tls
from althing.testing.gateway_rig import FAST

from .place import SENML, run
from .test_tls import issue

TOKEN = "0123456789abcdef" * 4
BODY = b'[{"n":"t","v":21.5}]'


@dataclass
class Guarded:
    """A home whose node wants TLS and a token, with a gateway's account, a device and a stream."""

    home: Home
    url: str
    ca: Path
    token: Path

    def config(self, **settings: object) -> GatewayConfig:
        config = GatewayConfig(
            nodes=(self.url,),
            nodes_token_file=self.token,
            nodes_ca=self.ca,
            verify_processes=0,
            mqtt=ListenerConfig(enabled=False),
            http=ListenerConfig(port=0, certificate=self.ca, key=self.ca.with_suffix(".key")),
            batch=replace(FAST, age_s=0.1, patience_s=5.0),
        )
        return replace(config, **settings)  # type: ignore[arg-type]  # names of its fields


@asynccontextmanager
async def guarded_node(tmp_path: Path) -> AsyncIterator[Guarded]:
    certificate, key = issue("node").save(tmp_path, "node")
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN + "\n")
    home = create_home(tmp_path / "home", chain_id="test", organisation="acme", time_s=int(time.time()) - 60)
    gateway_key = generate_key()
    save_key(home.gateway_dir / "gateway_key.json", gateway_key)
    api = ApiConfig(port=0, certificate=Path(certificate), key=Path(key), token_file=token)
    node = NodeProcess(home, NodeConfig(api=api))
    url = await node.start()
    assert url.startswith("https://")
    try:
        tls = client_tls(Path(certificate))
        signer = load_signer(home.admin_key_file)
        async with await AsyncClient.connect(
            url, trust=home.trust_file, signer=signer, token=TOKEN, verify=tls
        ) as chain:
            own = Key(gateway_key.suite, gateway_key.public)
            holder = Signer(own.address, (gateway_key,))
            await chain.create_account("gateway-1", AccountKind.GATEWAY, [own], holder=holder)
            await chain.register_device("legacy", key=None, gateway=own.address)
            await chain.define_stream("legacy/senml", own.address, SENML)
        yield Guarded(home, url, Path(certificate), token)
    finally:
        await node.stop()


async def command(*words: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(CliRunner().invoke, app, list(words))
    return done.exit_code, done.stdout, done.stderr


def test_from_a_message_to_its_proof(tmp_path: Path) -> None:
    async def test() -> None:
        async with guarded_node(tmp_path) as here:
            gateway = Gateway(here.home.path, here.config())
            addresses = await gateway.start()
            assert addresses.http is not None
            try:
                base = f"https://127.0.0.1:{addresses.http[1]}"
                async with httpx2.AsyncClient(verify=client_tls(here.ca), base_url=base) as http:
                    shown = {"authorization": f"Bearer {gateway.tokens.add('legacy')}"}
                    answer = await http.post("/v1/messages/legacy/senml", content=BODY, headers=shown)
                assert answer.status_code == 200
                assert await gateway.drain(20)

                # The commands, with the options, and with the environment's names for them.
                (here.home.path / "ports.json").write_text(json.dumps({"api": here.url, "http": base}))
                home = ("--home", str(here.home.path))
                reached = ("--ca", str(here.ca), "--token-file", str(here.token))
                code, out, err = await command(*reached, "gateway", "status", *home, "--json")
                assert (code, err) == (0, "")
                assert json.loads(out)["anchored"] == 1
                file = tmp_path / "p.cbor"
                wanted = ("proof", "get", "--stream", "legacy/senml", "--seq", "0", "-o", str(file), *home)
                assert (await command(*reached, *wanted))[0] == 0
                trust = parse_trust(here.home.trust_file.read_bytes())
                assert verify_proof(file.read_bytes(), trust).leaf.body == BODY
                words = ("light", "verify", "--node", here.url, "--trust", str(here.home.trust_file), "--alone")
                code, out, err = await command(*reached, *words, "--store", str(tmp_path / "light"), "--json")
                assert code == 0, err
                assert json.loads(out)["chain_id"] == "test"

                # The home's own node wants the token that the home's settings name.
                settings = f'[node.api]\ntoken_file = "{here.token}"\n'
                (here.home.path / "config.toml").write_text(settings)
                code, _, err = await command("--ca", str(here.ca), "node", "status", *home)
                assert code == 0, err
                # That token is for that node alone.
                elsewhere = ("node", "status", *home, "--node", here.url)
                code, _, err = await command("--ca", str(here.ca), *elsewhere)
                assert (code, "api.token" in err) == (1, True)
                # Whoever vouches for the server is named, or nothing is said to it.
                for words in (("node", "status"), ("gateway", "status")):
                    code, _, err = await command(*words, *home)
                    assert (code, "node.certificate" in err, "--ca" in err) == (3, True, True)
            finally:
                await gateway.stop()

    run(test())


def test_less_does_not_reach_the_node(tmp_path: Path) -> None:
    async def test() -> None:
        async with guarded_node(tmp_path) as here:
            other, _ = issue("other").save(tmp_path, "other")
            for settings, says in (
                ({"nodes_token_file": None}, "api.token"),
                ({"nodes_ca": None}, "node.certificate"),
                ({"nodes_ca": Path(other)}, "node.certificate"),
            ):
                gateway = Gateway(here.home.path, here.config(**settings))
                ledger = gateway._nodes(parse_trust(here.home.trust_file.read_bytes()))
                with pytest.raises(LedgerError) as raised:
                    await ledger.status()
                assert says in raised.value.message
                await ledger.close()

    run(test())


def test_files_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    async def test() -> None:
        async with guarded_node(tmp_path) as here:

            async def code_of(**settings: object) -> str:
                with pytest.raises(AlthingError) as raised:
                    await Gateway(here.home.path, here.config(**settings)).start()
                return raised.value.code

            nowhere = tmp_path / "none"
            assert await code_of(nodes_token_file=nowhere) == "listener.token"
            assert await code_of(nodes_ca=nowhere) == "tls.ca"
            assert await code_of(nodes_ca=here.token) == "tls.ca"
            here.token.chmod(0o640)
            assert await code_of() == "listener.token"

    run(test())


def test_files_are_named_from_the_home(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[gateway]\nnodes_token_file = "node.token"\nnodes_ca = "/etc/ca.pem"\n'
        '[gateway.http]\ncertificate = "tls.pem"\nkey = "tls.key"\n'
    )
    found = read_config(GatewayPaths(tmp_path))
    assert (found.nodes_token_file, found.nodes_ca) == (tmp_path / "node.token", Path("/etc/ca.pem"))
    assert (found.http.certificate, found.http.key) == (tmp_path / "tls.pem", tmp_path / "tls.key")
    assert found.mqtt.certificate is None


def test_the_sdk_says_what_is_missing(tmp_path: Path) -> None:
    async def test() -> None:
        async with guarded_node(tmp_path) as here:
            with pytest.raises(UnavailableError) as untrusted:
                await AsyncClient.connect(here.url, token=TOKEN)
            assert untrusted.value.code == "node.certificate"
            with pytest.raises(NodeError) as unknown:
                await AsyncClient.connect(here.url, verify=client_tls(here.ca))
            assert (unknown.value.code, unknown.value.status) == ("api.token", 401)

    run(test())
