"""The refusal log: what a gateway did not accept, and why, in the object store beside the segments.

    refusals/<gateway, 40 hex digits>/<first>-<last>-<oldest ns>-<newest ns>-<SHA-256>.ndjson

One JSON object per line, numbered per gateway without a gap. As with segments, a file whose numbers lie within another
readable one has been replaced by it. docs/spec/segments.md §7.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from althing.archive.errors import ArchiveError, QueryError, SegmentUnavailable
from althing.archive.objects import ObjectMissing, ObjectStore
from althing.protocol.codec import decode, encode
from althing.protocol.errors import EncodingError

__all__ = ["Refusal", "RefusalLog", "RefusalReader", "RefusalsPage"]

REFUSALS: Final = "refusals"
LINES_MAX: Final = 8192  # of one file; a page reads one or two
FILE_BYTES_MAX: Final = 16 << 20
TEXT_CHARS_MAX: Final = 512  # a reason is a sentence, a topic a path
LIMIT_MAX: Final = 1000
MERGE_FROM: Final = 16  # files not yet full, before they are made one
_ATTEMPTS: Final = 4
_CACHED_FILES: Final = 32
_NAME: Final = re.compile(
    r"refusals/([0-9a-f]{40})/([0-9]{16})-([0-9]{16})-([0-9]{19})-([0-9]{19})-([0-9a-f]{64})\.ndjson"
)
_TEXTS: Final = ("device", "stream", "transport", "code", "reason")
_FIELDS: Final = ("number", "time_ns", *_TEXTS, "hash", "size")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused message: when, from whom, over what, why, SHA-256 of its body and how many bytes it had.

    `gateway` and `number` are given by the log. Texts longer than 512 characters are cut there.
    """

    time_ns: int
    device: str
    stream: str
    transport: str
    code: str
    reason: str
    hash: bytes
    size: int
    gateway: bytes = b""
    number: int = -1


@dataclass(frozen=True, slots=True)
class RefusalsPage:
    """Newest first; `next` is the cursor of older ones, None at the end."""

    refusals: tuple[Refusal, ...]
    next: str | None


@dataclass(frozen=True, slots=True, order=True)
class _File:
    gateway: bytes
    first: int
    last: int
    oldest_ns: int
    newest_ns: int
    sha256: bytes

    def __str__(self) -> str:
        numbers = f"{self.first:016d}-{self.last:016d}-{self.oldest_ns:019d}-{self.newest_ns:019d}"
        return f"{REFUSALS}/{self.gateway.hex()}/{numbers}-{self.sha256.hex()}.ndjson"

    @classmethod
    def parse(cls, name: str) -> _File | None:
        match = _NAME.fullmatch(name)
        if match is None or int(match[2]) > int(match[3]) or int(match[4]) > int(match[5]):
            return None
        return cls(
            bytes.fromhex(match[1]), int(match[2]), int(match[3]), int(match[4]), int(match[5]), bytes.fromhex(match[6])
        )

    def within(self, other: _File) -> bool:
        return self.gateway == other.gateway and other.first <= self.first and self.last <= other.last


