"""The process around the node: addresses kept, one process per home, signals, restarts, a halted engine."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from althing.client.client import load_signer
from althing.client.sending import Committed
from althing.client.sync import Client
from althing.node.config import ApiConfig, NodeConfig
from althing.node.daemon import run_node
from althing.protocol.errors import AlthingError, StateError
from althing.protocol.trust import parse_trust

from .world import Running, World, new_home, running_world

PROGRAM = """
import sys
from pathlib import Path
from althing.node.config import ApiConfig, NodeConfig
from althing.cli.running import run_daemon
from althing.node.daemon import run_node
from althing.service.telemetry import configure_logs
configure_logs()
config = NodeConfig(api=ApiConfig(port=0))


async def main(stop):
    await run_node(Path(sys.argv[1]), config, ready=lambda process: print(process.url, flush=True), stop=stop)


run_daemon(main, with_parent=False)
"""


def test_the_address_is_kept_and_used_again(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with Running(home) as process:
        first = process.url
        assert json.loads(home.ports_file.read_bytes()) == {"api": first}
    with Running(home) as process:
        assert process.url == first


def test_a_busy_port_is_replaced(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.ports_file.write_text(json.dumps({"api": f"http://127.0.0.1:{port}", "mqtt": 1883}))
        with Running(home, NodeConfig(api=ApiConfig(port=port))) as process:
            assert httpx2.URL(process.url).port != port
            assert httpx2.get(f"{process.url}/readyz").json()["ready"]
            assert json.loads(home.ports_file.read_bytes()) == {"api": process.url, "mqtt": 1883}


def test_a_second_process_on_the_same_home_is_refused(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with Running(home) as first:
        with pytest.raises(StateError) as raised, Running(home):
            pass
        assert raised.value.code == "state.locked"
        assert raised.value.hint
        assert httpx2.get(f"{first.url}/v1/status").status_code == 200


def test_a_folder_that_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(AlthingError) as raised:
        asyncio.run(run_node(tmp_path))
    assert raised.value.code == "home.missing"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_the_chain_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    home = new_home(tmp_path / "home")
    heights = []
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with Client(url, signer=load_signer(home.admin_key_file)) as chain:
                assert chain.set_attribute("note", f"run {len(heights)}").receipt.ok
            heights.append(httpx2.get(f"{url}/v1/status").json()["height"])
            process.send_signal(number)
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        logs = [json.loads(line) for line in errors.splitlines()]
        assert [line["event"] for line in logs] == ["node ready", "stopping"]
    assert heights[1] > heights[0]


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with running_world(home) as world:
        for _ in range(3):
            world.anchor([("pump-1/temperature", [1.0, 2.0])])
        before = _lists(world.http)
        trust = parse_trust(home.trust_file.read_bytes())
    with Running(home) as process, httpx2.Client(base_url=process.url) as http:
        after = _lists(http)
        assert after == before
        assert parse_trust(home.trust_file.read_bytes()) == trust


def test_a_lost_index_is_built_anew(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with running_world(home) as world:
        for _ in range(3):
            world.anchor([("pump-1/temperature", [1.0])])
        before = _lists(world.http)
    for file in (home.path / "node" / "index").iterdir():
        if file.name == "data.mdb":
            file.write_bytes(b"not a database")
    with Running(home) as process, httpx2.Client(base_url=process.url) as http:
        assert _lists(http) == before


def _lists(http: httpx2.Client) -> list[object]:
    names = ("batches", "transactions", "streams", "devices")
    return [http.get(f"/v1/{name}").json()[name] for name in names]


def test_missing_segments_are_told_never_left_out(tmp_path: Path) -> None:
    with running_world(new_home(tmp_path / "home")) as world:
        world.anchor([("pump-1/temperature", [1.0])])
        world.anchor([("pump-1/temperature", [2.0])], archive=False)
        for path in ("streams/pump-1/temperature/readings", "streams/pump-1/temperature/messages/1"):
            answer = world.http.get(f"/v1/{path}")
            assert (answer.status_code, answer.json()["code"]) == (503, "archive.segment_unavailable")
            assert answer.headers["retry-after"]
        assert world.http.get("/v1/streams/pump-1/temperature/messages/0").status_code == 200
        assert world.http.get("/v1/proofs/pump-1/temperature/1").status_code == 503


def test_pages_stay_stable_while_data_arrives(tmp_path: Path) -> None:
    with running_world(new_home(tmp_path / "home")) as world:
        _fill(world, 3)
        path = "/v1/streams/pump-1/temperature/readings"
        first = world.http.get(path, params={"limit": 4}).json()
        _fill(world, 2)
        rest = world.http.get(path, params={"limit": 100, "cursor": first["next"]}).json()
        assert rest["as_of"] == first["as_of"]
        assert len(first["readings"]) + len(rest["readings"]) == 9
        assert len(world.http.get(path, params={"limit": 100}).json()["readings"]) == 15


def _fill(world: World, batches: int) -> None:
    for _ in range(batches):
        world.anchor([("pump-1/temperature", [1.0, 2.0, 3.0])])


def test_a_full_disk_is_told_and_outlived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = new_home(tmp_path / "home")
    with Running(home) as process, Client(process.url, signer=load_signer(home.admin_key_file)) as chain:
        full = threading.Event()
        full.set()
        commit = process.node.ledger.commit

        def failing() -> None:
            if full.is_set():
                raise StateError("state.disk_full", "no space left on the device")
            commit()

        monkeypatch.setattr(process.node.ledger, "commit", failing)
        waiting = threading.Thread(target=lambda: done.append(chain.set_attribute("note", "x")))
        done: list[Committed] = []
        waiting.start()
        answer = _until(lambda: httpx2.get(f"{process.url}/readyz"), lambda answer: answer.status_code == 503)
        assert "no space left" in answer.json()["reasons"][0]
        assert httpx2.get(f"{process.url}/healthz").status_code == 200
        assert httpx2.get(f"{process.url}/v1/status").json()["phase"] == "stalled"
        full.clear()
        waiting.join(20)
        assert done[0].receipt.ok
        _until(lambda: httpx2.get(f"{process.url}/readyz"), lambda answer: answer.status_code == 200)


def _until(ask: Callable[[], httpx2.Response], right: Callable[[httpx2.Response], bool]) -> httpx2.Response:
    deadline = time.monotonic() + 20
    while not right(answer := ask()):
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.02)
    return answer


def test_a_halted_engine_ends_the_process_with_its_reason(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")

    async def run() -> None:
        def ready(process: object) -> None:
            # What a bug in the ledger would do.
            process.node.ledger.finalize = lambda *_: 1 / 0  # type: ignore[attr-defined]

        config = NodeConfig(api=ApiConfig(port=0))
        config = NodeConfig(api=config.api, solo=type(config.solo)(idle_block_s=1))
        await run_node(home, config, ready=ready, stop=asyncio.Event())

    with pytest.raises(AlthingError) as raised:
        asyncio.run(asyncio.wait_for(run(), 20))
    assert raised.value.code == "engine.halted"
    assert "ZeroDivisionError" in raised.value.message
