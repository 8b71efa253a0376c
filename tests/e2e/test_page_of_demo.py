"""The page on real nodes: the demo's, from its streams to a proof that the command verifies; and one that wants a token."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright import sync_api as playwright

from althing.cli.demo.processes import Child
from althing.node.home import Home, create_home

from .test_page import CHROMIUM_ARGS

expect = playwright.expect
expect.set_options(timeout=30_000)

pytestmark = pytest.mark.needs_chromium

TOKEN = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def page_of(chromium: str, root: Path):
    if not (root / "src/althing/console/static/index.html").exists():
        pytest.fail("the page is not built: run `make setup`")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))

        def go(url: str, **options):
            page = browser.new_context(locale="en-GB", accept_downloads=True, **options).new_page()
            page.set_default_timeout(30_000)
            page.faults = []
            page.on("pageerror", lambda error: page.faults.append(str(error)))
            page.goto(url)
            return page

        yield go
        browser.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Chain, gateway and recorded devices as `althing demo` runs them: the API's address, and the home."""
    home = tmp_path_factory.mktemp("demo") / "home"
    command = [sys.executable, "-m", "althing", "demo", "--headless", "--seconds", "600", "--pace", "60", "--json"]
    with subprocess.Popen(
        [*command, "--home", str(home)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        yield ready["api"], home
        process.send_signal(signal.SIGTERM)
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert process.wait(60) == 0
        assert last["verified"]


def test_from_the_streams_to_a_proof_that_the_command_verifies(page_of, demo: tuple[str, Path], tmp_path: Path) -> None:
    api, home = demo
    page = page_of(f"{api}/#/streams")
    for stream in ("office-machine/temperature", "vaccine-carrier/temperature"):
        expect(page.locator(f'a[href="#/streams/{stream}"]')).to_contain_text("Signed by device")
    page.locator('a[href="#/streams/office-machine/temperature"]').click()
    expect(page.locator(".chart .u-over")).to_be_visible()
    # Where nothing is recorded a click finds nothing, so it is made until a reading is hit.
    deadline = time.monotonic() + 60
    while page.locator(".proof").count() == 0:
        assert time.monotonic() < deadline, "no point of the chart led to a proof"
        box = page.locator(".chart .u-over").bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
        page.wait_for_timeout(500)
    expect(page.locator(".verdict strong")).to_have_text("Verified in this browser")
    expect(page.locator(".step-ok")).to_have_count(9)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download proof").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    verify = ["proof", "verify", str(file), "--trust", str(home / Home(home).trust_file.name), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "althing", *verify], capture_output=True, text=True, timeout=60, check=False
    )
    told = json.loads(done.stdout)
    assert told["verified"], told
    assert told["stream"] == "office-machine/temperature"
    assert [step["number"] for step in told["steps"]] == list(range(1, 10))
    assert not page.faults


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (375, "light")])
def test_the_demo_fits_every_width(page_of, demo: tuple[str, Path], width: int, scheme: str) -> None:
    """Real names and numbers are longer than made-up ones. ALTHING_SCREENSHOTS names a folder to look at them."""
    api, _ = demo
    page = page_of(f"{api}/", viewport={"width": width, "height": 900}, color_scheme=scheme)
    places = {
        "overview": "#/",
        "streams": "#/streams",
        "devices": "#/devices",
        "blocks": "#/blocks",
        "proof": "#/streams/office-machine/temperature?proof=0",
    }
    for name, place in places.items():
        page.goto(f"{api}/{place}")
        expect(page.locator(".loading")).to_have_count(0)
        if name == "proof":
            expect(page.locator(".verdict strong")).to_have_text("Verified in this browser")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        if folder := os.environ.get("ALTHING_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png")
    assert not page.faults


def test_a_node_that_wants_a_token_asks_for_it(page_of, tmp_path: Path) -> None:
    home = tmp_path / "home"
    create_home(home, chain_id="closed", organisation="acme", time_s=int(time.time()))
    (home / "api.token").write_text(TOKEN + "\n")
    (home / "api.token").chmod(0o600)
    (home / "config.toml").write_text('[node.api]\ntoken_file = "api.token"\n')
    node = Child("node", home, tmp_path / "logs")
    try:
        api = str(node.ready()["api"])
        page = page_of(f"{api}/#/blocks", viewport={"width": 375, "height": 800})
        expect(page.locator("h1")).to_have_text("This node asks for a token")
        if folder := os.environ.get("ALTHING_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/login-375.png")
        for wrong, reason in (("two words", "without spaces"), ("0" * 64, "does not accept that token")):
            page.get_by_label("Token").fill(wrong)
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_role("alert")).to_contain_text(reason)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("h1")).to_have_text("Blocks")
        expect(page.locator(".connection-open")).to_be_visible()
        page.reload()
        expect(page.locator("h1")).to_have_text("Blocks")
        assert page.evaluate("[Object.values(sessionStorage), Object.values(localStorage)].map(String)")[0] == TOKEN
        assert TOKEN not in page.evaluate("Object.values(localStorage).join()")
        page.get_by_role("button", name="Log out").click()
        expect(page.locator("h1")).to_have_text("This node asks for a token")
        assert page.evaluate("sessionStorage.length") == 0
        assert not page.faults
    finally:
        node.stop()
