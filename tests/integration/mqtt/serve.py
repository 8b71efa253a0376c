"""A server process to be killed: `python serve.py <directory>`; prints its port, keeps sessions and accepted messages.

The intake appends each message to a file, fsyncs, and remembers keys across restarts, as the spool does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from althing.gateway.ingest.mqtt import LmdbSessionStore, MqttConfig, MqttServer, OpenAccess, OpenAuthenticator
from althing.gateway.ingest.port import Accepted


class FileIntake:
    overloaded = False

    def __init__(self, path):
        self.known = {}
        self.count = 0
        if path.exists():
            for line in path.read_text().splitlines():
                self.count += 1
                self.known[line.split(" ")[0]] = self.count
        self.file = open(path, "a")  # noqa: SIM115

    def submit(self, item, done):
        key = item.dedup_key.hex()
        if key and key in self.known:
            done(Accepted(self.known[key], duplicate=True))
            return
        self.count += 1
        self.known[key] = self.count
        self.file.write(f"{key} {item.body.hex()}\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        asyncio.get_running_loop().call_later(0.001, done, Accepted(self.count))


async def main():
    directory = Path(sys.argv[1])
    store = LmdbSessionStore(directory / "sessions")
    server = MqttServer(
        MqttConfig(port=int(sys.argv[2]), sys_interval_s=0, restart_will_grace_s=1),
        FileIntake(directory / "accepted"),
        OpenAuthenticator(),
        OpenAccess(),
        store,
    )
    _, port = await server.start()
    print(port, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
