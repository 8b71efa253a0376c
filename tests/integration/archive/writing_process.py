"""A gateway's writer as a process: anchors, writes and compacts, and says on stdout what is durable."""

from __future__ import annotations

import sys

from althing.archive import Sealed, SegmentWriter, StreamPart, open_objects
from althing.archive.compaction import Policy, compact
from althing.protocol.batch import Leaf, Origin, build_batch
from althing.protocol.schema import Quantity, StreamSchema

GENESIS = b"\x01" * 32
GATEWAY = b"g" * 20
T0 = 1_700_000_000
SCHEMA = StreamSchema((Quantity("t", "Cel"),), content_type="application/senml+json")


def sealed(number: int) -> Sealed:
    """Batch `number`: one message of stream 0, the same whenever it is made."""
    body = b'[{"n":"t","u":"Cel","v":%d.25,"t":%d}]' % (number, T0 + number)
    leaf = Leaf(1, number.to_bytes(16, "big"), "d/s", number, (T0 + number) * 10**9, "", Origin.GATEWAY, body)
    batch = build_batch([(0, number, [leaf.to_bytes()])])
    part = StreamPart(0, "d/s", number, 1, 0, SCHEMA)
    return Sealed(GATEWAY, number, batch.root, number + 1, (T0 + number) * 10**9, (part,), batch.leaves)


def main(folder: str, batches: int) -> None:
    writer = SegmentWriter(open_objects(folder), GENESIS)
    for number in range(writer.next_number(GATEWAY), batches):
        writer.write(sealed(number))
        print(number + 1, flush=True)
        if number % 5 == 4:
            compact(writer, Policy(fan_in=4))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
