"""The ledger as a state machine an engine drives: check, prepare, process, finalise, commit, query.

Synchronous and deterministic: bytes in, receipts and a root out. The shapes of an engine's port are fitted in
`node/daemon.py`, the only place where engine and ledger meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from althing.ledger.assembly import Rulebook, Rules, assemble
from althing.ledger.authorisation import (
    Check,
    SignatureCache,
    bundle_maker,
    require_bundle_signature,
    required_checks,
)
from althing.ledger.execution import (
    BlockResult,
    Executor,
    check_lifetime,
    check_price,
    fees_of,
    genesis_writes,
    rules_at,
)
from althing.ledger.modules.governance.state import VALIDATORS, VERSIONS
from althing.ledger.query import LedgerView
from althing.ledger.quota import Quotas
from althing.ledger.retention import KEEP_RECEIPTS_MIN_S, OUTCOMES, Side, receipts_from, sweep, undone
from althing.ledger.runtime.context import BlockContext
from althing.ledger.runtime.errors import NotFoundError, PrunedError, TxError
from althing.ledger.runtime.misconduct import Misconduct
from althing.ledger.runtime.overlay import Overlay, RecordCache
from althing.ledger.runtime.replay import EXECUTED, Replay, oldest_bucket
from althing.ledger.snapshots.format import Content, chunks_of
from althing.ledger.snapshots.making import content as snapshot_content
from althing.ledger.snapshots.restoring import Restoration
from althing.ledger.state.backend import Backend, bind_identity
from althing.ledger.state.pinned import PinnedView, pinned
from althing.ledger.state.store import FORMAT_VERSION, Staged, StateStore
from althing.ledger.txcache import BundleCache, TxCache
from althing.protocol.block import tx_size
from althing.protocol.codec import decode, encode
from althing.protocol.errors import ProtocolError, RefusedError, StateError
from althing.protocol.genesis import genesis_hash
from althing.protocol.messages.governance import Genesis, Parameters, Validator
from althing.protocol.transaction import SignedTransaction

__all__ = ["Admitted", "FinalizedBlock", "Ledger", "Outcome"]

_KEEP_VERSIONS: Final = 1000
_SWEEP_ROWS_MIN: Final = 256


@dataclass(frozen=True, slots=True)
class FinalizedBlock:
    """What executing a block gave. `app_hash` will stand in the next header."""

    height: int
    app_hash: bytes
    result: BlockResult


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a committed block did: its time in nanoseconds, its hash, and the receipts of each of its bundles."""

    height: int
    time_ns: int
    block_hash: bytes
    receipts: tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A transaction that may enter the pool once its `checks` have verified."""

    tx: SignedTransaction
    checks: tuple[Check, ...]


class _Side:
    """Side tables of a pinned version as the overlay reads them."""

    def __init__(self, view: PinnedView) -> None:
        self._view = view

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._view.side(table, key)


class Ledger:
    """One chain's state machine over one state store. Consensus calls come from one thread, in ABCI's order."""

    def __init__(
        self,
        backend: Backend,
        genesis: Genesis,
        *,
        keep_versions: int = _KEEP_VERSIONS,
        keep_receipts_s: int | None = None,
        rulebook: Rulebook | None = None,
    ) -> None:
        self.genesis = genesis
        self.genesis_hash = genesis_hash(genesis)
        bind_identity(backend, chain=self.genesis_hash, format_version=FORMAT_VERSION)
        self.store = StateStore(backend)
        self.rulebook = rulebook or assemble()
        self.transactions = TxCache()
        self.signatures = SignatureCache()
        self._bundles = BundleCache(self.transactions)
        self._executor = Executor(self.rulebook, self._bundles, self.signatures)
        self._records = RecordCache()
        self._keep_versions = keep_versions
        # Rows of executed ids go with the receipts, so they stay for as long as a transaction can live.
        assert keep_receipts_s is None or keep_receipts_s >= KEEP_RECEIPTS_MIN_S, "receipts outlive transactions"
        self._keep_receipts_s = keep_receipts_s
        self._staged: tuple[Staged, dict[str, dict[bytes, bytes | None]], int] | None = None
        self._held: tuple[int, int] | None = None  # version and oldest bucket that a snapshot is being made of
        self._known_rules: tuple[int, Rules, Parameters] | None = None  # in force behind a version
        self._committed: int | None = None  # by this process
        self._block_time_s: int | None = None  # of the last block committed by this process; for admission only
        if self.store.latest_version is not None:
            self.rulebook.at(self.app_version, "this chain")

    # --- handshake ------------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Last committed height; 0 before the first block."""
        version = self.store.latest_version
        return 0 if version is None or version < self.genesis.initial_height else version

    @property
    def app_hash(self) -> bytes:
        """Root after the last committed block, or after genesis; empty before genesis."""
        return b"" if self.store.latest_version is None else self.store.root()

    @property
    def app_version(self) -> int:
        """The rules in force."""
        with pinned(self.store) as view:
            found = VERSIONS.get(self._overlay(view), b"")
        assert found is not None, "genesis writes the versions"
        return found.app_version

    def require_rules(self) -> None:
        """HaltError `upgrade.needed` when the next block follows rules that this program does not know."""
        if self.store.latest_version is not None:
            self._proposal_rules()

    def init_chain(self) -> tuple[bytes, tuple[Validator, ...]]:
        """Write genesis as the version before the initial height; root and validators. Again before the first block is fine."""
        if self.store.latest_version is None:
            state = Overlay(_NOTHING, _NOTHING, self._records)
            block = BlockContext(
                self.genesis.chain_id,
                self.genesis_hash,
                self.genesis.initial_height - 1,
                self.genesis.time * 1_000_000_000,
                bytes(32),
            )
            genesis_writes(self.rulebook, state, block, self.genesis)
            writes, side = state.flush()
            self.store.commit(self.store.stage(self.genesis.initial_height - 1, writes), side)
        if self.height:
            raise StateError("state.not_empty", "the chain has begun already", hint="use an empty data directory")
        with pinned(self.store) as view:
            validators = tuple(validator for _, validator in VALIDATORS.scan(self._overlay(view)))
        return self.store.root(), validators

    def carry_on(self, height: int) -> tuple[bytes, tuple[Validator, ...]]:
        """Root and validators after `height`, from which another engine goes on; StateError `state.not_carried`."""
        if self.store.latest_version != height:
            raise StateError(
                "state.not_carried",
                f"another engine goes on from height {height}, and the state is of {self.store.latest_version}",
                hint="copy node/state of a home that was carried over and not started yet, or join by state sync",
            )
        with pinned(self.store) as view:
            validators = tuple(validator for _, validator in VALIDATORS.scan(self._overlay(view)))
        return self.store.root(), validators

    # --- admission ------------------------------------------------------------------------------------------------

    def admit(self, transactions: Sequence[bytes], time_s: int) -> list[Admitted | ProtocolError | RefusedError]:
        """Judge transactions by the latest state, all but their signatures: which checks are left, or why refused.

        The caller verifies the checks (beside all this) and tells `signatures.add` of those that hold.
        """
        results: list[Admitted | ProtocolError | RefusedError] = []
        with pinned(self.store) as view:
            state = self._overlay(view)
            rules, parameters = self._in_force(view, state)
            # Quotas are read, not charged: nothing is signed for yet, and strangers must not use up anyone's quota.
            quotas = Quotas(state, time_s // parameters.quota_window_s)
            replay = Replay(state)
            fees = fees_of(rules, state)
            for data in transactions:
                try:
                    tx = self.transactions.parse(data, self.genesis_hash, rules.types)
                    check_lifetime(tx, time_s, parameters, ledger_s=self._block_time_s)
                    if replay.executed(tx.id):
                        raise TxError("tx.replayed", "the transaction was executed before")
                    checks = required_checks(rules.identity, state, tx, time_s)
                    payer = rules.identity.account(state, tx.transaction.payer)
                    if payer is None:
                        raise TxError("tx.unknown_account", "the payer has no account yet")
                    check_price(tx, parameters, rules.prices, fees, state)
                    quotas.check(payer.organisation, tx.size, tx.transaction.gas_limit)
                except (ProtocolError, RefusedError) as exc:
                    self.transactions.forget(data)
                    results.append(exc)
                else:
                    results.append(Admitted(tx, tuple(checks)))
        return results

    def check_bundle(self, data: bytes, time_s: int, *, recheck: bool) -> tuple[int, int]:
        """May this bundle enter (or stay in) the engine's pool? Its gas and the number of its transactions, or an error.

        1. Its maker is an active node with quota left and has signed it: before that, strangers cause no further work.
        2. At least one transaction can still be executed; those that cannot are at the maker's expense.
        3. Together they fit a block, or no proposal would ever hold them.
        A recheck looks at expiry and replay only, never at signatures: it runs over the whole pool after each block.
        """
        bundle = self._bundles.envelope(data, self.genesis_hash)
        with pinned(self.store) as view:
            state = self._overlay(view)
            rules, parameters = self._in_force(view, state)
            node = bundle_maker(rules.identity, state, bundle)  # 1
            Quotas(state, time_s // parameters.quota_window_s).check(node.organisation, 1, 1)
            if not recheck:
                require_bundle_signature(node, bundle, time_s, self.signatures)
            replay = Replay(state)
            refusal = TxError("bundle.stale", "every transaction of the bundle is executed or expired")
            fresh = False
            parsed = self._bundles.parse(data, self.genesis_hash, rules.types, envelope=bundle)
            for tx, known in zip(parsed.transactions, parsed.known, strict=True):  # 2
                if isinstance(tx, ProtocolError):
                    raise tx.with_traceback(None)  # it is kept: no frames with it
                # One that can be executed decides. Beyond it, what has not been admitted here is checked only so that
                # execution finds its signatures verified.
                if fresh and (recheck or known):
                    continue
                if tx.transaction.expiry <= time_s or replay.executed(tx.id):
                    continue
                try:
                    if not recheck:
                        self._require_executable(rules, state, tx, time_s, parameters)
                    fresh = True
                except TxError as exc:
                    refusal = exc
            if not fresh:
                raise refusal
            if parsed.gas > parameters.block_gas_max:  # 3
                raise TxError("bundle.gas", f"the bundle's gas limits add up to more than {parameters.block_gas_max}")
        return parsed.gas, len(parsed.transactions)

    def _require_executable(
        self, rules: Rules, state: Overlay, tx: SignedTransaction, time_s: int, parameters: Parameters
    ) -> None:
        check_lifetime(tx, time_s, parameters, ledger_s=self._block_time_s)
        checks = required_checks(rules.identity, state, tx, time_s)
        check_price(tx, parameters, rules.prices, fees_of(rules, state), state)
        for key, signature in checks:
            if not self.signatures.check(key, signature):
                raise TxError("tx.signature", "a signature does not verify")

    # --- proposals ------------------------------------------------------------------------------------------------

    def choose(self, items: Sequence[bytes], bytes_max: int) -> list[bytes]:
        """The bundles of a proposal: whole ones in the pool's order, while block limits over inner transactions hold.

        `bytes_max` counts items as a block's data does: with protobuf tag and length each (CometBFT `Txs.Validate`).
        """
        rules, gas_left = self._proposal_rules()
        chosen = []
        for item in items:
            size = tx_size(item)
            if size > bytes_max:
                continue
            try:
                gas = self._bundles.parse(item, self.genesis_hash, rules.types).gas
            except ProtocolError:
                continue
            if gas <= gas_left:
                chosen.append(item)
                gas_left -= gas
                bytes_max -= size
        return chosen

    def acceptable(self, items: Sequence[bytes]) -> bool:
        """Judge a proposal: every item is a bundle and together they keep the block's gas limit."""
        rules, gas_left = self._proposal_rules()
        try:
            for item in items:
                gas_left -= self._bundles.parse(item, self.genesis_hash, rules.types).gas
        except ProtocolError:
            return False
        return gas_left >= 0

    @property
    def block_gas_max(self) -> int:
        """Gas limits of a block's transactions add up to no more."""
        return self._proposal_rules()[1]

    def _proposal_rules(self) -> tuple[Rules, int]:
        """Rules and gas limit of the next block. A program that does not know them halts here, before there is one."""
        known = self._known_rules
        if known is not None and known[0] == self._committed:
            return known[1], known[2].block_gas_max
        with pinned(self.store) as view:
            rules, parameters = self._in_force(view, self._overlay(view))
        return rules, parameters.block_gas_max

    def _in_force(self, view: PinnedView, state: Overlay) -> tuple[Rules, Parameters]:
        """Rules and parameters of the height that follows the view's: looked up once a version, which never changes."""
        known = self._known_rules
        if known is None or known[0] != view.version:
            rules = rules_at(self.rulebook, state, view.version + 1)
            known = self._known_rules = (view.version, rules, rules.governance.parameters(state))
        return known[1], known[2]

    # --- blocks ---------------------------------------------------------------------------------------------------

    def finalize(
        self,
        height: int,
        time_ns: int,
        block_hash: bytes,
        items: tuple[bytes, ...],
        misconduct: Sequence[Misconduct] = (),
        proposer: bytes = b"",
    ) -> FinalizedBlock:
        """Execute a decided block and stage its state; nothing is persisted before `commit`. Never fails on content.

        `proposer` is the engine's address of who made the block.
        """
        block = BlockContext(self.genesis.chain_id, self.genesis_hash, height, time_ns, block_hash)
        with pinned(self.store) as view:
            state = self._overlay(view)
            result = self._executor.execute_block(state, block, items, misconduct, proposer)
            writes, side = state.flush()
        for item in items:
            self._bundles.forget(item)
        if items:
            receipts = [list(bundle.receipts) for bundle in result.bundles]
            side[OUTCOMES] = {height.to_bytes(8, "big"): encode([time_ns, block_hash, receipts])}
        staged = self.store.stage(height, writes)
        self._staged = (staged, side, block.time_s)
        return FinalizedBlock(height, staged.root, result)

    def commit(self) -> None:
        """Persist state, root, height, receipts and logs of the finalised block in one atomic, durable write."""
        assert self._staged is not None, "an engine finalises before it commits"
        staged, side, time_s = self._staged
        for table, rows in self._swept(staged.version, side, time_s).items():
            side.setdefault(table, {}).update(rows)
        self.store.commit(staged, side)
        self._staged = None
        self._committed = staged.version
        self._block_time_s = time_s
        if staged.version % 16 == 0:
            try:
                held = self._held
                keep = self._keep_versions
                self.store.prune(keep if held is None else max(keep, staged.version - held[0] + 1))
            except StateError as exc:
                # The block is committed: a full disk leaves old versions for next time, and must not look like a failed commit.
                if exc.code != "state.disk_full":
                    raise

    def _swept(self, version: int, side: Side, time_s: int) -> Side:
        """What leaves the side tables in the same write: twice what the block adds, so that the rest shrinks."""
        added = len(side.get(EXECUTED, ()))
        if not added and version % 16:
            return {}
        keep_from_ns = None if self._keep_receipts_s is None else (time_s - self._keep_receipts_s) * 1_000_000_000
        # Up to the buckets of the oldest version that is kept: a rollback finds the contents that its state names.
        oldest = oldest_bucket(LedgerView(self.store, self.store.oldest_version))
        held = self._held
        if held is not None:
            oldest = min(oldest, held[1])
        with self.store.backend.read() as snapshot:
            return sweep(
                snapshot, oldest_bucket=oldest, keep_from_ns=keep_from_ns, rows_max=_SWEEP_ROWS_MIN + 2 * added
            )

    def rollback(self, version: int) -> bytes:
        """Take the state back to a kept version and forget what later blocks did; its root. On a stopped node.

        StateError `state.pruned`, `state.unknown_version`, `state.rollback` before the first block.
        """
        if version < self.genesis.initial_height:
            raise StateError("state.rollback", f"the chain's first block is {self.genesis.initial_height}")
        with self.store.backend.read() as snapshot:
            side = undone(snapshot, version)
        self.store.rollback(version, side)
        self._records = RecordCache()
        return self.store.root()

    # --- snapshots --------------------------------------------------------------------------------------------------

    def hold(self) -> int:
        """Keep the latest version, and the ids its buckets name, until `release`: on the thread that commits. The version."""
        with pinned(self.store) as view:
            self._held = (view.version, oldest_bucket(self._overlay(view)))
            return view.version

    def release(self) -> None:
        """End `hold`, from any thread."""
        self._held = None

    def snapshot(self, version: int) -> Iterator[bytes]:
        """The chunks of a held version, uncompressed: the same on every node. On any thread, beside further blocks."""
        return chunks_of(snapshot_content(self.store, LedgerView(self.store, version), version))

    def restore(self, height: int, content: Content, app_hash: bytes) -> Restoration:
        """Fill this ledger, which has no state yet, from a snapshot of the chain at `height`. StateError `state.not_empty`."""
        if height < self.genesis.initial_height:
            raise StateError("snapshot.content", f"height {height} is before the chain's first block")
        return Restoration(
            self.store.backend,
            height,
            content,
            app_hash,
            lambda app_version: _known(self.rulebook, app_version),
        )

    # --- what was committed ---------------------------------------------------------------------------------------

    def outcome(self, height: int) -> Outcome:
        """Receipts of a committed block. NotFoundError `query.no_outcome` for blocks without content, PrunedError
        `query.outcome_pruned` for those whose receipts this node has dropped."""
        with self.store.backend.read() as snapshot:
            data = snapshot.get(OUTCOMES, height.to_bytes(8, "big"))
        if data is None:
            self.require_receipts(height)
            raise NotFoundError("query.no_outcome", f"no transactions were executed at height {height}")
        time_ns, block_hash, receipts = decode(data)
        return Outcome(height, time_ns, block_hash, tuple(tuple(bundle) for bundle in receipts))

    def require_receipts(self, height: int) -> None:
        """PrunedError `query.outcome_pruned` when this node no longer keeps the receipts of a height."""
        with self.store.backend.read() as snapshot:
            kept_from = receipts_from(snapshot)
        if height < kept_from:
            raise PrunedError(
                "query.outcome_pruned",
                f"receipts before height {kept_from} are no longer kept here",
                hint=f"begin at height {kept_from}, or ask a node that keeps more",
            )

    def _overlay(self, view: PinnedView) -> Overlay:
        return Overlay(view, _Side(view), self._records)


def _known(rulebook: Rulebook, app_version: int) -> None:
    rulebook.at(app_version, "the snapshot")


class _Nothing:
    """The state before genesis."""

    def get(self, *_: object) -> None:
        return None

    def scan(self, _prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


_NOTHING: Final = _Nothing()
