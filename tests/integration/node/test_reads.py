"""Every resource of the API over a running node: what it answers, that pages are whole, and that proofs hold."""

from __future__ import annotations

import base64
import hashlib
import json
from itertools import pairwise

import cbor2
import httpx2
import pytest

from althing.archive.objects import LocalObjects
from althing.archive.refusals import Refusal, RefusalLog
from althing.light.verifier import verify_proof
from althing.node.api.diddocument import base58
from althing.protocol.address import format_address
from althing.protocol.errors import AlthingError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import Genesis
from althing.protocol.messages.streams import StreamDefinition
from althing.protocol.reading import Kind
from althing.protocol.trust import parse_trust

from .world import EPOCH_NS, World


def get(world: World, path: str, status: int = 200, **params: object) -> dict:
    answer = world.http.get(f"/v1/{path}", params={k: v for k, v in params.items() if v is not None})
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def everything(world: World, path: str, name: str, limit: int, **params: object) -> list[dict]:
    found: list[dict] = []
    cursor = None
    for _ in range(1000):
        page = get(world, path, limit=limit, cursor=cursor, **params)
        assert len(page[name]) <= limit
        found += page[name]
        cursor = page["next"]
        if cursor is None:
            return found
    raise AssertionError("the pages do not end")


def test_status_names_the_chain_and_its_latest_block(world: World) -> None:
    status = get(world, "status")
    assert status["chain_id"] == "test-1"
    assert status["genesis_hash"] == world.process.node.ledger.genesis_hash.hex()
    assert status["phase"] == "running"
    block = get(world, f"blocks/{status['height']}")
    assert (block["hash"], block["time"]) == (status["block_hash"], status["block_time"])


def test_the_network_of_an_embedded_engine_is_its_one_validator(world: World) -> None:
    view = get(world, "network", window=5)
    (validator,) = view["validators"]
    assert (validator["organisation_name"], validator["this_node"], validator["signed_share"]) == ("acme", True, 1.0)
    assert validator["marks"] == "s" * view["window"]["blocks"]
    assert validator["proposed"] == view["window"]["blocks"] == 5
    assert validator["address"] == view["node"]["validator"] == view["recent_blocks"][0]["proposer"]
    assert (view["node"]["engine"], view["node"]["name"], view["peers"]) == ("solo", "acme-node-1", [])
    assert view["sync"]["peers_height"] is view["sync"]["blocks_behind"] is None
    assert view["total_power"] == validator["power"] == 10
    get(world, "network", status=400, window=0)
    get(world, "network", status=400, window=1001)
    found = world.http.get("/metrics").text
    assert "althing_node_engine_metrics_up 1.0" in found
    assert 'althing_node_validator_signed_ratio{organisation="acme"' in found


def test_genesis_is_canonical_and_readable(world: World) -> None:
    data = world.http.get("/v1/genesis", headers={"Accept": "*/*"}).content
    assert genesis_hash(Genesis.from_bytes(data)) == world.process.node.ledger.genesis_hash
    readable = get(world, "genesis")
    assert readable["chain_id"] == "test-1"
    assert readable["organisations"][0]["name"] == "acme"


def test_trust_pins_any_height(world: World) -> None:
    for height in (1, 2):
        trust = parse_trust(world.http.get("/v1/trust", params={"height": height}).content)
        assert trust.height == height
        assert trust.header_hash.hex() == get(world, f"blocks/{height}")["hash"]
    assert get(world, "trust", 404, height=10**9)["code"] == "engine.unknown_height"


def test_blocks_come_newest_first_and_whole(world: World) -> None:
    blocks = everything(world, "blocks", "blocks", 4)
    heights = [block["height"] for block in blocks]
    assert heights == list(range(heights[0], 0, -1))
    for above, below in pairwise(blocks):
        assert get(world, f"blocks/{above['height']}")["last_block_hash"] == below["hash"]
    assert sum(block["transactions"] for block in blocks) == 13  # a gateway, three devices and streams, six anchors


