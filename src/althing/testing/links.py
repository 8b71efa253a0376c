"""What nodes on one machine reach each other by, so that a test can cut it: relays of our own, or network namespaces.

links.cut([0], [1, 2, 3]); links.heal()

A cut is silent, like a cable that is pulled: packets (or, at a relay, bytes) go nowhere, connections are not reset.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

__all__ = ["DirectLinks", "Links", "NamespaceLinks", "RelayLinks"]

P2P_PORT: Final = 26656
_CHUNK: Final = 64 * 1024
_CLONE_NEWNET: Final = 0x40000000
_NEVER: Final = "127.0.0.1:1"  # told to others as a node's address: they reach it by relays only


class Links(Protocol):
    """Where node `i` listens for its peers and its clients, how its peers name it, and what its process runs in."""

    def listen(self, i: int) -> str: ...

    def external(self, i: int) -> str:
        """The address that it tells others; empty: the one it listens on."""

    def peer(self, i: int, other: int) -> str:
        """host:port at which `i` finds `other`."""

    def api_host(self, i: int) -> str: ...

    def serve(self, i: int, port: int) -> None:
        """Clients of this process reach the API that node `i` has at `api_host` and this port."""

    def prefix(self, i: int) -> tuple[str, ...]:
        """What stands before the node's command."""

    def cut(self, *groups: Sequence[int]) -> None:
        """From now on nodes reach those of their own group only. Who is in no group is alone."""

    def heal(self) -> None: ...

    def close(self) -> None: ...


class DirectLinks:
    """Addresses of the loopback network that no other test uses; nothing can be cut."""

    def __init__(self, nodes: int) -> None:
        self._net = _free_net(nodes)

    def listen(self, i: int) -> str:
        return f"tcp://{self._net}.{i + 1}:{P2P_PORT}"

    def external(self, _i: int) -> str:
        return ""

    def peer(self, _i: int, other: int) -> str:
        return f"{self._net}.{other + 1}:{P2P_PORT}"

    def api_host(self, i: int) -> str:
        return f"{self._net}.{i + 1}"

    def serve(self, i: int, port: int) -> None:
        pass

    def prefix(self, _i: int) -> tuple[str, ...]:
        return ()

    def cut(self, *_groups: Sequence[int]) -> None:
        raise AssertionError("these links cannot be cut")

    def heal(self) -> None:
        pass

    def close(self) -> None:
        pass


class RelayLinks(DirectLinks):
    """A relay in this process for each ordered pair of nodes: user space alone, so it works without any rights."""

    def __init__(self, nodes: int) -> None:
        super().__init__(nodes)
        self._nodes = nodes
        self._relays = _Relays()
        self._ports = {
            (i, other): self._relays.add((self.api_host(other), 0), self._way(other))
            for i in range(nodes)
            for other in range(nodes)
            if i != other
        }

    def _way(self, other: int) -> Callable[[], socket.socket]:
        return lambda: socket.create_connection((self.api_host(other), P2P_PORT))

    def external(self, _i: int) -> str:
        return _NEVER

    def peer(self, i: int, other: int) -> str:
        return f"{self.api_host(other)}:{self._ports[i, other]}"

    def cut(self, *groups: Sequence[int]) -> None:
        for (i, other), port in self._ports.items():
            self._relays.open(port, any(i in group and other in group for group in groups))

    def heal(self) -> None:
        self.cut(range(self._nodes))

    def close(self) -> None:
        self._relays.close()


