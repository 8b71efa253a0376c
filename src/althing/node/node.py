"""A running node: ledger, engine, submission, archive and proofs, started in order and stopped in the opposite one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from althing.archive.objects import LocalObjects
from althing.archive.reader import ArchiveReader
from althing.consensus.abci import ValidatorUpdate
from althing.consensus.engine import Clock, Engine, EngineStatus, Genesis, Phase
from althing.ledger.app import Ledger
from althing.ledger.assembly import Rulebook
from althing.ledger.query import LedgerView
from althing.node.application import CommittedContent, LedgerApplication
from althing.node.config import SnapshotConfig
from althing.node.eventlog import EventLog
from althing.node.home import Home, write_json
from althing.node.proofs import ProofBuilder
from althing.node.signing import SigningRecord
from althing.node.snapshots import SnapshotMaker, SnapshotStore
from althing.node.sources import ArchiveLeaves, ChainAnchors
from althing.node.submission import Submission
from althing.protocol.block import ConsensusParams, Timestamp
from althing.protocol.genesis import app_state_of
from althing.protocol.messages.identity import Key
from althing.protocol.messages.staking import PublicChain
from althing.protocol.trust import format_trust
from althing.service.durable import make_folders, write_file
from althing.storage.registry import open_backend

__all__ = ["EngineMaker", "Node"]

EngineMaker = Callable[[Genesis, Path, Clock], Engine]
"""Makes an engine that keeps its blocks in a directory; the daemon chooses which."""


class Node:
    """One node of a chain. `start` and `stop` once each. `daemon.open_node` makes one with an engine by name."""

    def __init__(
        self,
        home: Home,
        make_engine: EngineMaker,
        *,
        keep_versions: int = 1000,
        verify_processes: int = 0,
        keep_receipts_days: int = 0,
        snapshots: SnapshotConfig | None = None,
        rulebook: Rulebook | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.home = home
        self.genesis = home.genesis()
        self._carried = home.carried()
        self.backend = open_backend("lmdb", home.state_dir)
        try:
            self.ledger = Ledger(
                self.backend,
                self.genesis,
                keep_versions=keep_versions,
                keep_receipts_s=keep_receipts_days * 86_400 or None,
                rulebook=rulebook,
            )
            self.engine = make_engine(self._engine_genesis(), home.blocks_dir, clock)
        except BaseException:
            self.backend.close()
            raise
        self.key = home.node_key()
        self._address: bytes | None = None
        self.application = LedgerApplication(self.ledger, clock, carried=self._carried)
        self._snapshots: SnapshotMaker | None = None
        if snapshots is not None and snapshots.every_blocks:
            store = self.application.snapshots = SnapshotStore(home.snapshots_dir)
            maker = SnapshotMaker(self.ledger, store, every=snapshots.every_blocks, keep=snapshots.keep)
            self._snapshots, self.application.after_commit = maker, maker.committed
        self.submission = Submission(
            self.ledger, self.engine, self.key, lambda: self.address, clock, processes=verify_processes
        )
        self.application.committed = self._committed
        self.watchers: list[Callable[[CommittedContent], None]] = [self.submission.block_committed]
        make_folders(home.archive_dir)
        self.archive = ArchiveReader(LocalObjects(home.archive_dir), anchors=ChainAnchors(self.ledger.store))
        self.proofs = ProofBuilder(
            self.genesis.chain_id, self.ledger.genesis_hash, self.ledger.store, self.engine, ArchiveLeaves(self.archive)
        )
        self.signing = SigningRecord(self.engine)
        self.events = EventLog(self.ledger, self.engine)
        self._started = False

    def _engine_genesis(self) -> Genesis:
        carried = self._carried
        if carried is not None:
            return Genesis(
                chain_id=self.genesis.chain_id,
                time=Timestamp.from_ns(carried.time_ns),
                app_state=app_state_of(self.genesis),
                consensus_params=self._params(carried.app_version),
                validators=tuple(ValidatorUpdate(v.public_key, v.power) for v in carried.validators),
                initial_height=carried.height + 1,
            )
        return Genesis(
            chain_id=self.genesis.chain_id,
            time=Timestamp(self.genesis.time, 0),
            app_state=app_state_of(self.genesis),
            consensus_params=self._params(self.genesis.app_version),
            initial_height=self.genesis.initial_height,
        )

    def _params(self, app_version: int) -> ConsensusParams:
        params, public = ConsensusParams(app_version=app_version), self.genesis.kind
        if isinstance(public, PublicChain):
            # Bonds are held until evidence is too old: as the engine counts its age.
            params = replace(
                params,
                evidence_age_ns_max=public.evidence_age_s * 1_000_000_000,
                evidence_age_blocks_max=public.evidence_age_blocks,
            )
        return params

    async def start(self) -> None:
        """1. The engine replays what the ledger lacks, 2. submission opens, 3. a trust file for this home appears.

        HaltError `upgrade.needed` at once where the next block follows rules that this program does not know.
        """
        self.ledger.require_rules()
        await self.engine.start(self.application)
        await self.submission.start()
        self._started = True
        await self.engine.wait_height(self.genesis.initial_height)
        if not self.home.trust_file.exists():
            trust = self.proofs.trust(self.genesis.initial_height)
            write_file(self.home.trust_file, format_trust(trust).encode("ascii"))

    async def stop(self) -> None:
        """Close submission, finish the block in work, release files. Safe after a failed start."""
        if self._started:
            await self.submission.stop()
        await self.engine.stop()
        if self._snapshots is not None:
            await asyncio.to_thread(self._snapshots.stop)
        self.archive.close()
        self.backend.close()

    def _committed(self, content: CommittedContent) -> None:
        """Tell the watchers of a block, on the engine's thread."""
        for watcher in self.watchers:
            watcher(content)

    def view(self, version: int | None = None) -> LedgerView:
        """The committed state at a version (default: the latest)."""
        return LedgerView(self.ledger.store, version)

    @property
    def address(self) -> bytes:
        """The node's account: at its key's own address, or where members admitted the key without its signature."""
        if self._address is not None:
            return self._address
        key = Key(self.key.suite, self.key.public)
        if self.ledger.store.latest_version is None:
            return key.address  # it joins by state sync
        view = self.view()
        for found in (key.address, *(key.address_under(member.address) for member in view.organisations())):
            if view.has_account(found):
                self._address = found
                return found
        return key.address

    def status(self) -> EngineStatus:
        return self.engine.status()

    @property
    def ready(self) -> bool:
        """True when blocks are being made and durable writes succeed."""
        return self._started and self.status().phase is Phase.RUNNING

    def remember_ports(self, **ports: Any) -> None:
        """Keep the addresses in use, so that every command finds this node and the next run uses them again."""
        write_json(self.home.ports_file, {**self.home.ports(), **ports})
