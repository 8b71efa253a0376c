"""CometBFT's home as we write it: settings, genesis, keys that are made once; sockets nobody else reaches; headers kept."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from pathlib import Path

import pytest

from althing.consensus.abci import ValidatorUpdate
from althing.consensus.cometbft.address import SocketAddress
from althing.consensus.cometbft.headers import HeaderStore
from althing.consensus.cometbft.home import prepare_home
from althing.consensus.cometbft.nodekey import node_id
from althing.consensus.cometbft.paths import CometHome, lock_directory, unlock_directory
from althing.consensus.cometbft.settings import PROFILES, CometSettings
from althing.consensus.cometbft.sockets import SocketFolder
from althing.consensus.engine import EngineError, Genesis
from althing.protocol.block import ConsensusParams, Timestamp
from althing.protocol.errors import AlthingError

GENESIS = Genesis("home", Timestamp(1_700_000_000, 5), b'"00ff"', ConsensusParams(block_gas_max=7), initial_height=9)
ABCI, RPC = SocketAddress(path=Path("/run/a.sock")), SocketAddress(host="127.0.0.1", port=7)


def prepare(folder: Path, genesis: Genesis = GENESIS, **settings: object) -> CometHome:
    home = CometHome(folder)
    home.claim(genesis.fingerprint(), genesis.chain_id)
    prepare_home(home, genesis, CometSettings(folder, **settings), ABCI, RPC)  # type: ignore[arg-type]
    return home


@pytest.mark.parametrize("profile", PROFILES)
def test_settings(tmp_path: Path, profile: str) -> None:
    peers = ("aa@127.0.1.2:26656", "bb@host:1")
    home = prepare(tmp_path, profile=profile, persistent_peers=peers, moniker='a "name"\nwith\\traps', idle_block_s=7)
    text = (home.config_dir / "config.toml").read_text()
    config = tomllib.loads(text)
    pace = PROFILES[profile]
    assert (config["proxy_app"], config["rpc"]["laddr"]) == ("unix:///run/a.sock", "tcp://127.0.0.1:7")
    assert re.fullmatch(r'a "name"\nwith\\traps [0-9a-f]{40}', config["moniker"])
    assert config["instrumentation"]["prometheus_listen_addr"] == "127.0.0.1:0"
    assert config["p2p"]["persistent_peers"] == ",".join(peers)
    assert config["p2p"]["send_rate"] == pace.rate_bytes_s
    assert config["consensus"]["timeout_propose"] == f"{pace.propose_ms}ms"
    assert config["consensus"]["create_empty_blocks_interval"] == "7s"
    # What must never be otherwise.
    assert not config["rpc"]["unsafe"]
    assert config["mempool"]["type"] == "flood"
    assert config["mempool"]["recheck"]
    assert config["tx_index"]["indexer"] == "null"
    assert not config["p2p"]["libp2p"]["enabled"]
    assert not config["blocksync"]["adaptive_sync"]
    assert not config["storage"]["discard_abci_responses"]


def test_genesis_is_the_same_for_every_node(tmp_path: Path) -> None:
    members = (ValidatorUpdate(b"\x01" * 32, 10), ValidatorUpdate(b"\x02" * 32, 5))
    genesis = Genesis("home", Timestamp(1_700_000_000, 5), b'"00ff"', initial_height=9, validators=members)
    texts = {
        (prepare(tmp_path / name, genesis).config_dir / "genesis.json").read_bytes() for name in ("one", "another")
    }
    assert len(texts) == 1
    document = json.loads(texts.pop())
    assert document["genesis_time"] == "2023-11-14T22:13:20.000000005Z"
    assert document["initial_height"] == "9"
    assert document["app_state"] == "00ff"
    assert [(v["pub_key"]["value"], v["power"]) for v in document["validators"]] == [
        (base64.b64encode(b"\x01" * 32).decode(), "10"),
        (base64.b64encode(b"\x02" * 32).decode(), "5"),
    ]


def test_without_validators_the_own_key_is_the_only_one(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    (own,) = json.loads((home.config_dir / "genesis.json").read_text())["validators"]
    key = json.loads((tmp_path / "priv_validator_key.json").read_text())
    assert own["pub_key"] == key["pub_key"]


def test_an_app_state_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as error:
        prepare(tmp_path, Genesis("home", Timestamp(0, 0), b"\xff"))
    assert error.value.code == "engine.settings"


def test_keys_are_made_once(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    files = [home.node_key_file, tmp_path / "priv_validator_key.json", home.sign_state_file]
    before = [path.read_bytes() for path in files]
    assert [path.stat().st_mode & 0o077 for path in files[:2]] == [0, 0]
    identity = node_id(home.node_key_file)
    prepare(tmp_path)
    assert [path.read_bytes() for path in files] == before
    assert node_id(home.node_key_file) == identity
    assert len(identity) == 40
    home.node_key_file.write_text("{}")
    with pytest.raises(EngineError) as error:
        node_id(home.node_key_file)
    assert error.value.code == "engine.key"


def test_another_chain_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path)
    with pytest.raises(EngineError) as error:
        prepare(tmp_path, Genesis("other", Timestamp(0, 0), b"{}"))
    assert error.value.code == "engine.foreign_chain"


def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    held = lock_directory(tmp_path)
    with pytest.raises(EngineError) as error:
        lock_directory(tmp_path)
    assert error.value.code == "engine.locked"
    unlock_directory(held)
    unlock_directory(lock_directory(tmp_path))


@pytest.mark.parametrize("depth", [0, 12])
def test_sockets_are_private_and_short_enough_however_deep_the_home(tmp_path: Path, depth: int) -> None:
    directory = tmp_path.joinpath(*["a-long-name"] * depth)
    directory.mkdir(parents=True, exist_ok=True)
    folder = SocketFolder(directory)
    address = folder.address("abci")
    assert address.path is not None
    listener, _ = address.listen()
    try:
        assert address.path.parent.stat().st_mode & 0o077 == 0
        assert address.path.stat().st_mode & 0o077 == 0
    finally:
        listener.close()
        folder.remove()
    assert not address.path.exists()
    assert address.path.parent.exists() == (depth == 0)


def test_a_header_store_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    store = HeaderStore(tmp_path / "headers")
    assert (store.latest_height, store.signed_header(1), store.validators(1)) == (0, None, None)
    store.close()
    (tmp_path / "headers" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(EngineError) as error:
        HeaderStore(tmp_path / "headers")
    assert error.value.code == "engine.store"
    with pytest.raises(EngineError):
        HeaderStore(tmp_path / "absent", readonly=True)


def test_with_a_remote_signer_no_key_is_here(tmp_path: Path) -> None:
    home = prepare(tmp_path, signer_listen="tcp://127.0.0.1:26659", key_file=tmp_path / "key.json")
    config = tomllib.loads((home.config_dir / "config.toml").read_text())
    assert config["priv_validator_laddr"] == "tcp://127.0.0.1:26659"
    assert not (tmp_path / "key.json").exists()
    assert not home.sign_state_file.exists()
    # Without the setting again the node may have signed, elsewhere, and does not know what.
    (home.data_dir / "blockstore.db").mkdir()
    with pytest.raises(EngineError) as error:
        prepare(tmp_path)
    assert error.value.code == "engine.key"
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(EngineError) as error:
        prepare(tmp_path, signer_listen="tcp://127.0.0.1:26659", key_file=tmp_path / "key.json")
    assert error.value.code == "engine.key"
    assert "signer" in error.value.hint


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("tcp://0.0.0.0:26659", "listener.insecure_bind"),
        ("tcp://127.0.0.1:0", "engine.settings"),
        ("unix://signer.sock", "engine.settings"),
        ("26659", "engine.settings"),
    ],
)
def test_a_signer_connects_from_this_machine_only(tmp_path: Path, address: str, code: str) -> None:
    with pytest.raises(AlthingError) as error:
        prepare(tmp_path, signer_listen=address)
    assert error.value.code == code