def test_a_block_lists_its_transactions(world: World) -> None:
    done, _ = world.anchors[0]
    block = get(world, f"blocks/{done.height}")
    assert block["transaction_ids"] == [done.tx_id.hex()]
    assert block["commit"]["signatures"][0]["flag"] == "commit"
    assert get(world, "blocks/0")["height"] >= done.height
    assert get(world, "blocks/999999", 404)["code"] == "engine.unknown_height"


def test_light_blocks_hold_what_a_light_client_needs(world: World) -> None:
    light = get(world, "light/0")
    assert light["validators"][0]["power"] == 10
    assert bytes.fromhex(light["header"])
    assert get(world, "light/3")["height"] == 3


def test_transactions_newest_first_with_types_and_signers(world: World) -> None:
    found = everything(world, "transactions", "transactions", 5)
    assert len(found) == 13
    places = [(tx["height"], tx["bundle"], tx["index"]) for tx in found]
    assert places == sorted(places, reverse=True)
    assert [tx["messages"] for tx in found[:6]] == [["streams.anchor"]] * 6
    assert found[0]["signers"] == [format_address(world.gateway.address)]
    assert found[-1]["messages"] == ["identity.create_account"]


def test_a_transaction_with_its_receipt(world: World) -> None:
    done, root = world.anchors[2]
    found = get(world, f"transactions/{done.tx_id.hex()}")
    assert (found["height"], found["receipt"]["code"]) == (done.height, "")
    event = found["receipt"]["events"][0]
    assert event["name"] == "streams.anchored"
    assert event["data"]["root"] == root.hex()
    assert event["data"]["size"] == event["data"]["streams"] == 3
    assert found["transaction"]["messages"][0]["type"] == "streams.anchor"
    assert found["transaction"]["payer"] == format_address(world.gateway.address)
    assert get(world, "transactions/" + "0" * 64, 404)["code"] == "query.transaction"
    assert get(world, "transactions/xyz", 400)["code"] == "api.parameter"


def test_accounts_and_organisations(world: World) -> None:
    account = get(world, f"accounts/{format_address(world.gateway.address)}")
    assert (account["kind"], account["name"], account["status"]) == ("gateway", "gw-1", "active")
    assert account["keys"][0]["public"] == world.gateway.keys[0].public.hex()
    members = get(world, "organisations")["organisations"]
    assert [member["name"] for member in members] == ["acme"]
    assert account["organisation"] == members[0]["address"]
    assert get(world, "accounts/al1" + "q" * 38, 400)["code"] == "address.checksum"
    assert get(world, f"accounts/{format_address(bytes(20))}", 404)["code"] == "query.account"


def test_did_documents_carry_the_keys(world: World) -> None:
    ed = world.http.get("/v1/did/" + get(world, "devices/pump-1")["did"])
    assert ed.headers["content-type"].startswith("application/did")
    document = ed.json()
    public = bytes.fromhex(get(world, "devices/pump-1")["keys"][0]["public"])
    [method] = document["verificationMethod"]
    assert method["publicKeyMultibase"] == "z" + base58(b"\xed\x01" + public)
    assert document["assertionMethod"] == document["authentication"] == [method["id"]]
    p256 = get(world, "did/" + get(world, "devices/pump-2")["did"])
    assert [method["type"] for method in p256["verificationMethod"]] == ["Multikey", "JsonWebKey"]
    assert p256["verificationMethod"][1]["publicKeyJwk"]["crv"] == "P-256"
    assert "verificationMethod" not in get(world, "did/" + get(world, "devices/old-1")["did"])
    assert get(world, "did/did:althing:other:" + format_address(bytes(20)), 404)["code"] == "query.did"
    assert get(world, "did/did:web:example.org", 400)["code"] == "did.form"


