"""The gateway's view of devices, keys and streams: loaded once, kept current by the ledger's events, kept on the disk.

While the ledger is away the view serves for `age_max_s`; then nobody can tell whether a device was suspended since, and
messages get Busy. Lookups are plain dictionary reads, because every message makes two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from althing.gateway.errors import LedgerError, SettingsError
from althing.gateway.ledger import Cursor, DeviceView, LedgerEvent, LedgerPort, StreamView
from althing.gateway.registry_file import RegistryFile, Saved
from althing.protocol.address import address_of_key, key_id
from althing.protocol.messages.identity import KeyEntry
from althing.protocol.messages.streams import StreamDefinition
from althing.protocol.signatures import Suite

__all__ = ["Registry"]

_log = structlog.get_logger("althing.gateway.registry")

_BACKOFF_S: Final = (0.2, 0.5, 1, 2, 5)
_SAVE_EVERY_S: Final = 5.0
_UNKNOWN_S: Final = 2.0  # how long "there is no such stream" is believed without asking again
_UNKNOWN_MAX: Final = 10_000
_VERSIONS_KEPT: Final = 4  # definitions of a stream: an anchor is archived seconds after its block


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
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.chain_id = chain_id
        self.genesis_hash = genesis_hash
        self.gateway = gateway
        self.devices: dict[str, DeviceView] = {}
        self.streams: dict[str, StreamView] = {}
        self.height = 0
        self.ledger_time_s = 0
        self.connected = False
        self.on_device: list[Callable[[DeviceView], None]] = []
        self.on_stream: list[Callable[[str], None]] = []
        self._ledger = ledger
        self._file = file
        self._age_max_ns = age_max_s * 1_000_000_000
        self._clock_ns = clock_ns
        self._confirmed_ns = 0  # when the view was last known to be current
        self._cursor: Cursor | None = None
        self._by_address: dict[bytes, str] = {}
        self._by_key: dict[tuple[Suite, bytes], list[str]] = {}
        self._by_number: dict[int, str] = {}
        self._history: dict[str, list[tuple[int, StreamDefinition]]] = {}
        self._unknown: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()
        self._dirty = False
        self._saved_at = 0.0

    # --- lookups

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

    async def definition_at(self, path: str, height: int) -> StreamDefinition:
        """The definition in force at a height, once the view has come there; LedgerError while it has not."""
        if self.height < height:
            raise LedgerError("ledger.behind", f"the registry has seen height {self.height}, not yet {height}")
        known = self._history[path]
        return next((definition for since, definition in reversed(known) if since <= height), known[0][1])

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
        except LedgerError:
            return False
        return True

    async def _ask(self, path: str) -> None:
        stream = await self._ledger.stream(path)
        device = await self._ledger.device(path.partition("/")[0])
        if device is not None:
            self._put_device(device)
        if stream is not None and device is not None:
            self._put_stream(stream)
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
                self._put_stream(stream)
            self.height, self.ledger_time_s, self._confirmed_ns = saved.cursor[0], saved.time_s, saved.confirmed_ns
            self._loaded.set()
        self._task = asyncio.create_task(self._follow(), name="registry")

    async def wait_loaded(self, timeout_s: float) -> bool:
        """Wait until there is a view to decide by, from the ledger or from the disk."""
        try:
            await asyncio.wait_for(self._loaded.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._save(force=True)

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                # Events are asked for from before the load, so nothing falls between the two.
                status = await self._ledger.status()
                if status.genesis_hash != self.genesis_hash:
                    raise SettingsError("gateway.foreign_chain", "the node serves another chain than this home's")
                await self._load()
                self.ledger_time_s = max(self.ledger_time_s, status.time_s)
                await self._current(status.height)
                self._cursor = (status.height, 1 << 30)
                self._loaded.set()
                failures = 0
                async for event in self._ledger.events(self._cursor):
                    await self._apply(event)
            except (LedgerError, SettingsError) as error:
                self.connected = False
                delay = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
                failures += 1
                _log.warning("ledger away", code=error.code, reason=error.message, retry_s=delay, age_s=self.age_s)
                await asyncio.sleep(delay)

    async def _load(self) -> None:
        streams = [stream async for stream in self._ledger.streams(self.gateway)]
        devices = [device async for device in self._ledger.devices(self.gateway)]
        wanted = {stream.definition.device for stream in streams}
        # The listing is of devices bound to this gateway; a stream may be written here without that.
        listed = {device.name for device in devices}
        for name in sorted(wanted - listed):
            found = await self._ledger.device(name)
            if found is not None:
                devices.append(found)
        gone = self.streams.keys() - {stream.path for stream in streams}
        for device in devices:
            if device.name in wanted or device.name in self.devices:
                self._put_device(device)
        for stream in streams:
            self._put_stream(stream)
        for path in sorted(gone):
            del self.streams[path]
            self._tell_stream(path)

    async def _apply(self, event: LedgerEvent) -> None:
        self.ledger_time_s = max(self.ledger_time_s, event.time_s)
        name, values = event.name, event.values
        if name.startswith("devices.") and values:
            await self._refresh_devices((str(values[0]),))
        elif name.startswith("identity.") and values:
            known = self._by_address.get(values[0])
            await self._refresh_devices((known,) if known else ())
        elif name == "governance.organisation":
            # Its members' accounts are not usable any more, or are again.
            members = [d.name for d in self.devices.values() if d.organisation == values[0]]
            await self._refresh_devices(members)
        elif name == "streams.defined" and values[2] == self.gateway:
            await self._refresh_stream(str(values[1]))
        elif name in ("streams.updated", "streams.handed_over"):
            path = self._by_number.get(values[0])
            if path is not None:
                await self._refresh_stream(path, event.height)
            elif name == "streams.handed_over" and values[1] == self.gateway:
                await self._load()
        complete = name == "block" and values == (0,)
        await self._current(event.height if complete else event.height - 1)

    async def _current(self, height: int) -> None:
        """The view holds everything that was decided up to `height`."""
        self.connected = True
        self.height = max(self.height, height)
        self._confirmed_ns = self._clock_ns()
        await self._save()

    async def _refresh_devices(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.devices:
                device = await self._ledger.device(name)
                if device is not None:
                    self._put_device(device)

    async def _refresh_stream(self, path: str, height: int = 0) -> None:
        stream = await self._ledger.stream(path)
        if stream is None:
            return
        if stream.definition.device not in self.devices:
            device = await self._ledger.device(stream.definition.device)
            if device is None:
                return
            self._put_device(device)
        self._unknown.pop(path, None)
        self._put_stream(stream, height)

    def _put_device(self, device: DeviceView) -> None:
        before = self.devices.get(device.name)
        if before == device:
            return
        if before is not None:
            for entry in before.keys:
                self._by_key[entry.key.suite, entry.key.public].remove(device.name)
        self.devices[device.name] = device
        self._by_address[device.address] = device.name
        for entry in device.keys:
            self._by_key.setdefault((entry.key.suite, entry.key.public), []).append(device.name)
        self._dirty = True
        for tell in self.on_device:
            tell(device)

    def _put_stream(self, stream: StreamView, height: int = 0) -> None:
        if self.streams.get(stream.path) == stream:
            return
        known = self._history.setdefault(stream.path, [])
        if not known or known[-1][1].schema_version != stream.definition.schema_version:
            known.append((height, stream.definition))
            del known[:-_VERSIONS_KEPT]
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
