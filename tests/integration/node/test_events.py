"""The event stream: resumed at any cursor without loss or repetition, filtered, kept alive, ended with the node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from althing.node.api import sse

from .world import Running, World, new_home, running_world


def follow(http: httpx2.Client, cursor: str | None = None, **params: str) -> Iterator[tuple[str, str, dict]]:
    headers = {} if cursor is None else {"Last-Event-ID": cursor}
    with http.stream("GET", "/v1/events", params=params, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield fields["id"], fields["event"], json.loads(fields["data"])
                fields = {}


def until(events: Iterator[tuple[str, str, dict]], cursor: str) -> list[tuple[str, str, dict]]:
    found = []
    for event in events:
        found.append(event)
        if event[0] == cursor:
            return found
    raise AssertionError(f"the stream ended before {cursor}")


def last_cursor(world: World) -> str:
    done, _ = world.anchors[-1]
    return f"{done.height}:1"


def test_from_the_beginning_every_event_in_order(world: World) -> None:
    events = until(follow(world.http, "0:0"), last_cursor(world))
    places = [tuple(map(int, cursor.split(":"))) for cursor, _, _ in events]
    assert places == sorted(set(places))
    blocks = [data for _, name, data in events if name == "block"]
    assert [block["height"] for block in blocks] == list(range(1, blocks[-1]["height"] + 1))
    assert sum(block["transactions"] for block in blocks) == 13
    names = [name for _, name, _ in events]
    assert names.count("devices.registered") == names.count("streams.defined") == 3
    assert names.count("streams.anchored") == 6
    registered = next(data for _, name, data in events if name == "devices.registered")
    assert (registered["device"], registered["by_device"]) == ("old-1", False)
    assert registered["values"][0] == "old-1"
    anchored = events[-1][2]
    assert anchored["root"] == world.anchors[-1][1].hex()
    assert anchored["transaction"] == world.anchors[-1][0].tx_id.hex()


def test_resumed_anywhere_nothing_is_lost_or_seen_twice(world: World) -> None:
    end = last_cursor(world)
    whole = until(follow(world.http, cursor="0:0"), end)
    for at in range(0, len(whole) - 1, 5):
        assert until(follow(world.http, whole[at][0]), end) == whole[at + 1 :]


def test_a_cursor_in_the_query_and_a_filter(world: World) -> None:
    events = until(follow(world.http, **{"cursor": "0:0", "name": "streams."}), last_cursor(world))
    assert {name for _, name, _ in events} == {"streams.defined", "streams.anchored"}


@pytest.mark.parametrize("cursor", ["x", "1", "1:2:3", "-1:0", "1:" + "9" * 30])
def test_a_bad_cursor_is_refused(world: World, cursor: str) -> None:
    answer = world.http.get("/v1/events", headers={"Last-Event-ID": cursor})
    assert answer.status_code == 400
    assert answer.json()["code"] in ("api.cursor", "api.parameter")


def test_without_a_cursor_only_what_is_new(tmp_path: Path) -> None:
    with running_world(new_home(tmp_path / "home")) as world, world.http.stream("GET", "/v1/events") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")  # connected: what happens from here on must arrive
        height = world.process.node.engine.latest_height
        done = world.anchor([("pump-1/temperature", [1.0])])
        ids = []
        while not ids or ids[-1] != f"{done.height}:1":
            line = next(lines)
            if line.startswith("id: "):
                ids.append(line[4:])
        assert all(int(cursor.split(":")[0]) > height for cursor in ids)


def test_streams_end_with_the_node(tmp_path: Path) -> None:
    running = Running(new_home(tmp_path / "home"))
    process = running.__enter__()
    with httpx2.Client(base_url=process.url, timeout=10) as http, http.stream("GET", "/v1/events") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        running.__exit__()
        # Told properly, not cut off: iterating to the end raises nothing.
        assert all(not line or line.partition(":")[0] in ("id", "event", "data", "retry", "") for line in lines)


def test_silence_is_filled_with_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENTS_HEARTBEAT_S", 0.05)
    with (
        Running(new_home(tmp_path / "home")) as process,
        httpx2.Client(base_url=process.url, timeout=10) as http,
        http.stream("GET", "/v1/events") as answer,
    ):
        comments = (line for line in answer.iter_lines() if line.startswith(":"))
        assert next(comments) == next(comments) == ": nothing new"


def test_a_follower_that_reads_nothing_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENTS_SEND_S", 0.05)
    api = world.process.api
    sent = []

    async def send(message: dict) -> None:
        sent.append(message)
        if len(sent) > 2:
            await asyncio.Event().wait()  # as a socket whose buffer is full

    async def receive() -> dict:
        await asyncio.Event().wait()
        raise AssertionError

    async def run() -> None:
        clients = api.metrics.event_clients
        await sse.EventStream(api, (0, 0), "")({}, receive, send)
        assert api.metrics.event_clients == clients

    asyncio.run_coroutine_threadsafe(run(), world.loop).result(10)
    assert len(sent) == 3


def test_followers_are_bounded_and_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.process.api.metrics, "event_clients", 256)
    answer = world.http.get("/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "events.full")
    assert answer.headers["retry-after"] == "5"
