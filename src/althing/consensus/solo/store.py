"""The block store: one LMDB environment, one atomic durable write per block (docs/adr/0004-solo-engine.md).

Tables by height (8 bytes, big-endian): headers, commits, data (transactions), results; validators and params under the
height from which they hold. `meta` has the chain's identity, the state after the last block, the signer's last
precommit, and from which heights data and headers are kept.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import lmdb

from althing.consensus.abci import FinalizeBlockResponse
from althing.consensus.engine import EngineError
from althing.consensus.solo.chain import ChainState
from althing.consensus.solo.records import (
    decode_params,
    decode_results,
    decode_signed,
    decode_state,
    encode_params,
    encode_results,
    encode_signed,
    encode_state,
)
from althing.consensus.solo.signer import LastSigned
from althing.protocol.block import (
    Block,
    Commit,
    ConsensusParams,
    Header,
    SignedHeader,
    ValidatorSet,
    decode_data,
    encode_data,
)
from althing.protocol.errors import ProtocolError, UnavailableError

__all__ = ["BlockStore"]

_FORMAT: Final = b"althing solo blocks 1"
_TABLES: Final = (b"headers", b"commits", b"data", b"results", b"validators", b"params", b"meta")
_PRUNE_MAX: Final = 256  # heights a block's write may drop: bounds the time it adds
_READERS_MAX: Final = 512
# LMDB reports a write that the disk took only in part as EIO. Repeating a failed write is safe in every case: the next
# attempt writes all its pages anew, and none of them is used before the flush after them succeeded.
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class BlockStore:
    """Opened by one process at a time. One thread writes; any thread reads. Heights not stored give None."""

    def __init__(self, directory: Path, *, map_bytes_max: int) -> None:
        self._lock = _lock(directory)
        try:
            path = directory / "blocks"
            path.mkdir(exist_ok=True)
            self._env = lmdb.open(
                str(path), map_size=map_bytes_max, max_dbs=len(_TABLES), max_readers=_READERS_MAX, mode=0o600
            )
            self._db = {name: self._env.open_db(name) for name in _TABLES}
            for folder in (path, directory, directory.parent):
                _sync_folder(folder)
        except (OSError, lmdb.Error) as exc:
            os.close(self._lock)
            raise EngineError("engine.store", f"the block store in {directory} cannot be opened: {exc}") from exc

    def close(self) -> None:
        """Release the directory."""
        self._env.close()
        os.close(self._lock)

    def claim(self, fingerprint: bytes, chain_id: str) -> None:
        """Bind a new store to a chain; refuse a store of another one (`engine.foreign_chain`)."""
        identity = _FORMAT + b"\x00" + fingerprint
        known = self._meta(b"identity")
        if known is None:
            with self._write() as put:
                put(b"meta", b"identity", identity)
        elif not known.startswith(_FORMAT + b"\x00"):
            raise EngineError("engine.store", "the block store was written by another version")
        elif known != identity:
            raise EngineError(
                "engine.foreign_chain",
                f"the stored blocks belong to another chain than {chain_id!r} as this genesis defines it",
                hint="use another directory, or the genesis this chain was started with",
            )

    def state(self) -> ChainState | None:
        """The state after the last stored block, or after InitChain; None before."""
        data = self._meta(b"state")
        return None if data is None else decode_state(data)

    def last_signed(self) -> LastSigned | None:
        """The signer's last precommit."""
        data = self._meta(b"signed")
        return None if data is None else decode_signed(data)

    def save_genesis(self, state: ChainState) -> None:
        """What InitChain gave."""
        first = _key(state.initial_height)
        with self._write() as put:
            put(b"meta", b"state", encode_state(state))
            put(b"meta", b"data_base", first)
            put(b"meta", b"header_base", first)
            put(b"validators", first, state.validators.encode())
            put(b"params", first, encode_params(state.params))

    def save_block(
        self,
        block: Block,
        response: FinalizeBlockResponse,
        before: ChainState,
        after: ChainState,
        signed: LastSigned,
        *,
        retain_height: int,
        keep_headers: bool,
    ) -> None:
        """Block, commit, results, the state after it and the signer's state in one durable write, or nothing.

        The same write drops blocks below `retain_height`. UnavailableError `engine.disk_full` if there is no room.
        """
        height = block.header.height
        key = _key(height)
        with self._write() as put:
            put.append(b"headers", key, block.header.encode())
            put.append(b"commits", key, after.commit.encode())
            put.append(b"data", key, encode_data(block.txs))
            put.append(b"results", key, encode_results(response))
            if after.next_validators != before.next_validators:
                put(b"validators", _key(height + 2), after.next_validators.encode())
            if after.params != before.params:
                put(b"params", _key(height + 1), encode_params(after.params))
            put(b"meta", b"signed", encode_signed(signed))
            put(b"meta", b"state", encode_state(after))
            if retain_height:
                self._prune(put.txn, min(retain_height, height), keep_headers)

    def bases(self) -> tuple[int, int]:
        """From which heights on blocks, and headers with commits, are kept; 0 before genesis."""
        with self._env.begin() as txn:
            return self._base(txn, b"data_base"), self._base(txn, b"header_base")

    def header(self, height: int) -> Header | None:
        """The header at a height."""
        data = self._get(b"headers", height)
        return None if data is None else _checked(Header.decode, data)

    def commit(self, height: int) -> Commit | None:
        """The commit for the block at a height."""
        data = self._get(b"commits", height)
        return None if data is None else _checked(Commit.decode, data)

    def signed_header(self, height: int) -> SignedHeader | None:
        """Header and commit."""
        header, commit = self.header(height), self.commit(height)
        return None if header is None or commit is None else SignedHeader(header, commit)

    def block(self, height: int) -> Block | None:
        """The whole block, checked against its header."""
        header, data = self.header(height), self._get(b"data", height)
        if header is None or data is None:
            return None
        last_commit = Commit.empty() if header.last_block_id.is_zero else self.commit(height - 1)
        if last_commit is None:
            return None
        block = Block(header, _checked(decode_data, data), (), last_commit)
        _checked(lambda _: block.check(), b"")
        return block

    def results(self, height: int) -> FinalizeBlockResponse | None:
        """What executing the block gave."""
        data = self._get(b"results", height)
        return None if data is None else decode_results(data)

    def validators(self, height: int) -> ValidatorSet | None:
        """The set that signs a height."""
        data = self._newest(b"validators", height)
        return None if data is None else _checked(ValidatorSet.decode, data)

    def params(self, height: int) -> ConsensusParams | None:
        """The parameters in force at a height."""
        data = self._newest(b"params", height)
        return None if data is None else decode_params(data)

    def _meta(self, name: bytes) -> bytes | None:
        with self._env.begin(db=self._db[b"meta"]) as txn:
            value: bytes | None = txn.get(name)
            return value

    def _get(self, table: bytes, height: int) -> bytes | None:
        with self._env.begin(db=self._db[table]) as txn:
            value: bytes | None = txn.get(_key(height))
            return value

    def _newest(self, table: bytes, height: int) -> bytes | None:
        with self._env.begin(db=self._db[table]) as txn, txn.cursor() as cursor:
            found = cursor.set_range(_key(height + 1))
            if not (cursor.prev() if found else cursor.last()):
                return None
            value: bytes = cursor.value()
            return value

    def _base(self, txn: Any, name: bytes) -> int:
        value = txn.get(name, db=self._db[b"meta"])
        return 0 if value is None else int.from_bytes(value, "big")

    def _prune(self, txn: Any, retain_height: int, keep_headers: bool) -> None:
        tables: dict[bytes, tuple[bytes, ...]] = {b"data_base": (b"data", b"results")}
        if not keep_headers:
            # The block at the base needs the commit before it, so commits stay one height longer.
            tables[b"header_base"] = (b"headers",)
        for name, dropped in tables.items():
            base = self._base(txn, name)
            end = min(retain_height, base + _PRUNE_MAX)
            for height in range(base, end):
                for table in dropped:
                    txn.delete(_key(height), db=self._db[table])
                if name == b"header_base":
                    txn.delete(_key(height - 1), db=self._db[b"commits"])
            if end > base:
                txn.put(name, _key(end), db=self._db[b"meta"])

    @contextmanager
    def _write(self) -> Iterator[_Put]:
        try:
            with self._env.begin(write=True) as txn:
                yield _Put(txn, self._db)
        except lmdb.MapFullError as exc:
            raise UnavailableError(
                "engine.disk_full", "the block store's map is full", hint="raise map_bytes_max and restart"
            ) from exc
        except (lmdb.Error, OSError) as exc:
            if _error_number(exc) in _NO_ROOM:
                raise UnavailableError(
                    "engine.disk_full",
                    "the disk of the block store is full, or does not take what is written",
                    hint="free space; no restart is needed",
                ) from exc
            raise EngineError("engine.store", f"the block store cannot be written: {exc}") from exc


