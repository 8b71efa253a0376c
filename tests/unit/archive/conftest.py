"""An archive in a folder, and gateways that anchor batches with made-up but exact contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from althing.archive import ArchiveReader, AsOf, Sealed, SegmentWriter, StreamPart, open_objects
from althing.protocol.batch import Leaf, Origin, build_batch
from althing.protocol.hashing import sha256
from althing.protocol.message import CONTENT_TYPE_COSE, sign_message
from althing.protocol.messages.streams import AnchorRow
from althing.protocol.schema import Quantity, StreamSchema
from althing.protocol.signatures import PrivateKey

GENESIS = sha256(b"a genesis of tests")
SECOND = 10**9
T0 = 1_700_000_000 * SECOND
SENML = "application/senml+json"
SCHEMA = StreamSchema((Quantity("t", "Cel"), Quantity("h", "%RH")), content_type=SENML)


@dataclass
class Message:
    """What a device sent and when it arrived."""

    body: bytes
    arrival_ns: int
    content_type: str = SENML
    origin: Origin = Origin.GATEWAY


def senml(value: str, time_s: str, name: str = "t", unit: str = "Cel") -> bytes:
    return f'[{{"n":"{name}","u":"{unit}","v":{value},"t":{time_s}}}]'.encode()


def pack(values: Sequence[str], start_s: int) -> bytes:
    records = [f'{{"n":"t","u":"Cel","v":{value},"t":{start_s + at}}}' for at, value in enumerate(values)]
    return f"[{','.join(records)}]".encode()


@dataclass
class Chain:
    """A gateway and the chain's answer to its anchors: blocks of one second, next sequences, rows."""

    gateway: bytes = b"g" * 20
    number: int = 0
    height: int = 10
    next_sequences: dict[int, int] = field(default_factory=dict)
    anchor_rows: dict[int, list[AnchorRow]] = field(default_factory=dict)
    schemas: dict[int, tuple[int, StreamSchema]] = field(default_factory=dict)
    roots: list[bytes] = field(default_factory=list)

    def anchor(self, messages: dict[int, Sequence[Message]]) -> Sealed:
        """A batch of messages by stream number, as the gateway makes it and the chain takes it."""
        groups, parts = [], []
        for stream in sorted(messages):
            first = self.next_sequences.get(stream, 0)
            version, schema = self.schemas.get(stream, (0, SCHEMA))
            leaves = [
                Leaf(
                    1,
                    sha256(b"%d %d" % (stream, first + at))[:16],
                    f"dev{stream}/main",
                    first + at,
                    message.arrival_ns,
                    message.content_type,
                    message.origin,
                    message.body,
                ).to_bytes()
                for at, message in enumerate(messages[stream])
            ]
            groups.append((stream, first, leaves))
            parts.append(StreamPart(stream, f"dev{stream}/main", first, len(leaves), version, schema))
            self.next_sequences[stream] = first + len(leaves)
        batch = build_batch(groups)
        time_ns = T0 + self.height * SECOND
        offset = 0
        for part in parts:
            row = AnchorRow(
                1, batch.root, len(batch.leaves), offset, part.first, part.count, self.height, time_ns, self.gateway,
                part.schema_version,
            )  # fmt: skip
            self.anchor_rows.setdefault(part.stream, []).append(row)
            offset += part.count
        sealed = Sealed(self.gateway, self.number, batch.root, self.height, time_ns, tuple(parts), batch.leaves)
        self.number += 1
        self.height += 1
        self.roots.append(batch.root)
        return sealed

    def head(self, stream: int) -> AsOf:
        return AsOf(self.height, self.next_sequences.get(stream, 0))

    def rows(self, stream: int, first: int, end: int) -> list[AnchorRow]:
        return [row for row in self.anchor_rows.get(stream, []) if row.first < end and row.first + row.count > first]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def writer(folder: Path) -> SegmentWriter:
    return SegmentWriter(open_objects(str(folder)), GENESIS)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def make_reader(folder: Path, chain: Chain) -> Callable[[], ArchiveReader]:
    def make() -> ArchiveReader:
        return ArchiveReader(open_objects(str(folder), read_only=True), anchors=chain, wait_s=0)

    return make


def signed(key: PrivateKey, stream: str, counter: int, payload: bytes, time_ns: int | None = None) -> bytes:
    return sign_message(key, GENESIS, "test-1", stream, counter, payload, content_type=SENML, time_ns=time_ns)


__all__ = ["CONTENT_TYPE_COSE", "GENESIS", "SECOND", "SENML", "T0", "Chain", "Message", "pack", "senml", "signed"]