class NamespaceLinks:
    """A network namespace for each node, joined by bridges: a group of a cut is what is on one bridge. Needs root."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._net = _free_net(nodes)
        _remove_dead()
        self._names = [f"althing-{os.getpid()}-{next(_NUMBERS)}" for _ in range(nodes + 1)]
        self._relays = _Relays()
        self._threads: list[ThreadPoolExecutor] = []
        try:
            for name in self._names:
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
            for number in range(nodes):
                _ip("-n", self._hub, "link", "add", f"br{number}", "type", "bridge")
                _ip("-n", self._hub, "link", "set", f"br{number}", "up")
            for i in range(nodes):
                own = self._names[i]
                _ip("-n", own, "link", "add", "up0", "type", "veth", "peer", "name", f"v{i}", "netns", self._hub)
                _ip("-n", own, "addr", "add", f"10.99.0.{i + 1}/24", "dev", "up0")
                _ip("-n", own, "link", "set", "up0", "up")
                _ip("-n", self._hub, "link", "set", f"v{i}", "up")
                self._threads.append(
                    ThreadPoolExecutor(1, "namespace", initializer=_enter, initargs=(Path("/run/netns") / own,))
                )
            self.heal()
        except BaseException:
            self.close()
            raise

    @property
    def _hub(self) -> str:
        return self._names[-1]

    def listen(self, i: int) -> str:
        return f"tcp://10.99.0.{i + 1}:{P2P_PORT}"

    def external(self, _i: int) -> str:
        return ""

    def peer(self, _i: int, other: int) -> str:
        return f"10.99.0.{other + 1}:{P2P_PORT}"

    def api_host(self, i: int) -> str:
        return f"{self._net}.{i + 1}"

    def serve(self, i: int, port: int) -> None:
        at = (self.api_host(i), port)
        thread = self._threads[i]
        self._relays.add(at, lambda: thread.submit(socket.create_connection, at).result())

    def prefix(self, i: int) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self._names[i])

    def cut(self, *groups: Sequence[int]) -> None:
        alone = [[i] for i in range(self._nodes) if not any(i in group for group in groups)]
        for bridge, group in enumerate([*groups, *alone]):
            for i in group:
                _ip("-n", self._hub, "link", "set", f"v{i}", "master", f"br{bridge}")

    def heal(self) -> None:
        self.cut(range(self._nodes))

    def close(self) -> None:
        self._relays.close()
        for thread in self._threads:
            thread.shutdown()
        for name in self._names:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


_NUMBERS = count()


class _Relays:
    """TCP relays on an event loop of their own thread. A closed one takes connections and bytes and passes nothing on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._gates: dict[int, asyncio.Event] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._thread.start()

    def add(self, listen: tuple[str, int], way: Callable[[], socket.socket]) -> int:
        """Relay from this address (port 0: any) to where `way` connects; the port."""
        return asyncio.run_coroutine_threadsafe(self._add(listen, way), self._loop).result()

    async def _add(self, listen: tuple[str, int], way: Callable[[], socket.socket]) -> int:
        gate = asyncio.Event()
        gate.set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.CancelledError):
                await gate.wait()
                there, here = await asyncio.open_connection(sock=await asyncio.to_thread(way))
                await asyncio.wait(
                    [
                        asyncio.create_task(_pass_on(reader, here, gate)),
                        asyncio.create_task(_pass_on(there, writer, gate)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                here.close()
            writer.close()

        server = await asyncio.start_server(serve, *listen)
        port = int(server.sockets[0].getsockname()[1])
        self._gates[port] = gate
        return port

    def open(self, port: int, opened: bool) -> None:
        gate = self._gates[port]
        self._loop.call_soon_threadsafe(gate.set if opened else gate.clear)

    def close(self) -> None:
        async def end() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            await gate.wait()
            writer.write(data)
            await writer.drain()


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)  # noqa: S603, S607 -- fixed words
    return done.stdout


def _remove_dead() -> None:
    """Namespaces of test runs that were killed."""
    found: list[dict[str, Any]] = json.loads(_ip("-j", "netns", "list") or "[]")
    for name in (str(one["name"]) for one in found):
        own, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if own == "althing" and pid.isdecimal() and not Path("/proc", pid).exists():
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


def _enter(namespace: Path) -> None:
    """This thread's sockets are made in that namespace from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _free_net(nodes: int) -> str:
    """Three parts of loopback addresses at which nobody listens on the port for peers."""
    start = os.getpid() % 100
    for number in range(100):
        net = f"127.0.{100 + (start + number) % 100}"
        if net in _TAKEN:
            continue
        with suppress(OSError):
            for i in range(nodes):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((f"{net}.{i + 1}", P2P_PORT))
            _TAKEN.add(net)
            return net
    raise AssertionError("no loopback network is free")


_TAKEN: set[str] = set()
