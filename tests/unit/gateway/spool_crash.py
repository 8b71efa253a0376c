"""Run by test_spool.py in a process of its own: appends for ever and prints each sequence that was accepted."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from althing.gateway.ingest.port import Accepted, Outcome
from althing.gateway.spool.spool import Spool, SpoolConfig
from althing.service.faultpoints import arm_from_environment


def told(outcome: Outcome) -> None:
    assert isinstance(outcome, Accepted)
    print(outcome.sequence, flush=True)


async def main() -> None:
    arm_from_environment()
    spool = Spool(Path(sys.argv[1]), bytes(32), SpoolConfig(segment_bytes=4096))
    spool.adopt("d/a", 0)
    for number in range(10_000):
        body = b"%d " % number + b"." * 700
        spool.append_message("d/a", b"d/a", 1, "d", 1, b"text/plain", True, body, None, b"", told)
        if number % 3 == 0:
            await spool.barrier()


asyncio.run(main())