class RefusalLog:
    """A gateway's side: `append` is durable when it returns."""

    def __init__(self, store: ObjectStore, gateway: bytes) -> None:
        self._store = store
        self._gateway = gateway
        self._lock = threading.Lock()
        files = sorted(_visible(self._files()))
        self._next = files[-1].last + 1 if files else 0
        self._tail: list[Refusal] = []
        for file in reversed(files):
            self._tail = _lines(store, file) + self._tail
            if len(self._tail) >= LINES_MAX:
                break

    def append(self, refusals: Sequence[Refusal]) -> int:
        """Store refusals in the order given; the number of the next one. One durable write per 8,192 of them.

        What was stored last and stands first here again is not stored twice: a gateway that crashed before it noted the
        success repeats the same refusals, perhaps with newer ones behind them.
        """
        with self._lock:
            new = [replace(one, **{name: getattr(one, name)[:TEXT_CHARS_MAX] for name in _TEXTS}) for one in refusals]
            new = new[_overlap(self._tail, new) :]
            for start in range(0, len(new), LINES_MAX):
                numbered = [
                    replace(one, gateway=self._gateway, number=self._next + at)
                    for at, one in enumerate(new[start : start + LINES_MAX])
                ]
                self._write(numbered)
                self._next += len(numbered)
                self._tail = (self._tail + numbered)[-LINES_MAX:]
            return self._next

    def compact(self) -> int:
        """Merge files that are not full, crash-safe as with segments; returns how many files went away."""
        with self._lock:
            count = 0
            every = [file for info in self._store.list(REFUSALS) if (file := _File.parse(info.name)) is not None]
            visible = _visible(file for file in every if file.gateway == self._gateway)
            # Deleting what a wider file holds must not trust a file that does not read.
            for file in every:
                wider = [other for other in visible if file != other and file.within(other)]
                if wider and _lines(self._store, wider[0]):
                    self._store.delete(str(file))
                    count += 1
            run: list[_File] = []
            for end in [*visible, None]:
                fits = end is not None and (
                    not run or (end.first == run[-1].last + 1 and end.last - run[0].first < LINES_MAX)
                )
                if end is not None and fits and end.last - end.first + 1 < LINES_MAX // 2:
                    run.append(end)
                    continue
                if len(run) >= MERGE_FROM:
                    merged = [refusal for file in run for refusal in _lines(self._store, file)]
                    self._write(merged)
                    for file in run:
                        self._store.delete(str(file))
                    count += len(run) - 1
                run = [end] if end is not None and end.last - end.first + 1 < LINES_MAX // 2 else []
            return count

    def _files(self) -> list[_File]:
        found = (_File.parse(info.name) for info in self._store.list(REFUSALS))
        return [file for file in found if file is not None and file.gateway == self._gateway]

    def _write(self, numbered: Sequence[Refusal]) -> None:
        data = b"".join(_to_line(refusal) for refusal in numbered)
        times = [refusal.time_ns for refusal in numbered]
        digest = hashlib.sha256(data).digest()
        file = _File(self._gateway, numbered[0].number, numbered[-1].number, min(times), max(times), digest)
        self._store.put(str(file), data)


