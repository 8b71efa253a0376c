"""Bytes on the disk per reading in all: segments after compaction, blocks, state and index; beside the payload's bytes.

Devices publish SenML packs to a real gateway and node, without a break, so batches are as large as load makes them.
Then everything stops, segments are merged, and the disk is read.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from althing.archive import SegmentWriter, open_objects
from althing.archive.compaction import compact
from althing.protocol.genesis import genesis_hash
from bench.figures import Figure, at_most, reported
from bench.messages import running, site
from bench.processes import disk_bytes

__all__ = ["measure"]


def measure(folder: Path, console: Console, *, quick: bool) -> list[Figure]:
    devices, messages = (50, 2_000) if quick else (100, 40_000)
    figures = []
    for records in (10, 100):
        home = folder / str(records)
        count = messages * 10 // records if records == 100 else messages
        with site(home, devices=devices, signed=True, readings=True) as own:
            pass
        before = _parts(home)
        with running(own.home) as own:
            payload = own.publish(count, signed=True, records=records, devices=devices)["payload_bytes"]
            batches = own.status()["batches"]
        compact(SegmentWriter(open_objects(str(home / "archive")), genesis_hash(own.home.genesis())), everything=True)
        after = _parts(home)
        grown = {name: after[name] - before[name] for name in after}
        readings = count * records
        own_payload = payload / readings
        name = (
            f"disk per reading, packs of {records}, signed, {devices} devices, {count:,} messages in {batches} batches"
        )
        console.log(name, grown)
        total = sum(grown.values()) / readings
        text = f"payload, {own_payload:.1f} B/reading"
        if records == 100:
            figures.append(at_most(f"{name}: in all", total, "B/reading", 1.5, text, total / own_payload))
        else:
            figures.append(reported(f"{name}: in all", total, "B/reading", text, total / own_payload))
        for part, size in grown.items():
            figures.append(
                reported(f"{name}: {part}", size / readings, "B/reading", text, size / readings / own_payload)
            )
    return figures


def _parts(home: Path) -> dict[str, int]:
    return {
        "segments": disk_bytes(home / "archive"),
        "blocks": disk_bytes(home / "node" / "blocks"),
        "state": disk_bytes(home / "node" / "state"),
        "index": disk_bytes(home / "node" / "index"),
        "spool and sessions": disk_bytes(home / "gateway"),
    }
