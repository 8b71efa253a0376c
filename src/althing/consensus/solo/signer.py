"""The one validator key: its file in CometBFT's form, and precommits that never contradict each other."""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from althing.consensus.engine import EngineError
from althing.protocol.block import (
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Timestamp,
    ValidatorSet,
    precommit_sign_bytes,
    validator_address,
)

__all__ = ["LastSigned", "Signer", "ValidatorKey", "load_or_create_key"]

_PUBLIC_TYPE = "tendermint/PubKeyEd25519"
_PRIVATE_TYPE = "tendermint/PrivKeyEd25519"
_FILE_BYTES_MAX = 4096
_TIME_STEP_NS = 1_000_000  # CometBFT `timeIota`: a vote is at least 1 ms after the block it is for


@dataclass(frozen=True, slots=True)
class ValidatorKey:
    """An Ed25519 key pair; `secret` is the 64-byte form (seed and public key)."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"ValidatorKey({self.public.hex()})"

    @property
    def address(self) -> bytes:
        """The validator address of the public key."""
        return validator_address(self.public)


@dataclass(frozen=True, slots=True)
class LastSigned:
    """What was signed last, stored with the block: a restart must not sign something else at the same place."""

    height: int
    round: int
    block_id: BlockId
    timestamp: Timestamp
    signature: bytes


class Signer:
    """Signs precommits of a growing (height, round); asked again for the same block it repeats the old signature."""

    def __init__(self, key: ValidatorKey, chain_id: str, last: LastSigned | None) -> None:
        self._key = key
        self._chain_id = chain_id
        self._last = last

    @property
    def address(self) -> bytes:
        """The signer's validator address."""
        return self._key.address

    @property
    def last(self) -> LastSigned | None:
        """What has to be durable before the last signature is shown to anyone."""
        return self._last

    def commit(
        self, height: int, round_: int, block_id: BlockId, block_time: Timestamp, now_ns: int, validators: ValidatorSet
    ) -> Commit:
        """The commit for a block: this signer's precommit, all other validators absent.

        The vote's time is now, but at least 1 ms after the block's (CometBFT `voteTime`).
        """
        timestamp = Timestamp.from_ns(max(now_ns, block_time.ns + _TIME_STEP_NS))
        last = self._last
        if last is not None and (last.height, last.round) >= (height, round_):
            if (last.height, last.round, last.block_id) != (height, round_, block_id):
                raise EngineError(
                    "engine.double_sign",
                    f"height {last.height} round {last.round} is signed; height {height} round {round_} would contradict",
                )
        else:
            message = precommit_sign_bytes(self._chain_id, height, round_, block_id, timestamp)
            signature = crypto_sign(message, self._key.secret)[:64]
            self._last = last = LastSigned(height, round_, block_id, timestamp, signature)
        own = CommitSig(BlockIdFlag.COMMIT, self.address, last.timestamp, last.signature)
        entries = tuple(own if v.address == self.address else CommitSig.absent() for v in validators.validators)
        return Commit(height, round_, block_id, entries)


def load_or_create_key(path: Path) -> ValidatorKey:
    """Read the key file, or make it (mode 0600, durable) when there is none."""
    try:
        if not path.exists():
            _create(path)
        return _load(path)
    except OSError as exc:
        raise EngineError("engine.key", f"the validator key {path} cannot be used: {exc.strerror or exc}") from exc


def _create(path: Path) -> None:
    public, secret = crypto_sign_seed_keypair(os.urandom(32))
    document = {
        "address": validator_address(public).hex().upper(),
        "pub_key": {"type": _PUBLIC_TYPE, "value": base64.b64encode(public).decode()},
        "priv_key": {"type": _PRIVATE_TYPE, "value": base64.b64encode(secret).decode()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(json.dumps(document, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _load(path: Path) -> ValidatorKey:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise EngineError(
            "engine.key", f"the validator key {path} is readable by others", hint=f"run: chmod 600 {path}"
        )
    with path.open("rb") as file:
        text = file.read(_FILE_BYTES_MAX + 1)
    try:
        document = json.loads(text)
        private = document["priv_key"]
        secret = base64.b64decode(private["value"], validate=True)
        if private["type"] != _PRIVATE_TYPE or len(secret) != 64:
            raise ValueError("not an Ed25519 private key")
        public, expected = crypto_sign_seed_keypair(secret[:32])
        if expected != secret or document["address"] != validator_address(public).hex().upper():
            raise ValueError("private key, public key and address do not belong together")
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        raise EngineError(
            "engine.key",
            f"the validator key {path} is damaged: {exc}",
            hint="restore it from a backup; a new key cannot continue this chain",
        ) from exc
    return ValidatorKey(public, secret)