def test_devices_by_name_and_filter(world: World) -> None:
    assert [d["name"] for d in everything(world, "devices", "devices", 2)] == ["old-1", "pump-1", "pump-2"]
    gateway = format_address(world.gateway.address)
    assert len(everything(world, "devices", "devices", 1, gateway=gateway)) == 3
    assert len(everything(world, "devices", "devices", 1, organisation="acme")) == 3
    assert get(world, "devices", gateway=format_address(bytes(20)))["devices"] == []
    assert get(world, "devices", 404, organisation="nobody")["code"] == "query.organisation"
    device = get(world, "devices/pump-2")
    assert device["keys"][0]["suite"] == "ES256"
    assert (device["state"], device["status"], device["metadata"]) == ("active", "active", {"place": "hall 1"})
    assert device["streams"] == ["pump-2/temperature"]
    assert get(world, "devices/pump-9", 404)["code"] == "query.device"


def test_streams_with_their_heads(world: World) -> None:
    streams = everything(world, "streams", "streams", 2)
    assert [s["number"] for s in streams] == [0, 1, 2]
    assert everything(world, "streams", "streams", 2, device="pump-1") == [streams[1]]
    assert len(everything(world, "streams", "streams", 1, gateway=format_address(world.gateway.address))) == 3
    stream = get(world, "streams/pump-1/temperature")
    assert stream == streams[1]
    assert (stream["next_sequence"], stream["log_size"]) == (6, 6)
    assert stream["last_anchor"]["root"] == world.anchors[-1][1].hex()
    assert stream["quantities"] == [{"name": "temperature", "unit": "Cel", "kind": "number"}]
    definition = StreamDefinition.from_bytes(bytes.fromhex(stream["definition"]))
    assert definition.schema.quantities[0].kind is Kind.NUMBER
    assert get(world, "streams/pump-1/nothing", 404)["code"] == "query.stream"


def test_readings_in_half_open_ranges(world: World) -> None:
    path = "streams/pump-1/temperature/readings"
    all_of_it = everything(world, path, "readings", 4)
    assert [r["sequence"] for r in all_of_it] == sorted([0, 1, 2, 3, 4, 5] * 3)
    times = [r["device_time"] for r in all_of_it]
    assert times == sorted(times)
    middle = everything(world, path, "readings", 100, **{"from": times[3], "to": times[6]})
    assert [r["device_time"] for r in middle] == times[3:6]
    backwards = everything(world, path, "readings", 5, order="desc")
    assert backwards == all_of_it[::-1]
    first = all_of_it[0]
    assert (first["value"], first["number"], first["unit"], first["origin"]) == ("20.5", 20.5, "Cel", "device")
    assert first["flags"] == []
    assert all_of_it[2]["value"] == "-3"
    assert get(world, "streams/old-1/temperature/readings")["readings"][0]["origin"] == "gateway"


@pytest.mark.parametrize("basis", ["device", "arrival", "block"])
def test_readings_by_each_time(world: World, basis: str) -> None:
    path = "streams/pump-1/temperature/readings"
    rows = everything(world, path, "readings", 7, time=basis)
    assert len(rows) == 18
    cut = rows[9][f"{basis}_time"]
    before = everything(world, path, "readings", 100, time=basis, to=cut)
    after = everything(world, path, "readings", 100, time=basis, **{"from": cut})
    assert before + after == rows


def test_bad_questions_are_told_apart(world: World) -> None:
    path = "streams/pump-1/temperature/readings"
    assert get(world, path, 400, **{"from": "yesterday"})["code"] == "api.parameter"
    assert get(world, path, 400, time="moon")["code"] == "api.parameter"
    assert get(world, path, 400, limit=1001)["code"] == "api.parameter"
    assert get(world, path, 400, cursor="nonsense")["code"] == "archive.cursor"
    cursor = get(world, path, limit=2)["next"]
    assert get(world, path, 400, cursor=cursor, order="desc")["code"] == "archive.cursor"
    assert get(world, "devices", 400, cursor=cursor)["code"] == "api.cursor"
    nothing = get(world, "nothing", 404)
    assert nothing["code"] == "api.not_found"
    assert "/v1/nothing" in nothing["detail"]
    assert "<device>/<stream>" in get(world, "streams/nonsense", 404)["hint"]
    assert world.http.delete("/v1/status").status_code == 405


