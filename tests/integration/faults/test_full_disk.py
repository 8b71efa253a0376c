"""A disk that is full for a while: nothing is accepted that is not durable, nothing accepted is lost, no restart is needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from althing.testing.audit import audit
from althing.testing.faults import wait_until
from althing.testing.powercut import PowerCut, build_library

pytestmark = [pytest.mark.long, pytest.mark.needs_cc]
SOURCE = Path(__file__).parents[2] / "simulation" / "powercut" / "powercut.c"


def post(site, message):
    """One request without a second try: status and code."""
    headers = {"authorization": f"Bearer {site.tokens[message.device]}", "content-type": message.content_type}
    if message.key:
        headers["idempotency-key"] = message.key
    url = f"{site.http}/v1/messages/{message.path}"
    answer = httpx2.post(url, content=message.body, headers=headers, timeout=30)
    body = answer.json()
    return answer.status_code, body.get("code") or body["items"][0].get("code", "")


def test_a_full_disk_and_room_again(world, tmp_path, cc):
    with world.copy(tmp_path) as site:
        disk = PowerCut(build_library(cc, SOURCE, tmp_path), site.path, tmp_path / "disk")
        site.environment.update(disk.environment)
        site.start("node")
        site.start("gateway")
        site.drain()
        journal = world.new_journal()
        late = [device.message(100) for device in world.fleet.devices]

        disk.fill()
        for message in late:
            journal.sending(message)
            assert post(site, message) == (503, "gateway.busy")
        assert httpx2.get(f"{site.http}/readyz", timeout=10).status_code == 503
        with ThreadPoolExecutor(1) as pool, site.client() as client:
            during = pool.submit(client.set_attribute, "during", "a full disk")
            wait_until(
                lambda: httpx2.get(f"{site.api}/readyz").status_code == 503, 30, "the node is ready all the same"
            )
            assert not during.done()
            assert site.daemon("node").alive
            assert site.daemon("gateway").alive

            disk.free()
            assert during.result(60).receipt.ok, "what the node took before goes on by itself"
        wait_until(
            lambda: httpx2.get(f"{site.http}/readyz").status_code == 200,
            30,
            lambda: httpx2.get(f"{site.http}/v1/status").text,
        )
        for message in late:
            wait_until(lambda message=message: post(site, message) == (200, ""), 30, "the gateway takes nothing")
            journal.acknowledged(message)
        site.drain()
        with site.client() as client:
            assert client.set_attribute("after", "a full disk").receipt.ok
        site.stop("gateway")
        site.stop("node")
        audit(site.home, journal)
