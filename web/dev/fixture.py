"""A stand-in for a node while the page is being worked on: the REST API over `chain.py`, and the built page.

    .venv/bin/python web/dev/fixture.py [--port 8080]      then `npm run dev` in web/, or the built page on this port

It prints its address on the first line. Only what the page asks for is here; a node does much more.
"""

# ruff: noqa: E402 -- see `dont_write_bytecode`

from __future__ import annotations

import argparse
import base64
import json
import mimetypes
import sys
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

sys.dont_write_bytecode = True  # a cache file here would count as a source of the page

from chain import NS, Chain, Simulated, measure, populated

from althing.ledger.query import LedgerView
from althing.node.trustway import Pin
from althing.protocol.address import did, format_address, key_id
from althing.protocol.codec import encode
from althing.protocol.messages.devices import DeviceState
from althing.protocol.record import Record
from althing.protocol.trust import format_trust

STATIC = Path(__file__).resolve().parents[2] / "src" / "althing" / "console" / "static"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TICK_S = 2.0


class RefusalError(Exception):
    def __init__(self, status: int, code: str, detail: str, hint: str = "") -> None:
        self.status = status
        self.document = {
            "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status,
            "detail": detail, "code": code, "hint": hint,
        }  # fmt: skip


class Api:
    """The answers, each a function of path and query."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.lock = threading.Condition()
        self.organisation = format_address(chain.admin.address)
        self.gateway = format_address(chain.gateway.address)

    def get(self, path: list[str], query: dict[str, str]) -> object:
        match path:
            case ["status"]:
                return self.status()
            case ["trust"]:
                return json.loads(format_trust(self.chain.proofs.trust(_optional(query.get("height")))))
            case ["network"]:
                return self.network(int(query.get("window", "100")))
            case ["blocks"]:
                return page("blocks", [self.block(h) for h in range(self.chain.latest_height, 0, -1)], query)
            case ["blocks", height]:
                return self.block(self.height(height), whole=True)
            case ["transactions"]:
                found = [self.transaction(made, tx) for made in reversed(self.chain.blocks) for tx in made.transactions]
                return page("transactions", found, query)
            case ["transactions", tx_id]:
                return self.one_transaction(tx_id)
            case ["devices"]:
                return page("devices", [self.device(device) for device in self.chain.devices], query)
            case ["devices", name]:
                return self.device(self.find(name))
            case ["accounts", address]:
                known = {self.organisation: "acme", self.gateway: "gateway-1"}
                if address in known:
                    return {"address": address, "name": known[address]}
            case ["streams"]:
                wanted = [d for d in self.chain.devices if query.get("device", d.name) == d.name]
                return page("streams", [self.stream(device) for device in wanted], query)
            case ["streams", name, stream]:
                return self.stream(self.find(name, stream))
            case ["streams", name, stream, "readings"]:
                return self.readings(self.find(name, stream), query)
            case ["streams", name, stream, "series"]:
                return self.series(self.find(name, stream), query)
            case ["streams", name, stream, "messages", sequence]:
                return self.message(self.find(name, stream), int(sequence))
            case ["batches"]:
                return page("batches", [self.batch(item) for item in reversed(self.chain.batches)], query)
            case ["refusals"]:
                return page("refusals", self.refusals(), query)
        raise RefusalError(
            404, "api.not_found", "there is no such resource", "look at the list of resources in the API docs"
        )

    def status(self) -> dict:
        last = self.chain.blocks[-1].signed.header
        return {
            "chain_id": last.chain_id, "genesis_hash": self.chain.genesis_hash.hex(), "height": last.height,
            "block_hash": last.hash().hex(), "block_time": rfc3339(last.time.ns), "app_hash": last.app_hash.hex(),
            "state_height": last.height, "engine": "solo", "phase": "running", "version": "0.1.0", "node": "node-1",
            "pool_count": 0, "base_height": 1,
        }  # fmt: skip

    def network(self, window: int) -> dict:
        """One embedded validator, as a node with the engine `solo` answers; four of them are seen on a real network."""
        status, blocks = self.status(), self.chain.blocks[:-1][-window:]
        member = self.chain.validators(status["height"]).validators[0]
        return {
            "chain_id": status["chain_id"],
            "node": {"node": self.gateway, "name": "acme-node-1", "organisation": "acme", "peer_id": "",
                     "validator": member.address.hex(), "software": "0.1.0", "engine": "solo", "engine_version": "0.1.0",
                     "app_version": 1},
            "sync": {"phase": "running", "conditions": [], "height": status["height"], "state_height": status["height"],
                     "base_height": 1, "latest_block_time": status["block_time"], "peers_height": None,
                     "blocks_behind": None},
            "window": {"first": status["height"] - len(blocks), "last": status["height"] - 1, "blocks": len(blocks)},
            "total_power": member.power,
            "validators": [{"address": member.address.hex(), "public_key": member.public_key.hex(),
                            "organisation": self.organisation, "organisation_name": "acme", "power": member.power,
                            "blocks": len(blocks), "signed": len(blocks), "missed": 0, "signed_share": 1.0,
                            "proposed": len(blocks), "last_signed_height": status["height"] - 1,
                            "marks": "s" * len(blocks), "this_node": True, "peer": None}],
            "recent_blocks": [{"height": made.signed.header.height, "proposer": member.address.hex(), "round": 0,
                               "signed": 1, "validators": 1} for made in reversed(blocks[-20:])],
            "peers": [],
        }  # fmt: skip

    def height(self, text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= self.chain.latest_height:
            raise RefusalError(
                404, "query.unknown_height", f"there is no block at height {text}", "the newest is in /v1/status"
            )
        return int(text)

    def block(self, height: int, *, whole: bool = False) -> dict:
        made = self.chain.blocks[height - 1]
        header = made.signed.header
        answer = {
            "height": height, "hash": header.hash().hex(), "time": rfc3339(header.time.ns),
            "app_hash": header.app_hash.hex(), "proposer": header.proposer_address.hex(),
            "transactions": len(made.transactions), "bytes": made.size,
        }  # fmt: skip
        if whole:
            names = ("last_commit_hash", "data_hash", "validators_hash", "next_validators_hash", "consensus_hash",
                     "last_results_hash", "evidence_hash")  # fmt: skip
            answer |= {name: getattr(header, name).hex() for name in names}
            answer["last_block_hash"] = header.last_block_id.hash.hex()
            answer["commit"] = {"height": height, "round": 0, "signatures": [
                {"flag": entry.flag.name.lower(), "address": entry.address.hex(), "time": rfc3339(entry.timestamp.ns),
                 "signature": entry.signature.hex()} for entry in made.signed.commit.signatures]}  # fmt: skip
            answer["transaction_ids"] = [tx["receipt"].tx_id.hex() for tx in made.transactions]
        return answer

    def transaction(self, made, tx: dict) -> dict:
        body, receipt = tx["transaction"], tx["receipt"]
        return {
            "id": receipt.tx_id.hex(), "height": tx["height"], "index": 0, "code": receipt.code,
            "gas_used": receipt.gas_used, "messages": [message.TYPE for message in body.messages],
            "signers": [format_address(signer) for signer in body.signers],
        }  # fmt: skip

    def one_transaction(self, tx_id: str) -> dict:
        for made in self.chain.blocks:
            for tx in made.transactions:
                if tx["receipt"].tx_id.hex() == tx_id:
                    receipt = tx["receipt"]
                    body = tx["transaction"]
                    return {
                        "id": tx_id, "height": tx["height"], "bundle": 0, "index": 0, "bytes": 412,
                        "receipt": {
                            "code": receipt.code, "gas_used": receipt.gas_used,
                            "events": [{"name": e.name, "values": [readable(v) for v in e.values]} for e in receipt.events],
                        },
                        "transaction": {
                            "signers": [format_address(signer) for signer in body.signers],
                            "payer": format_address(body.payer), "gas_limit": body.gas_limit, "fee": body.fee,
                            "expiry": rfc3339(body.expiry * NS), "nonce": body.nonce.hex(),
                            "messages": [{"type": m.TYPE, **readable(m)} for m in body.messages],
                        },
                    }  # fmt: skip
        raise RefusalError(404, "query.transaction", "no such transaction was executed", "it may be pending or expired")

    def find(self, name: str, stream: str | None = None) -> Simulated:
        for device in self.chain.devices:
            if device.name == name and stream in (None, device.stream):
                return device
        raise RefusalError(404, "query.device", f"there is no device {name}", "the names are in /v1/devices")

    def device(self, device: Simulated) -> dict:
        view = LedgerView(self.chain.ledger.store, self.chain.latest_height - 1)
        record = view.device(device.name)
        account = view.account(record.address)
        return {
            "name": record.name, "address": format_address(record.address),
            "did": did("fixture-1", record.address), "organisation": self.organisation, "gateway": self.gateway,
            "state": DeviceState(record.state).name.lower(), "registered_at": rfc3339(record.registered_at * NS),
            "metadata": dict(record.metadata),
            "keys": [{
                "suite": entry.key.suite.name, "public": entry.key.public.hex(),
                "kid": key_id(entry.key.suite, entry.key.public).hex(), "valid_from": rfc3339(entry.valid_from * NS),
                "valid_to": None, "revoked_at": None,
            } for entry in account.keys],
            "streams": [device.path],
        }  # fmt: skip

    def stream(self, device: Simulated) -> dict:
        last = self.chain.batches[-1]
        return {
            "stream": device.path, "number": device.number, "device": device.name, "organisation": self.organisation,
            "gateway": self.gateway, "schema_version": 0,
            "schema": {"content_type": "application/senml+json", "backfill": device.backfill},
            "quantities": [{"name": q.name, "unit": q.unit, "kind": "number"} for q in device.quantities],
            "next_sequence": len(device.leaves), "log_size": len(self.chain.batches),
            "defined_at": rfc3339(self.chain.genesis.time * NS),
            "last_anchor": {"root": last["root"].hex(), "height": last["height"], "time": rfc3339(last["time_s"] * NS)},
        }  # fmt: skip

    def selected(self, device: Simulated, query: dict[str, str]) -> list[tuple[int, dict]]:
        basis = query.get("time", "device")
        low, high = _ns(query.get("from")), _ns(query.get("to"))
        found = []
        for reading in device.readings:
            at = {"device": reading["device_ns"], "arrival": reading["arrival_ns"],
                  "block": reading["block_time_s"] * NS}[basis]  # fmt: skip
            wanted = query.get("quantity", reading["quantity"]) == reading["quantity"]
            if wanted and (low is None or at >= low) and (high is None or at < high):
                found.append((at, reading))
        found.sort(key=lambda pair: (pair[0], pair[1]["sequence"], pair[1]["index"]))
        return found

    def readings(self, device: Simulated, query: dict[str, str]) -> dict:
        found = [reading for _, reading in self.selected(device, query)]
        if query.get("order") == "desc":
            found.reverse()
        answer = page("readings", [readings_json(reading) for reading in found], query)
        return {**answer, "as_of": {"height": self.chain.latest_height}}

    def series(self, device: Simulated, query: dict[str, str]) -> dict:
        found = [(at, r) for at, r in self.selected(device, query) if r["value"] is not None]
        points = max(1, int(query.get("points", "400")))
        size = -(-len(found) // points) or 1
        buckets = [found[i : i + size] for i in range(0, len(found), size)]
        return {"points": [
            {"t": rfc3339(bucket[-1][0]), "min": min(values), "max": max(values), "last": values[-1],
             "sequence": bucket[-1][1]["sequence"], "index": bucket[-1][1]["index"], "count": len(bucket)}
            for bucket in buckets for values in [[float(r["value"]) for _, r in bucket]]
        ]}  # fmt: skip

    def message(self, device: Simulated, sequence: int) -> dict:
        if sequence >= len(device.messages):
            raise RefusalError(404, "query.message", f"{device.path} has no message {sequence} yet")
        item = device.messages[sequence]
        return {
            "sequence": sequence, "arrival_time": rfc3339(item["arrival_ns"]), "content_type": item["content_type"],
            "origin": item["origin"], "body": base64.b64encode(item["body"]).decode(),
            "leaf_hash": item["leaf_hash"].hex(), "batch_root": self.chain.batches[-1]["root"].hex(),
            "readings": [readings_json(reading) for reading in item["readings"]],
        }  # fmt: skip

    def batch(self, item: dict) -> dict:
        return {
            "gateway": self.gateway, "number": item["number"], "root": item["root"].hex(), "size": item["size"],
            "streams": item["streams"], "height": item["height"], "time": rfc3339(item["time_s"] * NS),
            "locators": ["segment://fixture"], "transaction": item["transaction"].hex(),
        }  # fmt: skip

    def refusals(self) -> list[dict]:
        now = self.chain.time_s
        rows = [
            ("http", "senml.value", "the record has neither value nor sum", "fridge-12", "climate", 61),
            ("mqtt", "cose.signature", "the device's signature does not verify", "machine-7", "bearing", 240),
            ("mqtt", "gateway.device_suspended", "the device is suspended", "boiler-3", "supply", 410),
            ("mqtt", "message.replayed", "counter 17 was used before", "machine-7", "bearing", 935),
            ("http", "message.too_large", "300000 bytes are more than the 262144 allowed", "lobby-1", "air", 2400),
        ]
        return [
            {"time": rfc3339((now - ago) * NS + 125_000_000), "gateway": self.gateway, "device": device, "stream": stream,
             "transport": transport, "code": code, "reason": reason, "hash": encode([code]).hex().ljust(64, "a"),
             "bytes": 180 + ago}
            for transport, code, reason, device, stream, ago in rows
        ]  # fmt: skip

    def go_on(self) -> None:
        """New messages every few seconds, so that there is something to watch."""
        while True:
            time.sleep(TICK_S)
            with self.lock:
                self.chain.time_s = max(self.chain.time_s, int(time.time()))
                active = [(self.chain.devices[0], 1), (self.chain.devices[1], 1), (self.chain.devices[3], 2)]
                self.chain.anchor([(d, [measure(d, len(d.leaves) + i) for i in range(n)]) for d, n in active])
                self.lock.notify_all()


def page(name: str, items: list, query: dict[str, str]) -> dict:
    limit, start = int(query.get("limit", "100")), int(query.get("cursor", "0"))
    rest = len(items) > start + limit
    return {name: items[start : start + limit], "next": str(start + limit) if rest else None}


def readings_json(reading: dict) -> dict:
    value = reading["value"]
    answer = {key: reading[key] for key in ("stream", "sequence", "index", "quantity", "kind", "value", "unit", "flags",
                                            "origin")}  # fmt: skip
    return answer | {
        "number": None if value is None else float(value), "device_time": rfc3339(reading["device_ns"]),
        "arrival_time": rfc3339(reading["arrival_ns"]), "block_time": rfc3339(reading["block_time_s"] * NS),
    }  # fmt: skip


def readable(value: object) -> object:
    """Records, bytes and tuples as JSON has them."""
    if isinstance(value, Record):
        return {name: readable(getattr(value, name)) for name, _ in value._fields()}
    if isinstance(value, bytes):
        return format_address(value) if len(value) == 20 else value.hex()
    if isinstance(value, tuple):
        return [readable(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.to_cbor_obj() if hasattr(value, "to_cbor_obj") else str(value)


def rfc3339(ns: int) -> str:
    seconds, nanos = divmod(ns, NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"


def _ns(text: str | None) -> int | None:
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


def _optional(text: str | None) -> int | None:
    return None if text is None else int(text)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/") if part]
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if parts[:1] != ["v1"]:
            return self.static(url.path)
        if parts == ["v1", "events"]:
            return self.events(query)
        try:
            with self.api.lock:
                if parts[1:2] == ["proofs"]:
                    return self.proof(parts, query)
                answer = self.api.get(parts[1:], query)
        except RefusalError as problem:
            return self.send(json.dumps(problem.document).encode(), "application/problem+json", problem.status)
        self.send(json.dumps(answer).encode(), "application/json")

    def proof(self, parts: list[str], query: dict[str, str]) -> None:
        _, _, device, stream, sequence = parts
        path = self.api.find(device, stream).path
        trusted, at = query.get("trusted_height"), query.get("height")
        pin = None if trusted is None else Pin(int(trusted))
        data = self.api.chain.proofs.proof(path, int(sequence), pin, None if at is None else int(at))
        self.send(data, "application/cbor")

    def events(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        cursor = self.headers.get("Last-Event-ID") or query.get("cursor")
        height = int(cursor.split(":")[0]) if cursor else self.api.chain.latest_height
        try:
            while True:
                with self.api.lock:
                    if self.api.chain.latest_height <= height and not self.api.lock.wait(timeout=15):
                        self.wfile.write(b": still here\n\n")
                    fresh = range(height + 1, self.api.chain.latest_height + 1)
                    blocks = [self.api.block(at) for at in fresh]
                for block in blocks:
                    height = block["height"]
                    data = json.dumps({key: block[key] for key in ("height", "hash", "time", "transactions")})
                    self.wfile.write(f"id: {height}:0\nevent: block\ndata: {data}\n\n".encode())
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def static(self, path: str) -> None:
        file = (STATIC / path.lstrip("/")).resolve()
        if path == "/":
            file = STATIC / "index.html"
        if not file.is_relative_to(STATIC) or not file.is_file():
            return self.send(b"not found", "text/plain", 404)
        self.send(file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")

    def send(self, data: bytes, content_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", CSP)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=8080)
    arguments.add_argument("--still", action="store_true", help="no new messages: for screenshots that do not change")
    options = arguments.parse_args()
    Handler.api = Api(populated(int(time.time()) - 3600))
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    if not options.still:
        threading.Thread(target=Handler.api.go_on, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