def test_series_for_charts(world: World) -> None:
    points = get(world, "streams/pump-1/temperature/series", quantity="temperature", points=6)["points"]
    assert 1 <= len(points) <= 6
    assert sum(point["count"] for point in points) == 18
    assert min(point["min"] for point in points) == -3
    assert max(point["max"] for point in points) == 25.5
    last = points[-1]
    assert (last["last"], last["sequence"], last["index"]) == (-3, 5, 2)


def test_messages_hold_the_bytes_as_sent(world: World) -> None:
    found = get(world, "streams/pump-2/temperature/messages/3")
    assert (found["sequence"], found["origin"], found["batch_root"]) == (3, "device", world.anchors[3][1].hex())
    assert base64.b64decode(found["body"])[:2] == b"\xd2\x84"
    leaf = bytes.fromhex(found["leaf"])
    assert hashlib.sha256(b"\0" + leaf).hexdigest() == found["leaf_hash"]
    assert [r["value"] for r in found["readings"]] == ["23.5", "21.25", "-3"]
    assert found["unreadable"] is None
    plain = get(world, "streams/old-1/temperature/messages/0")
    assert json.loads(base64.b64decode(plain["body"]))[0]["v"] == 20.5
    assert get(world, "streams/pump-2/temperature/messages/6", 404)["code"] == "query.sequence"


def test_proofs_verify_with_the_trust_file_alone(world: World) -> None:
    trust = parse_trust(world.process.home.trust_file.read_bytes())
    for path in world.numbers:
        answer = world.http.get(f"/v1/proofs/{path}/4", headers={"Accept": "application/cbor"})
        assert answer.headers["content-type"] == "application/cbor"
        assert "attachment" in answer.headers["content-disposition"]
        verified = verify_proof(answer.content, trust)
        assert (verified.stream, verified.sequence) == (path, 4)
    assert get(world, "proofs/pump-1/temperature/6", 404)["code"] == "query.sequence"


def test_a_proof_shows_its_steps(world: World) -> None:
    found = get(world, "proofs/pump-1/temperature/0", format="json")
    assert [step["number"] for step in found["steps"]] == list(range(1, 10))
    assert all(step["ok"] for step in found["steps"])
    assert "signed by device pump-1" in found["steps"][6]["detail"]
    assert found["proof"]["leaf"]["stream"] == "pump-1/temperature"
    assert found["bytes"] < 6000


def test_many_proofs_in_one_request(world: World) -> None:
    body = cbor2.dumps(["pump-2/temperature", [5, 0, 3]])
    answer = world.http.post("/v1/proofs", content=body, headers={"Content-Type": "application/cbor"})
    trust = parse_trust(world.process.home.trust_file.read_bytes())
    assert [verify_proof(proof, trust).sequence for proof in cbor2.loads(answer.content)] == [5, 0, 3]
    for bad in (b"", b"\xff", cbor2.dumps(["pump-2/temperature", []]), cbor2.dumps(["x", [1]]), cbor2.dumps([1, [1]])):
        assert world.http.post("/v1/proofs", content=bad).status_code == 400
    many = cbor2.dumps(["pump-2/temperature", [0] * 257])
    assert world.http.post("/v1/proofs", content=many).json()["code"] == "api.too_large"


def test_the_sdk_verifies_all_readings(world: World) -> None:
    for path in world.numbers:
        readings = world.chain.readings(path)
        assert len(readings) == 18


def test_state_answers_verify_at_a_height(world: World) -> None:
    for height in (None, world.anchors[0][0].height + 1):
        params = {} if height is None else {"height": height}
        key = b"devices/device/pump-1".hex()
        answer = cbor2.loads(world.http.get(f"/v1/state/{key}", params=params).content)
        version, value, proof, header, commit, members = answer
        if height is not None:
            assert version == height - 1
        assert b"pump-1" in value
        assert all((proof, header, commit, members))
    assert get(world, "state/zz", 400)["code"] == "api.parameter"
    assert get(world, "state/00", 404, height=10**9)["code"] == "engine.unknown_height"


