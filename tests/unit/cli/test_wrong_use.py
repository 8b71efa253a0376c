"""What somebody sees who names a home, a device or a file that is not there: which one, its code, and what to do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client import generate_key, save_key
from althing.client.errors import RefusedTransactionError
from althing.client.sending import Sender
from althing.client.transport import Transport
from althing.gateway.config import GatewayPaths
from althing.gateway.held import HeldMessages, HeldStream
from althing.gateway.spool.lock import SpoolLock
from althing.node.home import create_home
from althing.protocol.receipt import Receipt

RUN = CliRunner()

NEED_A_HOME = [
    "account create a --public-of {key}",
    "chain status",
    "device add d --stream a",
    "device sign d --stream a --text x",
    "device list",
    "gateway init",
    "gateway status",
    "gateway token d",
    "gateway repair",
    "gateway release a/b",
    "node start",
    "proof get --stream a/b --seq 0",
    "segment list",
    "segment verify",
    "stream define d a",
    "stream readings a/b",
    "stream export a/b -o x",
    "trust show",
    "tx list",
]


@pytest.mark.parametrize("line", NEED_A_HOME)
def test_a_missing_home_is_what_is_missed_first(line: str, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    save_key(key, generate_key())
    home = tmp_path / "none"
    done = RUN.invoke(app, [*line.format(key=key).split(), "--home", str(home)])
    assert done.exit_code == 1
    assert "[home.missing]" in done.stderr
    assert str(home) in done.stderr
    assert "althing demo" in done.stderr
    assert not home.exists(), "nothing is made in a folder that is no home"


def test_a_held_stream_is_released_only_while_the_gateway_is_stopped(home: Path) -> None:
    spool = GatewayPaths(home).spool
    lock = SpoolLock(spool)
    held = HeldMessages(spool)
    held.hold([HeldStream("a/b", 0, "streams.sequence", True)])
    line = ["gateway", "release", "a/b", "--home", str(home)]
    done = RUN.invoke(app, line)
    assert done.exit_code == 1
    assert "[spool.locked]" in done.stderr
    assert "stop process" in done.stderr
    assert HeldMessages(spool).streams[0].operator
    lock.release()
    assert RUN.invoke(app, line).stdout.strip() == "released"
    assert not HeldMessages(spool).streams[0].operator
    assert RUN.invoke(app, [*line[:2], "a/c", *line[3:]]).stdout.strip() == "no such stream is held"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_home(tmp_path / "home", chain_id="c", organisation="acme", time_s=1_800_000_000)
    return tmp_path / "home"


def test_a_home_without_a_gateway_says_how_to_make_one(home: Path) -> None:
    done = RUN.invoke(app, ["device", "add", "d", "--stream", "a", "--home", str(home)])
    assert done.exit_code == 1
    assert "has no gateway yet" in done.stderr
    assert "althing gateway init" in done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("device sign nobody --stream a --text x", "key.missing"),
        ("device sign d --stream d/a --text x", "cli.stream"),
        ("tx show 12", "api.parameter"),
        ("stream show nonsense", "stream.path"),
        ("stream readings nonsense", "stream.path"),
        ("chain status", "node.unavailable"),
    ],
)
def test_wrong_names_are_told_with_a_hint(line: str, code: str, home: Path) -> None:
    done = RUN.invoke(app, [*line.split(), "--home", str(home)])
    assert done.exit_code == (3 if code == "node.unavailable" else 1)
    assert f"[{code}]" in done.stderr


def test_a_folder_that_is_no_export_is_not_called_a_false_one(tmp_path: Path) -> None:
    done = RUN.invoke(app, ["stream", "verify-export", str(tmp_path / "no"), "--trust", "trust.json", "--json"])
    assert done.exit_code == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "cli.file"
    assert "manifest.json" in error["message"]
    assert error["hint"]


def test_a_refusal_of_the_ledger_has_its_sentence_and_its_hint() -> None:
    receipt = Receipt(1, bytes(32), "devices.name_taken", 100, ())

    class Answering(Transport):
        async def post_cbor(self, *_arguments: Any, **_options: Any) -> Any:
            return [[bytes(32), "", "", 7, receipt.to_bytes()]]

    async def settle() -> BaseException:
        sender = Sender(Answering(["http://127.0.0.1:1"]), bytes(32))
        with pytest.raises(RefusedTransactionError) as refused:
            await sender.send(b"signed")
        return refused.value

    error = asyncio.run(settle())
    assert getattr(error, "code", "") == "devices.name_taken"
    assert getattr(error, "message", "") == "a device has this name (refused in block 7)"
    assert "althing device list" in getattr(error, "hint", "")
