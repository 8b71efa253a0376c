"""The page in headless Chromium, as a reader uses it: from a live chart to a proof checked in the browser.

`node_url` is the address of a node's API. It is the page's fixture server (web/dev/fixture.py): a real ledger, real
blocks, batches and proofs in memory, whose devices' values alone are made up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright import sync_api as playwright

from althing.light.verifier import verify_proof
from althing.protocol.trust import parse_trust

expect = playwright.expect

pytestmark = pytest.mark.needs_chromium

ROOMS = ("#/", "#/streams", "#/devices", "#/blocks", "#/network", "#/refusals")
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def _server(root: Path, port: int = 0) -> Iterator[str]:
    if not (root / "src/althing/console/static/index.html").exists():
        pytest.fail("the page is not built: run `make setup`")
    command = [sys.executable, str(root / "web/dev/fixture.py"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http"), "the fixture server did not start"
            yield address
        finally:
            process.kill()


@pytest.fixture(scope="module")
def node_url(root: Path) -> Iterator[str]:
    with _server(root) as address:
        yield address


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[object]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, node_url: str) -> Iterator[Callable]:
    """Opens a place of the page. Whatever the browser complains about fails the test at its end."""
    contexts, complaints = [], []

    def complain(message) -> None:
        # Answers that a test makes fail are reported too; the page shows them in its own words, which are tested.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def go(place: str = "#/", *, width: int = 1280, scheme: str = "light", url: str = node_url):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, locale="en-GB", accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", complain)
        page.goto(f"{url}/{place}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not complaints


def _get(address: str) -> bytes:
    with urlopen(address, timeout=10) as answer:
        return answer.read()


def _streams(node_url: str, origin: str) -> str:
    """The first stream whose newest reading is of this origin."""
    for stream in json.loads(_get(f"{node_url}/v1/streams"))["streams"]:
        found = json.loads(_get(f"{node_url}/v1/streams/{stream['stream']}/readings?order=desc&limit=1"))["readings"]
        if found and found[0]["origin"] == origin:
            return str(stream["stream"])
    raise AssertionError(f"no stream has readings of origin {origin}")


def _click_chart(page, part: float = 0.4) -> None:
    over = page.locator(".chart .u-over")
    box = over.bounding_box()
    over.click(position={"x": box["width"] * part, "y": box["height"] / 2})


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _verdict(page):
    return page.locator(".verdict strong")


def test_overview_is_live(open_page) -> None:
    page = open_page()
    expect(page.locator(".connection")).to_have_text("Live")
    height = page.locator(".figure strong").first
    before = height.inner_text()
    expect(height).not_to_have_text(before)
    assert _number(height.inner_text()) > _number(before)
    expect(page.locator(".card").first.locator(".spark path")).to_have_attribute("d", re.compile("^M.*L"))


def test_from_a_point_to_its_proof_in_one_click(open_page, node_url: str, tmp_path: Path) -> None:
    stream = _streams(node_url, "device")
    page = open_page(f"#/streams/{stream}")
    _click_chart(page)
    expect(_verdict(page)).to_have_text("Verified in this browser")
    expect(page.locator(".step-ok")).to_have_count(9)
    expect(page.locator(".proof .badge").first).to_have_text("Signed by device")
    sequence = int(re.search(r"proof=(\d+)", page.url)[1])
    command = page.locator(".command code").inner_text()
    assert command == f"althing proof verify {stream.replace('/', '.')}.{sequence}.proof.cbor --trust trust.json"

    # What is taken away is what the node gave, and verifies without it.
    files = {}
    for label in ("Download proof", "Trust file"):
        with page.expect_download() as download:
            page.get_by_role("link", name=label).click()
        name = download.value.suggested_filename
        download.value.save_as(tmp_path / name)
        files[label] = (tmp_path / name).read_bytes()
        assert name in command
    verified = verify_proof(files["Download proof"], parse_trust(files["Trust file"]), require_device=True)
    assert (verified.stream, verified.sequence) == (stream, sequence)
    # The page found the same hash of the batch as the verifier.
    assert page.locator(f"code[title='{verified.row.batch_root.hex()}']").count() == 1


def test_an_altered_byte_fails_and_the_original_still_verifies(open_page, node_url: str) -> None:
    page = open_page(f"#/streams/{_streams(node_url, 'device')}?proof=3")
    expect(_verdict(page)).to_have_text("Verified in this browser")
    page.get_by_role("button", name="Alter one byte").click()
    expect(_verdict(page)).to_contain_text("Does not verify: step")
    expect(page.locator(".step-failed")).to_have_count(1)
    page.get_by_role("button", name="Back to the original").click()
    expect(_verdict(page)).to_have_text("Verified in this browser")


def test_the_readers_own_trust_file_decides(open_page, node_url: str, tmp_path: Path) -> None:
    page = open_page(f"#/streams/{_streams(node_url, 'device')}?proof=3")
    expect(_verdict(page)).to_have_text("Verified in this browser")
    trust = json.loads(_get(f"{node_url}/v1/trust"))
    trust["validators"] = [{"public_key": "ab" * 32, "power": 10}]
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(trust))
    page.locator("input[type=file]").set_input_files(mine)
    expect(_verdict(page)).to_have_text("Does not verify: step 9")
    mine.write_bytes(_get(f"{node_url}/v1/trust"))
    page.locator("input[type=file]").set_input_files(mine)
    expect(_verdict(page)).to_have_text("Verified in this browser")
    expect(page.locator(".trust-note")).to_contain_text("your own trust file")


def test_a_lying_node_is_noticed(open_page, node_url: str) -> None:
    """The node hands out another message's proof, or calls a gateway's word a device's signature."""
    stream = _streams(node_url, "gateway")
    page = open_page()
    page.route(f"**/v1/proofs/{stream}/3?*", lambda route: route.fulfill(body=_get(f"{node_url}/v1/proofs/{stream}/4")))
    page.goto(f"{node_url}/#/streams/{stream}?proof=3")
    expect(_verdict(page)).to_contain_text("another message")

    def dress_up(route) -> None:
        body = _get(route.request.url).replace(b'"origin": "gateway"', b'"origin": "device"')
        route.fulfill(body=body.replace(b'"origin":"gateway"', b'"origin":"device"'), content_type="application/json")

    page.route("**/messages/5", dress_up)
    page.goto(f"{node_url}/#/streams/{stream}?proof=5")
    expect(_verdict(page)).to_have_text("Verified in this browser")
    expect(page.locator(".proof .badge").first).to_have_text("Attested by gateway")