def test_batches_newest_first_and_by_gateway(world: World) -> None:
    gateway = format_address(world.gateway.address)
    for params in ({}, {"gateway": gateway}):
        found = everything(world, "batches", "batches", 4, **params)
        assert [batch["number"] for batch in found] == [5, 4, 3, 2, 1, 0]
        assert [batch["root"] for batch in found] == [root.hex() for _, root in reversed(world.anchors)]
        assert found[0]["transaction"] == world.anchors[-1][0].tx_id.hex()
        assert (found[0]["size"], found[0]["streams"], len(found[0]["locators"])) == (3, 3, 1)
    assert get(world, "batches", gateway=format_address(bytes(20)))["batches"] == []
    one = get(world, f"batches/{world.anchors[1][1].hex()}")
    assert one["number"] == 1
    assert [entry["stream"] for entry in one["entries"]] == sorted(world.numbers, key=world.numbers.__getitem__)
    assert get(world, "batches/" + "0" * 64, 404)["code"] == "query.batch"


def test_refusals_newest_first(world: World) -> None:
    log = RefusalLog(LocalObjects(world.process.home.archive_dir), world.gateway.address)
    new = [
        Refusal(EPOCH_NS + at, "pump-1", "temperature", "mqtt", "message.replayed", f"counter {at}", bytes(32), 9)
        for at in range(7)
    ]
    log.append(new)
    found = everything(world, "refusals", "refusals", 3)
    assert [one["reason"] for one in found] == [f"counter {at}" for at in range(6, -1, -1)]
    assert (found[0]["gateway"], found[0]["bytes"]) == (format_address(world.gateway.address), 9)
    assert get(world, "refusals", 400, cursor="x")["code"] == "archive.cursor"


def test_parameters_in_force(world: World) -> None:
    assert get(world, "parameters")["tx_lifetime_max_s"] == 600


def test_health_and_metrics(world: World) -> None:
    assert world.http.get("/healthz").json() == {"status": "alive"}
    assert world.http.get("/readyz").json() == {"ready": True, "reasons": []}
    text = world.http.get("/metrics").text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(samples['althing_node_transactions_total{code="ok"}']) == 13
    assert float(samples["althing_node_height"]) >= world.anchors[-1][0].height
    assert float(samples["althing_node_ready"]) == 1
    assert float(samples["althing_node_durable_write_seconds_count"]) > 13
    assert float(samples["althing_node_archive_segments"]) == 6
    assert any('route="/v1/status"' in name for name in samples), "requests are measured by route"


def test_answers_are_of_the_declared_form(world: World) -> None:
    """Every GET of the description that needs no parameter answers with exactly the fields of its schema."""
    document = world.http.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    checked = 0
    for path, operations in document["paths"].items():
        content = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if "{" in path or "$ref" not in schema:
            continue
        answer = world.http.get(path).json()
        declared = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        assert set(answer) == set(declared["properties"]), path
        checked += 1
    assert checked >= 10


def test_the_page_or_a_hint_stands_at_the_root(world: World) -> None:
    answer = world.http.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_other_names_of_this_host_are_refused(world: World) -> None:
    """A page that points its own name at 127.0.0.1 must not read this node (DNS rebinding)."""
    port = httpx2.URL(world.process.url).port
    for host, status in (("evil.example", 421), (f"evil.example:{port}", 421), (f"localhost:{port}", 200)):
        assert world.http.get("/v1/status", headers={"Host": host}).status_code == status


def test_a_name_that_is_none_of_a_stream_is_told_before_anybody_is_asked(world: World) -> None:
    for read in (lambda: world.chain.proof("nonsense", 0), lambda: world.chain.readings("a/b/c")):
        with pytest.raises(AlthingError) as raised:
            read()
        assert raised.value.code == "stream.path"
        assert "althing stream list" in raised.value.hint
