"""Headers, commits and validator sets kept beside CometBFT's own store: they outlive its pruning and its process.

A read model, copied from the engine's RPC a moment after each block and before it stops: proofs are made from it, also
from a home whose engine does not run. It can be deleted; the engine fills it again from the blocks it still has.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import lmdb

from althing.consensus.engine import EngineError
from althing.protocol.block import Commit, Header, SignedHeader, ValidatorSet
from althing.protocol.errors import ProtocolError

__all__ = ["HeaderStore"]

_TABLES: Final = (b"headers", b"commits", b"validators")
_MAP_BYTES_MAX: Final = 1 << 38  # address space, not disk: some 10^8 headers of four validators
_READERS_MAX: Final = 512


class HeaderStore:
    """One writer; any number of readers, other processes included."""

    def __init__(self, directory: Path, *, readonly: bool = False) -> None:
        try:
            if not readonly:
                directory.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(directory),
                map_size=_MAP_BYTES_MAX,
                max_dbs=len(_TABLES),
                max_readers=_READERS_MAX,
                mode=0o600,
                readonly=readonly,
            )
            self._db = {name: self._env.open_db(name, create=not readonly) for name in _TABLES}
        except (OSError, lmdb.Error) as error:
            raise EngineError(
                "engine.store",
                f"the headers in {directory} cannot be opened: {error}",
                hint="while the node is stopped the folder may be deleted; it is filled again",
            ) from error

    def close(self) -> None:
        self._env.close()

    @property
    def latest_height(self) -> int:
        """The highest height kept, 0 when there is none."""
        with self._env.begin(db=self._db[b"headers"]) as txn, txn.cursor() as cursor:
            return int.from_bytes(cursor.key(), "big") if cursor.last() else 0

    def put(self, signed: Iterable[SignedHeader], sets: Iterable[ValidatorSet]) -> None:
        """Keep these, durably. A height that is kept already gets the commit given: the next block's is the final one."""
        try:
            with self._env.begin(write=True) as txn:
                for item in signed:
                    key = _key(item.header.height)
                    txn.put(key, item.header.encode(), db=self._db[b"headers"])
                    txn.put(key, item.commit.encode(), db=self._db[b"commits"])
                for validators in sets:
                    txn.put(validators.hash(), validators.encode(), db=self._db[b"validators"])
        except (OSError, lmdb.Error) as error:
            raise EngineError("engine.store", f"headers cannot be kept: {error}") from error

    def drop_after(self, height: int) -> None:
        """Forget headers above a height, durably: after a rollback they come again."""
        with self._env.begin(write=True) as txn:
            for name in (b"headers", b"commits"):
                with txn.cursor(db=self._db[name]) as cursor:
                    found = cursor.set_range(_key(height + 1))
                    while found:
                        found = cursor.delete()

    def signed_header(self, height: int) -> SignedHeader | None:
        """Header and commit of a height, None when it is not kept."""
        with self._env.begin() as txn:
            header = txn.get(_key(height), db=self._db[b"headers"])
            commit = txn.get(_key(height), db=self._db[b"commits"])
        if header is None or commit is None:
            return None
        try:
            return SignedHeader(Header.decode(header), Commit.decode(commit))
        except ProtocolError as error:
            raise EngineError("engine.store", f"the header kept for height {height} is damaged") from error

    def validator_set(self, validators_hash: bytes) -> ValidatorSet | None:
        """The set with a hash that a header names."""
        with self._env.begin(db=self._db[b"validators"]) as txn:
            found = txn.get(validators_hash)
        return None if found is None else ValidatorSet.decode(found)

    def validators(self, height: int) -> ValidatorSet | None:
        """The set that signs a height, known from its own header or the one before."""
        own = self.signed_header(height)
        if own is not None:
            return self.validator_set(own.header.validators_hash)
        before = self.signed_header(height - 1) if height > 1 else None
        return None if before is None else self.validator_set(before.header.next_validators_hash)


def _key(height: int) -> bytes:
    return height.to_bytes(8, "big")