class _Put:
    def __init__(self, txn: Any, tables: dict[bytes, Any]) -> None:
        self.txn = txn
        self._tables = tables

    def __call__(self, table: bytes, key: bytes, value: bytes) -> None:
        self.txn.put(key, value, db=self._tables[table])

    def append(self, table: bytes, key: bytes, value: bytes) -> None:
        """Put after the last key: pages are filled instead of being split in halves."""
        assert self.txn.put(key, value, append=True, db=self._tables[table]), "blocks are stored in order"


def _key(height: int) -> bytes:
    return height.to_bytes(8, "big")


def _checked(decode: Any, data: bytes) -> Any:
    try:
        return decode(data)
    except ProtocolError as exc:
        raise EngineError("engine.store", f"a stored block is damaged: {exc.message}") from exc


def _error_number(exc: Exception) -> int | None:
    if isinstance(exc, OSError):
        return exc.errno
    # LMDB's Python binding names the system error only in its text: "mdb_txn_commit: No space left on device".
    return next((number for number in _NO_ROOM if os.strerror(number) in str(exc)), None)


def _lock(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise EngineError("engine.store", f"the directory {directory} cannot be used: {exc}") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(handle)
        raise EngineError(
            "engine.locked", f"another process uses {directory}", hint="stop it, or use another directory"
        ) from exc
    return handle


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
