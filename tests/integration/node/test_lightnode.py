"""`althing light` as its users run it: a process of its own over a real node, asked over loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from althing.protocol.block.jsonform import signed_header_of_json
from althing.protocol.messages.devices import Device
from althing.protocol.trust import format_trust

from .world import World

# What a small device must not carry in memory. (Pydantic comes with Typer.)
HEAVY = (
    "althing.ledger",
    "althing.node",
    "althing.storage",
    "duckdb",
    "pyarrow",
    "lmdb",
    "fastapi",
    "pandas",
)

IN_PROCESS = """
import json, sys
sys.argv = ["althing", "light", *sys.argv[1:]]
from althing.cli.entry import main
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def trust_file(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trust") / "trust.json"
    path.write_text(format_trust(world.chain.trust))
    return path


def sources(world: World, trust_file: Path, store: Path) -> list[str]:
    url = world.process.url
    return ["--node", url, "--witness", url, "--trust", str(trust_file), "--store", str(store)]


@pytest.fixture(scope="module")
def light(world: World, trust_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    arguments = sources(world, trust_file, tmp_path_factory.mktemp("light") / "store")
    process = subprocess.Popen(
        [sys.executable, "-m", "althing", "light", "start", *arguments, "--listen", "127.0.0.1:0", "--with-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        with httpx2.Client(base_url=ready["api"], timeout=60) as client:
            yield client
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_it_answers_what_it_verified(world: World, light: httpx2.Client) -> None:
    status = light.get("/status").json()
    assert status["chain_id"] == "test-1"
    assert status["witnesses"] == [world.process.url]
    latest = light.get("/header/latest").json()
    signed = signed_header_of_json(latest["signed_header"])
    assert signed == world.process.node.engine.signed_header(latest["height"])
    assert latest["hash"] == signed.header.hash().hex()
    early = light.get("/header/2").json()
    assert signed_header_of_json(early["signed_header"]) == world.process.node.engine.signed_header(2)


def test_state_present_and_absent(world: World, light: httpx2.Client) -> None:
    found = light.get("/state/" + b"devices/device/pump-1".hex()).json()
    assert Device.from_bytes(bytes.fromhex(found["value"])) == world.chain.device("pump-1")
    assert light.get("/state/" + b"devices/device/no-such".hex()).json()["value"] is None


def test_readings_are_proved(world: World, light: httpx2.Client) -> None:
    answer = light.get("/readings/pump-1/temperature", params={"limit": "5"}).json()
    rows = list(world.chain.readings("pump-1/temperature", limit=5))
    assert [(r["sequence"], r["index"], r["value"]) for r in answer["readings"]] == [
        (r.sequence, r.index, r.value) for r in rows
    ]
    assert answer["verified"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/header/0", 400, "api.parameter"),
        ("/header/-1", 400, "api.parameter"),
        ("/header/99999999", 404, "light.no_block"),
        ("/state/xyz", 400, "api.parameter"),
        ("/readings/pump-1/temperature?limit=0", 400, "api.parameter"),
        ("/readings/pump-9/temperature", 404, "query.stream"),
        ("/nothing", 404, "api.not_found"),
    ],
)
def test_refusals_are_problems(light: httpx2.Client, path: str, status: int, code: str) -> None:
    answer = light.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_another_name_for_loopback_is_not_served(light: httpx2.Client) -> None:
    assert light.get("/status", headers={"Host": "evil.example"}).status_code == 400


def test_it_listens_on_loopback_alone(world: World, trust_file: Path, tmp_path: Path) -> None:
    done = run_light("start", *sources(world, trust_file, tmp_path), "--listen", "0.0.0.0:0")
    assert done["code"] == 1
    assert "listener.insecure_bind" in done["stderr"]


def test_one_check_and_nothing_heavy_loaded(world: World, trust_file: Path, tmp_path: Path) -> None:
    done = run_light("verify", *sources(world, trust_file, tmp_path), "--height", "3", "--json")
    assert done["code"] == 0
    assert done["document"]["hash"] == world.process.node.engine.signed_header(3).header.hash().hex()
    loaded = [name for name in done["modules"] if name.startswith(HEAVY)]
    assert loaded == []


def test_a_forged_trust_file_is_noticed(world: World, trust_file: Path, tmp_path: Path) -> None:
    document = json.loads(trust_file.read_text())
    document["header_hash"] = "11" * 32
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    done = run_light("verify", *sources(world, forged, tmp_path / "store"))
    assert done["code"] == 1
    assert "light.anchor" in done["stderr"]


def run_light(*arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IN_PROCESS, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    found: dict[str, Any] = json.loads(lines[-1])
    document = json.loads(lines[0]) if len(lines) > 1 and lines[0].startswith("{") else None
    return {**found, "stderr": done.stderr, "document": document}
