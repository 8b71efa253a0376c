"""The page's network room on four real validators: all there, then one stopped; it fits every width, light and dark."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from playwright import sync_api as playwright

from althing.cli.demo.network import NetworkRun
from althing.node.network import Network, found_network

from .test_page_of_demo import page_of  # noqa: F401 -- fixture

expect = playwright.expect

pytestmark = [pytest.mark.needs_chromium, pytest.mark.needs_engine, pytest.mark.timeout(600)]

ORGANISATIONS = ("acme", "bolt", "corp", "dune")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, NetworkRun]]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
        folder = tmp_path_factory.mktemp("page") / "net"
        made = found_network(
            folder, chain_id="page", organisations=ORGANISATIONS, validators=4, time_s=int(time.time())
        )
        run = NetworkRun(made, lambda _: None)
        try:
            run.start()
            yield made, run
        finally:
            run.stop()


def _look(page, name: str) -> None:
    """ALTHING_SCREENSHOTS names a folder to look at them."""
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    if folder := os.environ.get("ALTHING_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/network-{name}.png", full_page=True)


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (800, "light"), (375, "dark"), (375, "light")]
)
def test_all_four_sign_and_are_drawn(page_of, network: tuple[Network, NetworkRun], width: int, scheme: str) -> None:  # noqa: F811
    made, run = network
    page = page_of(
        f"{run.apis[made.nodes[0].name]}/#/network", viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    expect(page.locator("h1")).to_have_text("Network")
    expect(page.locator(".figure strong").nth(0)).to_have_text("4 of 4")
    expect(page.locator(".figure strong").nth(2)).to_have_text("3")
    expect(page.locator(".topology g.party-signing")).to_have_count(4)
    expect(page.locator(".topology .link")).to_have_count(3)
    expect(page.locator(".topology .link-gone")).to_have_count(0)
    table = page.get_by_role("table", name="Validators", exact=True)
    for name in ORGANISATIONS:
        expect(table.get_by_role("row").filter(has_text=name)).to_contain_text("Signing")
        expect(page.locator(".topology text", has_text=name)).to_be_visible()
    expect(page.get_by_role("table", name="Peers").get_by_role("row")).to_have_count(4)
    expect(page.get_by_role("table", name="Who proposed").get_by_role("row").nth(1)).to_be_visible()
    _look(page, f"{width}-{scheme}")
    assert not page.faults


def test_the_room_speaks_chinese(page_of, network: tuple[Network, NetworkRun]) -> None:  # noqa: F811
    made, run = network
    page = page_of(f"{run.apis[made.nodes[0].name]}/#/network", viewport={"width": 375, "height": 900})
    page.get_by_role("button", name="Switch language to Chinese").click()
    expect(page.locator("h1")).to_have_text("网络")
    expect(page.get_by_role("table", name="验证者")).to_contain_text("正在签名")
    _look(page, "375-zh")
    assert not page.faults


def test_one_that_stops_is_seen_without_reloading(page_of, network: tuple[Network, NetworkRun]) -> None:  # noqa: F811
    made, run = network
    page = page_of(f"{run.apis[made.nodes[0].name]}/#/network", viewport={"width": 1280, "height": 900})
    expect(page.locator(".figure strong").nth(0)).to_have_text("4 of 4")
    run._children[made.nodes[3].name].stop()
    expect(page.locator(".figure strong").nth(2)).to_have_text("2")
    expect(page.locator(".topology .link-gone")).to_have_count(1)
    table = page.get_by_role("table", name="Validators", exact=True)
    row = table.get_by_role("row").filter(has_text="dune")
    expect(row).to_contain_text("Silent", timeout=60_000)
    expect(page.locator(".topology g.party-silent")).to_have_count(1)
    expect(row.locator(".bar-none, .bar-some").first).to_be_visible()
    expect(page.get_by_role("table", name="Peers").get_by_role("row").filter(has_text="dune")).to_contain_text("Gone")
    _look(page, "one-stopped")
    page.set_viewport_size({"width": 375, "height": 900})
    _look(page, "one-stopped-375")
    assert not page.faults
