"""Sending transactions: every form of the body, every kind of refusal, one answer each in the order sent."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator

import cbor2
import httpx2
import pytest

from althing.client.client import load_signer
from althing.client.sending import Signer
from althing.node.api import gate
from althing.node.daemon import NodeProcess
from althing.protocol.codec import encode
from althing.protocol.messages.identity import SetAttribute
from althing.protocol.receipt import Receipt
from althing.protocol.transaction import Transaction, sign_transaction, transaction_id

from .world import Running, key, new_home

CBOR = {"Content-Type": "application/cbor", "Accept": "application/cbor"}


class Sending:
    def __init__(self, process: NodeProcess, http: httpx2.Client) -> None:
        self.process = process
        self.http = http
        self.admin = load_signer(process.home.admin_key_file)
        self._nonce = 0

    def signed(self, value: str = "x", *, signer: Signer | None = None, expiry_s: int = 300) -> bytes:
        who = signer or self.admin
        self._nonce += 1
        transaction = Transaction(
            (who.address,),
            who.address,
            1_000_000,
            0,
            int(time.time()) + expiry_s,
            self._nonce.to_bytes(8, "big"),
            (SetAttribute(who.address, "note", value),),
        )
        return sign_transaction(transaction, list(who.keys), self.process.node.ledger.genesis_hash)

    def post(self, transactions: list[bytes], **params: object) -> list[list]:
        answer = self.http.post("/v1/transactions", content=encode(transactions), headers=CBOR, params=params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/cbor"
        return cbor2.loads(answer.content)


@pytest.fixture(scope="module")
def sending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sending]:
    home = new_home(tmp_path_factory.mktemp("writes") / "home")
    with Running(home) as process, httpx2.Client(base_url=process.url, timeout=30) as http:
        yield Sending(process, http)


def test_many_in_one_request_each_with_its_receipt(sending: Sending) -> None:
    sent = [sending.signed(str(i)) for i in range(500)]
    answers = sending.post(sent)
    assert len(answers) == 500
    for (tx_id, code, message, height, data), _ in zip(answers, sent, strict=True):
        receipt = Receipt.from_bytes(data)
        assert (code, message) == ("", "")
        assert receipt.ok
        assert receipt.tx_id == tx_id
        assert height > 1
    # The order is that of the request: each id is the id of the transaction at its place.
    genesis_hash = sending.process.node.ledger.genesis_hash
    payloads = [cbor2.loads(data).value[2] for data in sent]
    assert [a[0] for a in answers] == [transaction_id(genesis_hash, payload) for payload in payloads]


def test_one_bad_one_does_not_refuse_the_rest(sending: Sending) -> None:
    stranger = key("stranger")
    strange = sending.signed(signer=Signer(bytes(range(20)), (stranger,)))
    forged = bytearray(sending.signed())
    forged[-1] ^= 1
    good = sending.signed()
    answers = sending.post([b"nonsense", strange, good, bytes(forged), sending.signed(expiry_s=-5)])
    assert [bool(a[1]) for a in answers] == [True, True, False, True, True]
    assert answers[1][1] == "tx.unknown_account"
    assert answers[3][1] == "tx.signature"
    assert answers[4][1] == "tx.expired"
    assert all(a[3] is None and a[4] is None for i, a in enumerate(answers) if i != 2)


def test_sending_again_gives_the_same_receipt(sending: Sending) -> None:
    data = sending.signed()
    first, twice = sending.post([data, data])
    assert first == twice
    [again] = sending.post([data])
    assert again[0] == first[0]
    assert again[1] == ""
    assert again[3:] == first[3:]


def test_wait_check_answers_before_the_block(sending: Sending) -> None:
    [[tx_id, code, _, height, receipt]] = sending.post([sending.signed()], wait="check")
    assert (code, height, receipt) == ("", None, None)
    [[_, code, _, _, _]] = sending.post([sending.signed()], timeout_s=0)
    assert code in ("tx.pending", "")
    for _ in range(200):
        found = sending.http.get(f"/v1/transactions/{tx_id.hex()}")
        if found.status_code == 200:
            break
        time.sleep(0.01)
    assert found.json()["receipt"]["code"] == ""


def test_json_in_and_out(sending: Sending) -> None:
    data = sending.signed()
    answer = sending.http.post("/v1/transactions", json={"transactions": [base64.b64encode(data).decode()]})
    [result] = answer.json()["results"]
    assert result["code"] == ""
    assert Receipt.from_bytes(bytes.fromhex(result["receipt"])).tx_id.hex() == result["id"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/cbor", b""),
        ("application/cbor", b"\xff\xff"),
        ("application/cbor", cbor2.dumps([])),
        ("application/cbor", cbor2.dumps(["text"])),
        ("application/cbor", cbor2.dumps({"a": b""})),
        ("application/cbor", cbor2.dumps([[b"x"]])),
        ("application/cbor", b"\x9f\x41x\xff"),
        ("application/cbor", b"\x81" * 5000),
        # Tags 28 and 29 (a value, and references to it): four bytes each for one string listed again and again.
        ("application/cbor", b"\x84\xd8\x1c" + cbor2.dumps(b"x" * 1000) + b"\xd8\x1d\x00" * 3),
        ("application/cbor", b"\x81\x58\x01x"),  # a head longer than needed
        ("application/json", b"{}"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"transactions":["*"]}'),
        ("application/json", b'{"transactions":5}'),
        ("text/plain", b"x"),
        ("", b"x"),
    ],
)
def test_a_body_that_is_not_of_the_form(sending: Sending, content_type: str, body: bytes) -> None:
    answer = sending.http.post("/v1/transactions", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "api.body"


def test_more_than_a_request_may_carry(sending: Sending) -> None:
    answer = sending.http.post("/v1/transactions", content=cbor2.dumps([b"x"] * 4097), headers=CBOR)
    assert (answer.status_code, answer.json()["code"]) == (413, "api.too_large")
    many = b"\x9a" + (1 << 20).to_bytes(4, "big") + b"\x40" * (1 << 20)
    answer = sending.http.post("/v1/transactions", content=many, headers=CBOR)
    assert (answer.status_code, answer.json()["code"]) == (413, "api.too_large")
    huge = b"\0" * (16 * 1024 * 1024 + 1)
    answer = sending.http.post("/v1/transactions", content=huge, headers=CBOR)
    assert (answer.status_code, answer.json()["code"]) == (413, "api.too_large")

    def chunks() -> Iterator[bytes]:
        for _ in range(17):
            yield b"\0" * (1024 * 1024)

    answer = sending.http.post("/v1/transactions", content=chunks(), headers=CBOR)
    assert (answer.status_code, answer.json()["code"]) == (413, "api.too_large")
    assert sending.http.get("/v1/status").status_code == 200


def test_bounds_of_parameters(sending: Sending) -> None:
    for params in ({"wait": "forever"}, {"timeout_s": 121}, {"timeout_s": -1}):
        answer = sending.http.post("/v1/transactions", content=encode([b"x"]), headers=CBOR, params=params)
        assert (answer.status_code, answer.json()["code"]) == (400, "api.parameter")
    assert sending.http.get("/v1/status?" + "x" * 9000).status_code == 414


def test_a_body_that_does_not_arrive(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_S", 0.1)
    url = httpx2.URL(sending.process.url)
    with socket.create_connection((url.host, url.port), timeout=10) as slow:
        slow.sendall(
            b"POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/cbor\r\n"
            b"Content-Length: 1000\r\n\r\nabc"
        )
        answer = b""
        while not answer.endswith(b"}"):
            answer += slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"api.slow_body" in answer


def test_a_query_in_any_form_is_answered_alike(sending: Sending) -> None:
    """What clients send in general takes a shorter way through the server than other forms of the same question."""
    body = encode([sending.signed()])
    url = "/v1/transactions"
    before = _measured(sending)
    queries = ("", "wait=commit&timeout_s=30", "timeout_s=30&wait=commit", "wait=commit", "timeout_s=5")
    answers = [sending.http.post(f"{url}?{query}", content=body, headers=CBOR) for query in queries]
    assert {answer.status_code for answer in answers} == {200}
    found = [cbor2.loads(answer.content)[0] for answer in answers]
    assert len({(one[0], one[1], one[3], one[4]) for one in found}) == 1
    headers = [{**answer.headers, "date": "", "content-length": ""} for answer in answers]
    assert all(one == headers[0] for one in headers)
    for query in ("wait=never&timeout_s=30", "wait=commit&timeout_s=9999", "wait=commit&timeout_s=-1"):
        refused = sending.http.post(f"{url}?{query}", content=body, headers=CBOR)
        assert (refused.status_code, refused.json()["code"]) == (400, "api.parameter")
    for query in queries:
        refused = sending.http.post(f"{url}?{query}", content=b"\xff", headers=CBOR)
        assert (refused.status_code, refused.json()["code"]) == (400, "api.body")
    assert _measured(sending) == before + 2 * len(queries) + 3


def _measured(sending: Sending) -> int:
    """Requests counted under the route's own name."""
    lines = sending.http.get("/metrics").text.splitlines()
    counts = [line for line in lines if "_count{" in line and 'method="POST"' in line]
    return sum(int(float(line.split()[-1])) for line in counts if 'route="/v1/transactions"' in line)
