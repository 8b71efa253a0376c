"""The engine port: what orders transactions into blocks and drives an application through them.

Errors (EngineError, code first): `engine.locked` another process uses the directory; `engine.foreign_chain` stored
blocks or application state belong to another chain; `engine.app_ahead`, `engine.app_behind` the application's height
does not fit the stored blocks; `engine.diverged` replay gave another result; `engine.store` stored blocks are damaged or
cannot be used; `engine.key`, `engine.validators` the validator key cannot be used, or not for this chain;
`engine.handed_over` others sign the next block, as was decided; `engine.rollback` stored blocks cannot be taken back so far;
`engine.double_sign` a second signature at one place was refused; `engine.application` the application answered what no
chain can continue from; `engine.halted` it failed; `engine.stopped` the engine ended before what was waited for;
`engine.pruned`, `engine.unknown_height` a height is no longer or not yet there; `engine.evidence` the engine takes none;
`engine.settings`, `engine.unknown` configuration is wrong; `engine.binary`, `engine.process` the program of an engine
with one is missing or ended. Submitting raises UnavailableError `pool.full`, `engine.disk_full` (or the code of the
application's Commit), `engine.behind`, `engine.halted`, `engine.stopped`, or PoolRefusedError `pool.duplicate`,
`pool.tx_too_large`, `pool.gas`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Any, Protocol

from althing.consensus.abci import Application, CheckTxResponse, FinalizeBlockResponse, ValidatorUpdate
from althing.consensus.peers import EngineNetwork
from althing.protocol.block import (
    Block,
    BlockId,
    Commit,
    ConsensusParams,
    Header,
    SignedHeader,
    Timestamp,
    ValidatorSet,
)
from althing.protocol.block.wire import bytes_field, int_field, message_field
from althing.protocol.errors import AlthingError, RefusedError

__all__ = [
    "Clock",
    "CommittedBlock",
    "Dropped",
    "Engine",
    "EngineError",
    "EngineStatus",
    "Genesis",
    "Phase",
    "PoolRefusedError",
]

Clock = Callable[[], int]
"""Wall-clock time as nanoseconds since 1970 (`time.time_ns` in production)."""

Dropped = Callable[[Sequence[bytes]], None]
"""Told of transactions, by SHA-256 of their bytes."""


class EngineError(AlthingError):
    """The engine cannot start, go on, or answer; see the codes above."""


class PoolRefusedError(RefusedError):
    """The pool will not take this transaction; sending it again does not help."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """What a chain starts from; `validators` may be empty where the engine has one signer of its own."""

    chain_id: str
    time: Timestamp
    app_state: bytes
    consensus_params: ConsensusParams = ConsensusParams()  # noqa: RUF009 (frozen)
    validators: tuple[ValidatorUpdate, ...] = ()
    initial_height: int = 1

    def fingerprint(self) -> bytes:
        """SHA-256 over all fields: how an engine recognises stored blocks of another chain."""
        params = self.consensus_params
        numbers = (
            params.evidence_age_blocks_max,
            params.evidence_age_ns_max,
            params.evidence_bytes_max,
            params.app_version,
            params.vote_extensions_height,
        )
        return sha256(
            bytes_field(1, self.chain_id.encode())
            + message_field(2, self.time.encode())
            + message_field(3, params.hash() + b"".join(int_field(i + 1, n) for i, n in enumerate(numbers)))
            + b"".join(bytes_field(4, kind.encode()) for kind in params.key_types)
            + bytes_field(5, params.authority.encode())
            + b"".join(message_field(6, bytes_field(1, v.public_key) + int_field(2, v.power)) for v in self.validators)
            + int_field(7, self.initial_height)
            + message_field(8, self.app_state)
        ).digest()


class Phase(Enum):
    """What an engine is doing."""

    STOPPED = "stopped"
    REPLAYING = "replaying"
    RUNNING = "running"
    STALLED = "stalled"  # a durable write fails for now (disk full); retried, nothing is accepted meanwhile
    HALTED = "halted"  # ended by an error; `EngineStatus.error` says which


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A consistent view of an engine at one moment."""

    engine: str
    chain_id: str
    phase: Phase
    error: str
    base_height: int
    latest_height: int
    latest_block_hash: bytes
    latest_block_time: Timestamp
    app_hash: bytes
    pool_count: int
    pool_bytes: int
    validator_address: bytes
    conditions: tuple[str, ...] = ()  # of `behind`, `alone`, `other-chain`: where an engine has peers, those that hold


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block the application has committed, with the commit for it and the results of executing it."""

    block: Block
    block_id: BlockId
    commit: Commit
    results: FinalizeBlockResponse

    @property
    def header(self) -> Header:
        """The block's header."""
        return self.block.header

    @property
    def height(self) -> int:
        """The block's height."""
        return self.block.header.height


class Engine(Protocol):
    """Orders transactions. Methods other than start, stop, submit and the waits read stored data and do not block long.

    Heights: every reading method raises EngineError `engine.unknown_height` above `latest_height` and `engine.pruned`
    below what is kept. `latest_height` counts blocks whose Commit finished.
    """

    async def start(self, app: Application) -> None:
        """Handshake (replay what the application lacks), then order blocks until `stop`."""

    async def stop(self) -> None:
        """Finish the block in work, release everything. Idempotent. Unordered transactions are lost."""

    async def submit(self, tx: bytes) -> CheckTxResponse:
        """Have the application check `tx`; on code 0 it is in the pool. Raises as the module's docstring states."""

    def watch_drops(self, dropped: Dropped) -> None:
        """Tell, on the event loop, of transactions that were in the pool and left it without a block (a recheck refused).

        It may come before `submit` returns. One listener; a pool of another process may lose some untold.
        """

    def status(self) -> EngineStatus:
        """Now."""

    def network(self) -> EngineNetwork:
        """This node among its peers, as far as is known now; no error while the engine restarts."""

    def metrics(self) -> bytes:
        """What the engine itself measures, in Prometheus' text form; empty where this process measures everything.

        UnavailableError `engine.unreachable` when it does not answer in time.
        """

    @property
    def latest_height(self) -> int:
        """Height of the last block whose Commit finished, 0 before the first."""

    def block(self, height: int) -> Block:
        """The block at a height."""

    def signed_header(self, height: int) -> SignedHeader:
        """Header and the commit for it; kept longer than transactions where configured."""

    def commit(self, height: int) -> Commit:
        """The commit for the block at a height."""

    def validators(self, height: int) -> ValidatorSet:
        """The set that signs a height; known up to latest + 1."""

    def proposer_priorities(self, height: int) -> tuple[int, ...]:
        """CometBFT's proposer priority of each of these validators, in order: no hash covers them, and who joins needs them."""

    def consensus_params(self, height: int) -> ConsensusParams:
        """The parameters in force at a height; known up to latest + 1."""

    def results(self, height: int) -> FinalizeBlockResponse:
        """What executing the block at a height gave."""

    async def wait_height(self, height: int) -> None:
        """Return once `latest_height` >= height; raises what ended the engine if that comes first."""

    def committed(self, from_height: int) -> AsyncIterator[CommittedBlock]:
        """Every committed block from a height on, without gap or repetition, then live; ends with the engine."""

    def submit_evidence(self, evidence: Mapping[str, Any]) -> bytes:
        """Hand over signed evidence of misbehaviour found elsewhere, in the JSON of CometBFT's RPC; its hash. EngineError
        `engine.evidence` for what is none, does not verify, or where one signer takes none."""
