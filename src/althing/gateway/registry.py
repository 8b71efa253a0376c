"""The gateway's view of devices, keys and streams: loaded once, kept current by the ledger's events, kept on the disk.

Every record in it was proved. Events only say where to look; since a node might keep one back, the whole view is looked at
again, a part at a time, at another node where there is one, and only headers that go on prove that it is current.

While the ledger is away the view serves for `age_max_s`; then nobody can tell whether a device was suspended since, and
messages get Busy. Lookups are plain dictionary reads, because every message makes two.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from althing.gateway.definitions import Definitions
from althing.gateway.errors import LedgerError, SettingsError
from althing.gateway.ledger import Cursor, DeviceView, LedgerEvent, LedgerPort, LedgerStatus, Looked, StreamView
from althing.gateway.registry_file import RegistryFile, Saved
from althing.protocol.address import address_of_key, key_id
from althing.protocol.errors import AlthingError
from althing.protocol.messages.identity import KeyEntry
from althing.protocol.messages.streams import StreamDefinition
from althing.protocol.signatures import Suite

__all__ = ["Registry"]

_log = structlog.get_logger("althing.gateway.registry")

_BACKOFF_S: Final = (0.2, 0.5, 1, 2, 5)
_SAVE_EVERY_S: Final = 5.0
_UNKNOWN_S: Final = 2.0  # how long "there is no such stream" is believed without asking again
_UNKNOWN_MAX: Final = 10_000
_CONFIRM_EVERY_S: Final = 1.0  # blocks may come faster than it is worth proving that they do
_CHECK_EVERY_S: Final = 10.0
_CHECK_MAX: Final = 100  # devices, and streams, looked at again at a time


class Registry:
    """Devices and streams of one gateway. `on_device` is told each device whose standing or keys changed."""

    def __init__(
        self,
        ledger: LedgerPort,
        gateway: bytes,
        chain_id: str,
        genesis_hash: bytes,
        file: RegistryFile,
        *,
        age_max_s: int = 3600,
        check_every_s: float = _CHECK_EVERY_S,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.chain_id = chain_id
        self.genesis_hash = genesis_hash
        self.gateway = gateway
        self.devices: dict[str, DeviceView] = {}
        self.streams: dict[str, StreamView] = {}
        self.ledger_time_s = 0
        self.connected = False
        self.on_device: list[Callable[[DeviceView], None]] = []
        self.on_stream: list[Callable[[str], None]] = []
        self._ledger = ledger
        self._file = file
        self._age_max_ns = age_max_s * 1_000_000_000
        self._clock_ns = clock_ns
        self._confirmed_ns = 0  # when the view was last known to be current
        self._check_every_s = check_every_s
        self._checked = ["", ""]  # the last device and stream looked at again
        self._kept = (
            0  # the height up to which the view was complete before a restart, or before another node was asked
        )
        self._told = 0  # up to which the node in use says that it has told everything
        self._proved = 0  # the newest height that was proved to have come later than the one before
        self._proved_at = 0.0
        self._cursor: Cursor | None = None
        self._by_address: dict[bytes, str] = {}
        self._by_key: dict[tuple[Suite, bytes], list[str]] = {}
        self._by_number: dict[int, str] = {}
        self._definitions = Definitions()
        self._unknown: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._loaded = asyncio.Event()
        self._dirty = False
        self._saved_at = 0.0

    # --- lookups

    @property
    def height(self) -> int:
        """The view holds everything that, as far as nodes tell, was decided up to this height, which is proved."""
        return max(self._kept, min(self._told, self._ledger.proved_height))

    @property
    def usable(self) -> bool:
        """True while the view is young enough to decide by."""
        return self._confirmed_ns > 0 and self._clock_ns() - self._confirmed_ns <= self._age_max_ns

    @property
    def age_s(self) -> int:
        """Seconds since the view was last known to be current; -1 when it never was."""
        return (self._clock_ns() - self._confirmed_ns) // 1_000_000_000 if self._confirmed_ns else -1

    def key_of(self, device: DeviceView, kid: bytes, suite: Suite) -> KeyEntry | None:
        """The device's active key of this id and suite."""
        now = self.now_s()
        for entry in device.keys:
            key = entry.key
            if key.suite == suite and entry.active_at(now) and key_id(key.suite, key.public) == kid:
                return entry
        return None

    def device_of_key(self, suite: Suite, public: bytes, name: str = "") -> DeviceView | None:
        """The device whose active key this is.

        Anybody may register a key he has merely seen under another device. So where several have it, it is the one
        called `name`, else the one that proved possession (its address is the key's), and else none of them.
        """
        kid = key_id(suite, public)
        held = [self.devices[known] for known in self._by_key.get((suite, public), ())]
        held = [device for device in held if self.key_of(device, kid, suite) is not None]
        own = address_of_key(suite, public)
        chosen = [device for device in held if device.name == name] or [d for d in held if d.address == own] or held
        return chosen[0] if len(chosen) == 1 else None

    def now_s(self) -> int:
        """Ledger time, carried on by the clock while the chain is idle or away."""
        return max(self.ledger_time_s, self._clock_ns() // 1_000_000_000)

    def path_of(self, number: int) -> str:
        return self._by_number.get(number, f"number {number}")

    async def definition_at(self, path: str, sequence: int, height: int) -> StreamDefinition:
        """The definition under which the block of this height anchored a message; LedgerError while nobody can tell.

        Where the view was not complete the anchor's row on the ledger says it.
        """
        if self.height < height:
            raise LedgerError("ledger.behind", f"the registry has seen height {self.height}, not yet {height}")
        return self._definitions.at(path, height) or await self._ledger.anchored_under(path, sequence)

    def surely_unknown(self, path: str) -> bool:
        """True when the ledger said a moment ago that there is no such stream of this gateway."""
        until = self._unknown.get(path)
        return until is not None and asyncio.get_running_loop().time() < until

    async def look_up(self, path: str) -> bool:
        """Ask the ledger for a stream and its device that are not in the view. False when no node answers."""
        task = self._asking.get(path)
        if task is None:
            task = self._asking[path] = asyncio.create_task(self._ask(path))
            task.add_done_callback(lambda _: self._asking.pop(path, None))
        try:
            await asyncio.shield(task)
        except AlthingError:
            return False
        return True

    async def _ask(self, path: str) -> None:
        name = path.partition("/")[0]
        stream = await self._ledger.stream(path)
        device = (await self._ledger.look((name,), ())).devices[name]
        if device is not None:
            self._put_device(device)
        if stream is not None and device is not None:
            self._put_stream(stream, self._ledger.proved_height)
            self._unknown.pop(path, None)
            return
        if len(self._unknown) >= _UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[path] = asyncio.get_running_loop().time() + _UNKNOWN_S

    # --- following the ledger

    async def start(self) -> None:
        """Take up what was kept on the disk, and follow the ledger from there on."""
        saved = await asyncio.to_thread(self._file.load)
        if saved is not None and saved.genesis_hash == self.genesis_hash:
            for device in saved.devices:
                self._put_device(device)
            for stream in saved.streams:
                self._put_stream(stream, saved.cursor[0])
            self._kept, self.ledger_time_s, self._confirmed_ns = saved.cursor[0], saved.time_s, saved.confirmed_ns
            self._loaded.set()
        self._tasks = [
            asyncio.create_task(self._follow(), name="registry"),
            asyncio.create_task(self._check(), name="registry-check"),
        ]

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """What must run for as long as the registry does; one may be replaced by another."""
        return tuple(self._tasks)

    async def wait_loaded(self, timeout_s: float) -> bool:
        """Wait until there is a view to decide by, from the ledger or from the disk."""
        try:
            await asyncio.wait_for(self._loaded.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._save(force=True)

    async def _follow(self, after: asyncio.Task[None] | None = None) -> None:
        if after is not None:
            await asyncio.wait({after})
        failures = 0
        while True:
            try:
                await self._follow_once()
            except AlthingError as error:  # whatever nodes say, they are asked again
                failures = 0 if self.connected else failures
                delay = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
                failures += 1
                _log.warning("ledger away", code=error.code, reason=error.message, retry_s=delay, age_s=self.age_s)
            finally:
                self.connected = False
            await asyncio.sleep(delay)

    async def _follow_once(self) -> None:
        """Load the view and keep it current until the node is lost, which always raises."""
        # Events are asked for from before the load, so nothing falls between the two.
        status = await self._ledger.status()
        if status.genesis_hash != self.genesis_hash:
            raise SettingsError("gateway.foreign_chain", "the node serves another chain than this home's")
        await self._load(status.height)
        await self._confirm(status)
        # What another node said of heights to come counts no more.
        self._kept, self._told = self.height, 0
        await self._current(status.height)
        self._cursor = (status.height, 1 << 30)
        self._loaded.set()
        async for event in self._ledger.events(self._cursor):
            await self._apply(event)
        raise LedgerError("ledger.unavailable", "the events ended")

    async def _load(self, at_least: int) -> None:
        # A node lists what it likes, so what is known already is looked at too, listed or not.
        paths = sorted({*(await self._ledger.listed(self.gateway)), *self.streams})
        wanted = {path.partition("/")[0] for path in paths}
        looked = await self._ledger.look(sorted(wanted | self.devices.keys()), paths, at_least=at_least)
        self._take(looked)

    def _take(self, looked: Looked) -> None:
        for device in looked.devices.values():
            if device is not None:
                self._put_device(device)
        for path, stream in looked.streams.items():
            if stream is not None and stream.definition.gateway == self.gateway:
                self._put_stream(stream, looked.height)
            elif path in self.streams:
                del self.streams[path]
                self._tell_stream(path)

    async def _apply(self, event: LedgerEvent) -> None:
        name, values = event.name, event.values
        if name.startswith("devices.") and values:
            await self._refresh_devices((str(values[0]),), event.height)
        elif name.startswith("identity.") and values:
            known = self._by_address.get(values[0])
            await self._refresh_devices((known,) if known else (), event.height)
        elif name == "governance.organisation":
            # Its members' accounts are not usable any more, or are again.
            members = [d.name for d in self.devices.values() if d.organisation == values[0]]
            await self._refresh_devices(members, event.height)
        elif name == "streams.defined" and values[2] == self.gateway:
            await self._refresh_stream(str(values[1]), event.height)
        elif name in ("streams.updated", "streams.handed_over"):
            path = self._by_number.get(values[0])
            if path is not None:
                await self._refresh_stream(path, event.height)
            elif name == "streams.handed_over" and values[1] == self.gateway:
                await self._load(event.height)
        complete = name == "block" and values == (0,)
        if complete and asyncio.get_running_loop().time() - self._proved_at >= _CONFIRM_EVERY_S:
            await self._confirm(await self._ledger.status())
        await self._current(event.height if complete else event.height - 1)

    async def _confirm(self, status: LedgerStatus) -> None:
        """The chain went on, by proof: so the view is current, or the node that told of no change will be found out."""
        self._proved_at = asyncio.get_running_loop().time()
        self.ledger_time_s = max(self.ledger_time_s, status.time_s)
        if status.height > self._proved:
            self._proved = status.height
            self._confirmed_ns = self._clock_ns()

    async def _current(self, height: int) -> None:
        """The view holds everything that, as far as the node tells, was decided up to `height`."""
        self.connected = True
        self._told = max(self._told, height)
        await self._save()

    async def _refresh_devices(self, names: Iterable[str], height: int) -> None:
        known = [name for name in names if name in self.devices]
        if known:
            self._take(await self._ledger.look(known, (), at_least=height))

    async def _refresh_stream(self, path: str, height: int) -> None:
        device = path.partition("/")[0]
        looked = await self._ledger.look((device,), (path,), at_least=height)
        found, stream = looked.devices[device], looked.streams[path]
        if stream is None or found is None:
            return
        self._unknown.pop(path, None)
        self._put_device(found)
        self._put_stream(stream, looked.height)

    # --- looking again

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(self._check_every_s)
            if self.connected:
                try:
                    await self._check_some()
                except AlthingError as error:
                    _log.warning("registry not checked", code=error.code, reason=error.message)

    async def _check_some(self) -> None:
        """Look at the next devices and streams again; what a node kept back is taken, and the node left."""
        names, paths = self._next(0, self.devices), self._next(1, self.streams)
        if not names and not paths:
            return
        devices = {name: self.devices.get(name) for name in names}
        streams = {path: self.streams.get(path) for path in paths}
        height = self.height
        looked = await self._ledger.look(names, paths, elsewhere=True)
        withheld = []
        for name, device in devices.items():
            new = looked.devices[name]
            if self.devices.get(name) is device and new is not None and new != device:
                self._put_device(new)
                withheld.append(name)
        for path, stream in streams.items():
            now = looked.streams[path]
            if now is None or stream is None or self.streams.get(path) is not stream:
                continue
            if now.definition != stream.definition:
                self._put_stream(now, looked.height, told=False)
                withheld.append(path)
        if withheld and looked.height <= height:
            # All events up to `height` were told, and none of these changes was among them.
            _log.error("a node keeps changes back", code="node.lied", changed=withheld[:10], height=looked.height)
            self._ledger.doubt("events", "it kept changes back")
            before = self._tasks[0]
            self._tasks[0] = asyncio.create_task(self._follow(before), name="registry")
            before.cancel()

    def _next(self, which: int, known: Iterable[str]) -> list[str]:
        """The next names in order, round and round."""
        names = sorted(known)
        at = bisect_right(names, self._checked[which]) if names and self._checked[which] < names[-1] else 0
        chosen = names[at : at + _CHECK_MAX]
        self._checked[which] = chosen[-1] if chosen else ""
        return chosen

    def _put_device(self, device: DeviceView) -> None:
        before = self.devices.get(device.name)
        if before == device:
            return
        if before is not None:
            for entry in before.keys:
                names = self._by_key[entry.key.suite, entry.key.public]
                names.remove(device.name)
                if not names:  # keys rotate for as long as a gateway runs
                    del self._by_key[entry.key.suite, entry.key.public]
        self.devices[device.name] = device
        self._by_address[device.address] = device.name
        for entry in device.keys:
            self._by_key.setdefault((entry.key.suite, entry.key.public), []).append(device.name)
        self._dirty = True
        for tell in self.on_device:
            tell(device)

    def _put_stream(self, stream: StreamView, seen: int, *, told: bool = True) -> None:
        """As the state of block `seen` has it. What was not `told` by an event may have changed long ago."""
        if self.streams.get(stream.path) == stream:
            return
        self._definitions.learned(stream.definition, after=self.height if told else None, by=seen)
        self.streams[stream.path] = stream
        self._by_number[stream.definition.id] = stream.path
        self._dirty = True
        self._tell_stream(stream.path)

    def _tell_stream(self, path: str) -> None:
        for tell in self.on_stream:
            tell(path)

    async def _save(self, *, force: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        # A view that only got older is worth a write now and then: its age decides after a restart.
        due = _SAVE_EVERY_S if self._dirty else 6 * _SAVE_EVERY_S
        if not self._confirmed_ns or (not force and now - self._saved_at < due):
            return
        self._saved_at, self._dirty = now, False
        saved = Saved(
            self.genesis_hash,
            (self.height, 0),
            self.ledger_time_s,
            self._confirmed_ns,
            tuple(self.devices.values()),
            tuple(self.streams.values()),
        )
        try:
            await asyncio.to_thread(self._file.save, saved)
        except OSError as error:
            _log.warning("registry not saved", reason=error.strerror)
