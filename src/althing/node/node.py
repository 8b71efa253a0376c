"""A running node: ledger, engine, submission, archive and proofs, started in order and stopped in the opposite one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from althing.archive.objects import LocalObjects
from althing.archive.reader import ArchiveReader
from althing.consensus.engine import Engine, EngineStatus, Genesis, Phase
from althing.consensus.registry import make_engine
from althing.ledger.app import Ledger
from althing.ledger.query import LedgerView
from althing.node.application import LedgerApplication
from althing.node.eventlog import EventLog
from althing.node.home import Home, write_json
from althing.node.proofs import ProofBuilder
from althing.node.sources import ArchiveLeaves, ChainAnchors
from althing.node.submission import Submission
from althing.protocol.address import address_of_key
from althing.protocol.block import ConsensusParams, Timestamp
from althing.protocol.genesis import app_state_of
from althing.protocol.trust import format_trust
from althing.storage.registry import open_backend

__all__ = ["Node"]


class Node:
    """One node of a chain. `start` and `stop` once each."""

    def __init__(
        self,
        home: Home,
        *,
        engine: str = "solo",
        settings: Mapping[str, Any] | None = None,
        keep_versions: int = 1000,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.home = home
        self.genesis = home.genesis()
        self._clock = clock
        self._backend = open_backend("lmdb", home.state_dir)
        self.ledger = Ledger(self._backend, self.genesis, keep_versions=keep_versions)
        self.key = home.node_key()
        self.address = address_of_key(self.key.suite, self.key.public)
        self.application = LedgerApplication(self.ledger, clock)
        chosen = {"key_file": home.validator_key_file, **(settings or {})} if engine == "solo" else dict(settings or {})
        self.engine: Engine = make_engine(engine, self._engine_genesis(), home.blocks_dir, chosen, clock=clock)
        self.submission = Submission(self.ledger, self.engine, self.key, self.address, clock)
        self.application.committed = self.submission.block_committed
        home.archive_dir.mkdir(parents=True, exist_ok=True)
        self.archive = ArchiveReader(LocalObjects(home.archive_dir), anchors=ChainAnchors(self.ledger.store))
        self.proofs = ProofBuilder(
            self.genesis.chain_id, self.ledger.genesis_hash, self.ledger.store, self.engine, ArchiveLeaves(self.archive)
        )
        self.events = EventLog(self.ledger, self.engine)
        self._started = False

    def _engine_genesis(self) -> Genesis:
        return Genesis(
            chain_id=self.genesis.chain_id,
            time=Timestamp(self.genesis.time, 0),
            app_state=app_state_of(self.genesis),
            consensus_params=ConsensusParams(app_version=self.genesis.app_version),
            initial_height=self.genesis.initial_height,
        )

    async def start(self) -> None:
        """1. The engine replays what the ledger lacks, 2. submission opens, 3. a trust file for this home appears."""
        await self.engine.start(self.application)
        await self.submission.start()
        self._started = True
        await self.engine.wait_height(self.genesis.initial_height)
        if not self.home.trust_file.exists():
            trust = self.proofs.trust(self.genesis.initial_height)
            self.home.trust_file.write_text(format_trust(trust), encoding="ascii")

    async def stop(self) -> None:
        """Close submission, finish the block in work, release files. Safe after a failed start."""
        if self._started:
            await self.submission.stop()
        await self.engine.stop()
        self.archive.close()
        self._backend.close()

    def view(self, version: int | None = None) -> LedgerView:
        """The committed state at a version (default: the latest)."""
        return LedgerView(self.ledger.store, version)

    def status(self) -> EngineStatus:
        return self.engine.status()

    @property
    def ready(self) -> bool:
        """True when blocks are being made and durable writes succeed."""
        return self._started and self.status().phase is Phase.RUNNING

    def remember_ports(self, **ports: Any) -> None:
        """Keep the addresses in use, so that every command finds this node and the next run uses them again."""
        write_json(self.home.ports_file, {**self.home.ports(), **ports})
