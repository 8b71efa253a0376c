"""A node on a real port in a thread of its own, and a chain with devices, streams and anchored batches on it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import httpx2

from althing.archive.names import batch_locator
from althing.archive.objects import LocalObjects
from althing.archive.sealed import Sealed, StreamPart
from althing.archive.writer import SegmentWriter
from althing.client.client import load_signer
from althing.client.sending import Committed, Signer
from althing.client.sync import Client
from althing.node.config import ApiConfig, NodeConfig
from althing.node.daemon import NodeProcess
from althing.node.home import Home, create_home
from althing.protocol.batch import Leaf, Origin, build_batch
from althing.protocol.message import sign_message
from althing.protocol.messages.identity import AccountKind, Key
from althing.protocol.messages.streams import Anchor
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey, Suite

NS = 1_000_000_000
EPOCH_NS = 1_767_225_600 * NS  # 2026-01-01T00:00:00Z: where the device times of the test data begin


def key(name: str, suite: Suite = Suite.ED25519) -> PrivateKey:
    return PrivateKey(suite, sha256(b"node test " + name.encode()).digest())


class Running:
    """A NodeProcess, started when entered and stopped when left."""

    def __init__(self, home: Home, config: NodeConfig | None = None) -> None:
        self._process = NodeProcess(home, config or NodeConfig(api=ApiConfig(port=0)))
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> NodeProcess:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._process.start(), self.loop).result(30)
        except BaseException:
            self._end()
            raise
        return self._process

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._process.stop(), self.loop).result(30)
        self._end()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def new_home(path: Path) -> Home:
    return create_home(path, chain_id="test-1", organisation="acme", time_s=int(time.time()))


@dataclass
class World:
    """`pump-1` signs with Ed25519, `pump-2` with P-256, `old-1` cannot sign; each has a stream `temperature`."""

    process: NodeProcess
    chain: Client
    http: httpx2.Client
    gateway: Signer
    writer: SegmentWriter
    loop: asyncio.AbstractEventLoop
    numbers: dict[str, int] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    anchors: list[tuple[Committed, bytes]] = field(default_factory=list)

    def anchor(self, messages: Sequence[tuple[str, Sequence[float]]], *, archive: bool = True) -> Committed:
        """Anchor one message per stream with values a minute apart, and store the batch."""
        groups, parts = [], []
        for path, values in sorted(messages, key=lambda item: self.numbers[item[0]]):
            number, first = self.numbers[path], self.sequences.get(path, 0)
            leaf = Leaf(
                1,
                sha256(f"{path}{first}".encode()).digest()[:16],
                path,
                first,
                EPOCH_NS + (first * 10 + 5) * 60 * NS,
                "application/senml+json",
                Origin.GATEWAY if path.startswith("old") else Origin.DEVICE,
                self._body(path, first, values),
            )
            groups.append((number, first, [leaf.to_bytes()]))
            definition, _ = self.chain.stream(path)
            parts.append(StreamPart(number, path, first, 1, definition.schema_version, definition.schema))
            self.sequences[path] = first + 1
        batch = build_batch(groups)
        address, number = self.gateway.address, len(self.anchors)
        locators = (batch_locator(address, batch.root),)
        message = Anchor(address, number, batch.root, len(batch.leaves), batch.entries, locators)
        done = self.chain.send(message, signers=[self.gateway])
        height = done.height
        time_ns = self.process.node.engine.signed_header(height).header.time.ns
        if archive:
            self.writer.write(Sealed(address, number, batch.root, height, time_ns, tuple(parts), batch.leaves))
        self.anchors.append((done, batch.root))
        return done

    def _body(self, path: str, sequence: int, values: Sequence[float]) -> bytes:
        base = EPOCH_NS // NS + sequence * 600
        records = [{"n": "temperature", "u": "Cel", "v": v, "t": base + 60 * i} for i, v in enumerate(values)]
        payload = json.dumps(records).encode()
        if path.startswith("old"):
            return payload
        device = path.partition("/")[0]
        genesis_hash = self.process.node.ledger.genesis_hash
        return sign_message(
            device_key(device), genesis_hash, "test-1", path, sequence, payload, content_type="application/senml+json"
        )


def device_key(device: str) -> PrivateKey:
    return key(device, Suite.ES256 if device == "pump-2" else Suite.ED25519)


@contextmanager
def running_world(home: Home) -> Iterator[World]:
    """A fresh home's node with accounts, devices and streams; nothing anchored yet."""
    running = Running(home)
    with running as process, Client(process.url, signer=load_signer(home.admin_key_file)) as chain:
        own = key("gateway")
        gateway = Signer(Key(own.suite, own.public).address, (own,))
        chain.create_account(
            "gw-1", AccountKind.GATEWAY, [Key(own.suite, own.public)], holder=Signer(gateway.address, (own,))
        )
        writer = SegmentWriter(LocalObjects(home.archive_dir), process.node.ledger.genesis_hash)
        with httpx2.Client(base_url=process.url, timeout=20, headers={"Accept": "application/json"}) as http:
            world = World(process, chain, http, gateway, writer, running.loop)
            schema = StreamSchema((Quantity("temperature", "Cel"),), content_type="application/senml+json")
            for name in ("old-1", "pump-1", "pump-2"):
                signing = device_key(name)
                public = None if name == "old-1" else Key(signing.suite, signing.public)
                chain.register_device(name, key=public, gateway=gateway.address, metadata=[("place", "hall 1")])
                path = f"{name}/temperature"
                chain.define_stream(path, gateway.address, schema)
                world.numbers[path] = chain.stream(path)[0].id
            yield world