def test_a_gateways_word_is_not_shown_as_a_devices_signature(open_page, node_url: str) -> None:
    page = open_page(f"#/streams/{_streams(node_url, 'gateway')}?proof=3")
    expect(_verdict(page)).to_have_text("Verified in this browser")
    expect(page.locator(".proof .badge").first).to_have_text("Attested by gateway")
    expect(page.locator("#step-7")).to_contain_text("The device did not sign this message")


def test_the_chart_is_usable_by_keyboard(open_page, node_url: str) -> None:
    page = open_page(f"#/streams/{_streams(node_url, 'device')}")
    chart = page.locator(".chart")
    chart.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(chart.locator("[aria-live]")).not_to_be_empty()
    page.keyboard.press("Enter")
    expect(page.locator(".proof h2")).to_be_focused()
    expect(_verdict(page)).to_have_text("Verified in this browser")
    page.keyboard.press("Escape")
    expect(page.locator(".proof")).to_have_count(0)
    assert "proof=" not in page.url


def test_quantity_time_and_range_stand_in_the_address(open_page, node_url: str) -> None:
    page = open_page(f"#/streams/{_streams(node_url, 'gateway')}")
    page.get_by_role("radio", name="Arrival").check(force=True)
    page.get_by_role("radio", name="10 min").check(force=True)
    assert "time=arrival" in page.url
    assert "range=10m" in page.url
    page.reload()
    expect(page.get_by_role("radio", name="Arrival")).to_be_checked()
    over = page.locator(".chart .u-over")
    box = over.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.get_by_role("radio", name="Zoomed")).to_be_checked()
    assert "from=" in page.url
    assert "proof=" not in page.url