class RefusalReader:
    """A node's side: pages over all gateways of a store, newest first. Thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._cache: OrderedDict[_File, list[Refusal]] = OrderedDict()

    def page(self, *, limit: int = 100, cursor: str | None = None) -> RefusalsPage:
        """Refusals in descending order of (time, gateway, number). What arrives later never shows on older pages.

        QueryError `archive.query`, `archive.cursor`; SegmentUnavailable when a file is damaged.
        """
        if not 1 <= limit <= LIMIT_MAX:
            raise QueryError("archive.query", f"a page has 1 to {LIMIT_MAX} refusals")
        before = None if cursor is None else _read_cursor(cursor)
        for _ in range(_ATTEMPTS):
            try:
                return self._page(limit, before)
            except ObjectMissing:
                continue  # compacted away between listing and reading
        raise SegmentUnavailable("refusal files vanish while they are read")

    def _page(self, limit: int, before: tuple[int, bytes, int] | None) -> RefusalsPage:
        files = [file for info in self._store.list(REFUSALS) if (file := _File.parse(info.name)) is not None]
        files = sorted(_visible(files), key=lambda file: file.newest_ns, reverse=True)
        found: list[Refusal] = []
        for at, file in enumerate(files):
            if before is not None and file.oldest_ns > before[0]:
                continue
            found += [refusal for refusal in self._lines(file) if before is None or _place(refusal) < before]
            found.sort(key=_place, reverse=True)
            del found[limit + 1 :]
            rest = files[at + 1].newest_ns if at + 1 < len(files) else -1
            if len(found) > limit and found[-1].time_ns > rest:
                break
        shown = found[:limit]
        return RefusalsPage(tuple(shown), _write_cursor(shown[-1]) if len(found) > limit else None)

    def _lines(self, file: _File) -> list[Refusal]:
        with self._lock:
            cached = self._cache.get(file)
            if cached is not None:
                self._cache.move_to_end(file)
                return cached
        try:
            lines = _lines(self._store, file)
        except ArchiveError as exc:
            raise SegmentUnavailable(f"the refusal file {file} is damaged", hint="restore it from a copy") from exc
        with self._lock:
            self._cache[file] = lines
            while len(self._cache) > _CACHED_FILES:
                self._cache.popitem(last=False)
        return lines


def _overlap(stored: Sequence[Refusal], new: Sequence[Refusal]) -> int:
    """How many of `new`, from its beginning, are the last ones of `stored`."""
    known = [replace(one, gateway=b"", number=-1) for one in stored[-len(new) :]] if new else []
    for count in range(len(known), 0, -1):
        if known[-count] == new[0] and known[-count:] == list(new[:count]):
            return count
    return 0


def _visible(files: Any) -> list[_File]:
    kept: list[_File] = []
    for file in sorted(files, key=lambda file: (file.gateway, file.first, -file.last, file.sha256)):
        if not kept or not file.within(kept[-1]):
            kept.append(file)
    return kept


def _lines(store: ObjectStore, file: _File) -> list[Refusal]:
    data = store.get(str(file))
    if len(data) > FILE_BYTES_MAX or hashlib.sha256(data).digest() != file.sha256:
        raise ArchiveError("archive.hash_differs", "the bytes are not those of the name", where=str(file))
    try:
        refusals = [_from_line(line, file.gateway) for line in data.splitlines()]
    except (ValueError, TypeError, RecursionError) as exc:
        raise ArchiveError("archive.format", f"not a refusal log: {exc}", where=str(file)) from exc
    if [refusal.number for refusal in refusals] != list(range(file.first, file.last + 1)):
        raise ArchiveError("archive.name_differs", "the numbers are not those of the name", where=str(file))
    return refusals


def _to_line(refusal: Refusal) -> bytes:
    item = {name: getattr(refusal, name) for name in _FIELDS} | {"hash": refusal.hash.hex()}
    return json.dumps(item, separators=(",", ":")).encode("ascii") + b"\n"


def _from_line(line: bytes, gateway: bytes) -> Refusal:
    item = json.loads(line)
    if type(item) is not dict or tuple(item) != _FIELDS:
        raise ValueError("a line has other fields")
    numbers = (item["number"], item["time_ns"], item["size"])
    if any(type(number) is not int or not 0 <= number < 2**63 for number in numbers):
        raise ValueError("a number is out of range")
    if any(type(item[name]) is not str or len(item[name]) > TEXT_CHARS_MAX for name in _TEXTS):
        raise ValueError("a text is none or too long")
    item["hash"] = bytes.fromhex(item["hash"])
    return Refusal(gateway=gateway, **item)


def _place(refusal: Refusal) -> tuple[int, bytes, int]:
    return refusal.time_ns, refusal.gateway, refusal.number


def _write_cursor(refusal: Refusal) -> str:
    return base64.urlsafe_b64encode(encode(list(_place(refusal)))).rstrip(b"=").decode("ascii")


def _read_cursor(cursor: str) -> tuple[int, bytes, int]:
    try:
        if len(cursor) > 256:
            raise ValueError
        time_ns, gateway, number = decode(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
        if (type(time_ns), type(gateway), type(number)) != (int, bytes, int):
            raise ValueError
    except (ValueError, TypeError, EncodingError) as exc:
        raise QueryError("archive.cursor", "not a cursor of this API", hint="begin again without a cursor") from exc
    return time_ns, gateway, number
