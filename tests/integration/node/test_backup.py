"""A home backed up while its node works, restored after every part of it was verified, or refused naming what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lmdb
import pytest
from typer.testing import CliRunner

from althing.cli.demo.processes import Child
from althing.cli.main import app
from althing.client.client import load_signer
from althing.client.sync import Client
from althing.ledger.state.history import value_in
from althing.light.verifier import verify_proof
from althing.node.backup import BackupError, parts_of
from althing.node.home import Home, HomeError
from althing.node.offline import offline_proofs, replay_offline
from althing.node.restore import restore
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.trust import parse_trust

from .world import Running, key, new_home, running_world

PASSPHRASE = "a long enough one"


def invoke(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """A home with anchored batches, and its backup, made while the node was running in another process."""
    place = tmp_path_factory.mktemp("backup")
    home = new_home(place / "home")
    with running_world(home) as world:
        for value in range(3):
            world.anchor([(path, [20.5 + value]) for path in sorted(world.numbers)])
    (home.path / "config.toml").write_text("[node.api]\nport = 0\n")
    node = Child("node", home.path, place / "logs")
    try:
        node.ready()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ALTHING_PASSPHRASE", PASSPHRASE)
            words = ("node", "backup", "--home", str(home.path), "-o", str(place / "copy"))
            made = invoke(*words, "--with-keys")
            assert made["keys"]
            assert made["chain_id"] == "test-1"
            assert invoke(*words, code=1)["error"]["code"] == "backup.exists"
        assert node.alive
    finally:
        node.stop()
    return home, place / "copy"


def test_a_restored_home_is_the_chain(
    backed_up: tuple[Home, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, copy = backed_up
    held = [path.read_bytes() for path in copy.rglob("*") if path.is_file()]
    assert not [data for data in held if b'"secret"' in data or b"priv_key" in data]
    monkeypatch.setenv("ALTHING_PASSPHRASE", PASSPHRASE)
    again = Home(tmp_path / "again")
    words = ("node", "restore", str(copy), "--home", str(again.path), "--with-keys")
    done = invoke(*words, "--trust", str(home.trust_file))
    assert done["left_out"] == []
    assert again.admin_key_file.read_bytes() == home.admin_key_file.read_bytes()
    for path in (again.admin_key_file, again.node_key_file, again.validator_key_file):
        assert path.stat().st_mode & 0o777 == 0o600
    assert invoke(*words, code=1)["error"]["code"] == "home.exists"
    # Old readings are proved from it, its chain executes to the same, and it goes on.
    trust = parse_trust(home.trust_file.read_bytes())
    with offline_proofs(again) as builder:
        verify_proof(builder.proof("pump-1/temperature", 0), trust)
    assert replay_offline(again).height >= done["height"]
    with Running(again) as process, Client(process.url, signer=load_signer(again.admin_key_file)) as client:
        before = process.node.ledger.height
        own = key("later")
        assert client.create_account("later", AccountKind.PERSON, [Key(own.suite, own.public)]).height > before - 1


def test_without_keys_there_are_none(backed_up: tuple[Home, Path], tmp_path: Path) -> None:
    home, copy = backed_up
    again = Home(tmp_path / "again")
    invoke("node", "restore", str(copy), "--home", str(again.path))
    assert not again.admin_key_file.exists()
    assert not again.validator_key_file.exists()
    assert again.node_key_file.read_bytes() != home.node_key_file.read_bytes()


def test_the_wrong_passphrase_opens_nothing(backed_up: tuple[Home, Path], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="passphrase") as error:
        restore(backed_up[1], Home(tmp_path / "again"), passphrase="another")
    assert getattr(error.value, "code", "") == "key.passphrase"
    assert not (tmp_path / "again" / "genesis.cbor").exists()


@pytest.mark.parametrize("name", ["node/state/data.mdb", "node/blocks/blocks/data.mdb", "genesis.cbor", "trust.json"])
def test_a_doctored_part_is_named(backed_up: tuple[Home, Path], tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(backed_up[1], tmp_path / "copy")
    path = copy / "files" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BackupError, match=name) as error:
        restore(copy, Home(tmp_path / "again"))
    assert error.value.code == "backup.damaged"
    assert "part 1 of" in error.value.message
    assert not (tmp_path / "again" / "genesis.cbor").exists()
    # Repaired, the same command goes on with what is there.
    shutil.copyfile(backed_up[1] / "files" / name, path)
    assert restore(copy, Home(tmp_path / "again")).height > 0


def test_a_state_that_is_not_the_chain_s_is_found(backed_up: tuple[Home, Path], tmp_path: Path) -> None:
    """Whoever writes the manifest anew over a changed state cannot write the headers anew."""
    copy = shutil.copytree(backed_up[1], tmp_path / "copy")
    state = copy / "files" / "node" / "state"
    with lmdb.open(str(state), map_size=1 << 30, max_dbs=64) as env, env.begin(write=True) as txn:
        table = env.open_db(b"state.tree", txn)
        with txn.cursor(table) as cursor:
            for found, value in cursor:
                if found.endswith(b"\xff") and len(value) > 8 and b"temperature" in value_in(value):
                    head = value[: -len(value_in(value))]
                    txn.put(found, head + value_in(value).replace(b"temperature", b"temperaturE"), db=table)
                    break
            else:
                raise AssertionError("nothing was changed")
    (state / "lock.mdb").unlink(missing_ok=True)
    _sign_anew(copy)
    with pytest.raises(BackupError) as error:
        restore(copy, Home(tmp_path / "again"))
    assert error.value.code == "backup.state"


def _sign_anew(copy: Path) -> None:
    path = copy / "backup.json"
    document = json.loads(path.read_text())
    for name, entry in document["files"].items():
        file = copy / "files" / name
        entry |= {"bytes": file.stat().st_size, "parts": [part.hex() for part in parts_of(file)]}
    path.write_text(json.dumps(document))


def test_another_chain_s_trust_and_wrong_manifests(backed_up: tuple[Home, Path], tmp_path: Path) -> None:
    home, copy = backed_up
    trust = json.loads(home.trust_file.read_text())
    other = json.dumps({**trust, "header_hash": "00" * 32}).encode()
    with pytest.raises(BackupError) as error:
        restore(copy, Home(tmp_path / "a"), trust=other)
    assert error.value.code == "backup.trust"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BackupError) as error:
        restore(empty, Home(tmp_path / "b"))
    assert error.value.code == "backup.missing"
    for name in ("../outside", "/etc/outside", "a/../../outside"):
        forged = shutil.copytree(copy, tmp_path / "forged")
        document = json.loads((forged / "backup.json").read_text())
        document["files"][name] = {"bytes": 0, "parts": []}
        (forged / "backup.json").write_text(json.dumps(document))
        with pytest.raises(BackupError) as error:
            restore(forged, Home(tmp_path / "c"))
        assert error.value.code == "backup.form"
        shutil.rmtree(forged)


def test_nothing_to_back_up(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    assert invoke("node", "backup", "--home", str(home.path), "-o", str(tmp_path / "copy"), code=1)["error"][
        "code"
    ] == (HomeError("home.missing", "").code)