def test_devices_blocks_and_transactions_lead_to_each_other(open_page) -> None:
    page = open_page("#/devices")
    page.locator("tbody a").first.click()
    expect(page.locator(".facts")).to_contain_text("did:althing:")
    page.get_by_role("link", name="Blocks").click()
    page.get_by_role("table", name="Transactions").locator("tbody a").first.click()
    expect(page.locator("h1")).to_have_text("Transaction")
    expect(page.locator(".panel", has=page.get_by_text("Events"))).to_contain_text("name")
    page.locator(".facts a").first.click()
    expect(page.locator("h1")).to_contain_text("Block")
    expect(page.get_by_role("heading", name="Commit")).to_be_visible()


def test_a_refusal_of_the_api_is_shown_with_its_code(open_page) -> None:
    page = open_page("#/devices/no-such-device")
    problem = page.get_by_role("alert").first
    expect(problem.locator("code")).to_have_text(re.compile(r"^[a-z_]+\.[a-z_]+$"))
    page.goto(page.url.split("#")[0] + "#/nowhere")
    expect(page.locator("h1")).to_have_text("There is no such page.")


def test_refusals_are_listed_with_code_and_reason(open_page, node_url: str) -> None:
    refusals = json.loads(_get(f"{node_url}/v1/refusals"))["refusals"]
    page = open_page("#/refusals")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(len(refusals))
    if refusals:
        expect(rows.first).to_contain_text(refusals[0]["code"])
        expect(rows.first).to_contain_text(refusals[0]["reason"])
    else:
        expect(page.locator(".empty")).to_have_text("Nothing was refused.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_every_room_fits_its_width(open_page, node_url: str, width: int, scheme: str) -> None:
    stream = _streams(node_url, "gateway")
    page = open_page(width=width, scheme=scheme)
    for place in (*ROOMS, f"#/streams/{stream}", f"#/streams/{stream}?proof=2"):
        page.goto(f"{node_url}/{place}")
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator(".loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    lightness = sum(int(part) for part in re.findall(r"\d+", background)[:3])
    assert (lightness < 200) == (scheme == "dark")


def test_theme_and_language_are_kept(open_page) -> None:
    page = open_page(scheme="light")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Switch language to Chinese").click()
    expect(page.get_by_role("link", name="数据流")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="数据流")).to_be_visible()
    assert page.evaluate("[document.documentElement.dataset.theme, document.documentElement.lang]") == ["dark", "zh-CN"]


def test_a_lost_node_is_shown_and_taken_up_again(open_page, root: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    page = None
    with _server(root, port) as address:
        page = open_page(url=address)
        expect(page.locator(".connection")).to_have_text("Live")
    expect(page.locator(".connection")).to_have_text("Reconnecting")
    with _server(root, port):
        expect(page.locator(".connection")).to_have_text("Live", timeout=20_000)


def test_no_label_of_the_chart_is_cut_off(open_page) -> None:
    page = open_page("#/streams/machine-7/bearing")
    page.wait_for_selector(".chart canvas")
    inked = """() => { const c = document.querySelector('.chart canvas');
        const edge = c.getContext('2d').getImageData(c.width - 2, 0, 2, c.height).data;
        return edge.some((value, at) => at % 4 === 3 && value > 0); }"""
    drawn = "w => { const c = document.querySelector('.chart canvas'); return c.clientWidth < w && c.clientWidth > w - 260; }"
    for width in (375, 420, 500, 620, 777, 900):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(drawn, arg=width)
        assert not page.evaluate(inked), f"at {width} px"
