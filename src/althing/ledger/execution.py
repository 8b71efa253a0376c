"""Executing a block: bundles in order, their transactions in order, exactly one receipt each.

`execute_block` reads like docs/spec/transactions.md, "Execution":

1. The rules are those in force at this height. An upgrade due at it migrates the modules, or halts a program that does
   not know its rules.
2. Evidence that the block carries is judged by governance.
3. A bundle must be made by an active node whose organisation has quota left, and carry the node's signature; a bad one
   yields an error result and no receipts.
4. A transaction that cannot be parsed, is expired, was executed before or is not authorised gets a refusal receipt. Its
   id stays unused; its bytes, and the gas of any transaction of its size, are charged to the node that bundled it.
5. Otherwise its payer is charged and its messages run, all or nothing, under its gas limit.
6. Modules with work at the end of a block do it: bonds that are due, validators by bond, the block's fees.
7. A block that changed or charged something ends by recording the ids, the quotas and its own hash in the header log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from althing.ledger.assembly import Rulebook, Rules
from althing.ledger.authorisation import SignatureCache, bundle_maker, require_bundle_signature, required_checks
from althing.ledger.modules.governance.state import UPGRADE, VALIDATORS, VERSIONS, Versions
from althing.ledger.quota import Quotas
from althing.ledger.runtime import headers
from althing.ledger.runtime.context import BlockContext, Context
from althing.ledger.runtime.errors import TxError
from althing.ledger.runtime.fees import Fees
from althing.ledger.runtime.gas import GasMeter, Prices, intrinsic
from althing.ledger.runtime.misconduct import Misconduct
from althing.ledger.runtime.overlay import Overlay, State
from althing.ledger.runtime.replay import Replay, location_bytes
from althing.ledger.txcache import BundleCache
from althing.protocol.errors import ProtocolError, RefusedError
from althing.protocol.hashing import sha256
from althing.protocol.messages.governance import Genesis, Parameters, Validator
from althing.protocol.receipt import Event, Receipt, receipts_root
from althing.protocol.transaction import SignedTransaction

__all__ = [
    "BlockResult",
    "BundleResult",
    "Executor",
    "check_lifetime",
    "check_price",
    "current_versions",
    "fees_of",
    "genesis_writes",
    "rules_at",
]

_UNLIMITED: Final = 2**62
CODE_BUNDLE: Final = 1  # ExecTxResult.code of a bundle that was not executed


@dataclass(frozen=True, slots=True)
class BundleResult:
    """Outcome of an engine's item: `code` 0 and the receipts of its transactions, or an error and none.

    `id` is SHA-256 of the item, as engines name it; `log` is the error's code.
    """

    id: bytes
    code: int
    log: str
    data: bytes
    gas_wanted: int
    gas_used: int
    receipts: tuple[bytes, ...]
    tx_ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Outcome of a block: results in the order of its items, validators that changed, events of its evidence.

    `app_version` is that of the next block's rules where they change, so that the next header can name it.
    """

    bundles: tuple[BundleResult, ...]
    validators: tuple[Validator, ...]
    app_version: int | None
    content: bool
    events: tuple[Event, ...] = ()


class Executor:
    """Executes blocks over an overlay. Holds caches of pure facts only."""

    def __init__(self, rulebook: Rulebook, bundles: BundleCache, signatures: SignatureCache) -> None:
        self._rulebook = rulebook
        self._bundles = bundles
        self._signatures = signatures

    def execute_block(
        self,
        state: Overlay,
        block: BlockContext,
        items: tuple[bytes, ...],
        misconduct: Sequence[Misconduct] = (),
        proposer: bytes = b"",
    ) -> BlockResult:
        rules = self._upgrade(state, block)  # 1
        ctx = Context(block, state, GasMeter(_UNLIMITED, rules.prices), frozenset())
        rules.governance.judge(ctx, misconduct)  # 2
        state.keep()
        run = _Run(self, rules, state, block, rules.governance.parameters(state))
        bundles = tuple(run.bundle(number, item) for number, item in enumerate(items))
        for module in rules.closing:  # 6
            module.close(ctx, proposer)
        state.keep()
        validators = _changed_validators(state)
        content = state.changed or run.quotas.used
        if content:  # 7
            run.replay.finish(block.height, block.time_s)
            run.quotas.finish()
            headers.append(state, block.height, block.block_hash)
            state.keep()
        due = UPGRADE.get(state, b"")
        announced = None if due is None or due.height != block.height + 1 else due.app_version
        return BlockResult(bundles, validators, announced, content, tuple(ctx.events))

    def _upgrade(self, state: Overlay, block: BlockContext) -> Rules:
        rules = rules_at(self._rulebook, state, block.height)
        due = UPGRADE.get(state, b"")
        if due is None or block.height < due.height:
            return rules
        ctx = Context(block, state, GasMeter(_UNLIMITED, rules.prices), frozenset())
        stored = dict(_versions(state).modules)
        for module in rules.ordered:
            for version in range(stored.get(module.name, 0), module.version):
                module.migrations[version](ctx)
        VERSIONS.put(state, b"", current_versions(rules))
        UPGRADE.delete(state, b"")
        state.keep()
        return rules


class _Run:
    """One block under way."""

    def __init__(
        self, executor: Executor, rules: Rules, state: Overlay, block: BlockContext, parameters: Parameters
    ) -> None:
        self._rules = rules
        self._bundles = executor._bundles
        self._signatures = executor._signatures
        self._state = state
        self._block = block
        self._parameters = parameters
        self.replay = Replay(state)
        self.quotas = Quotas(state, block.time_s // parameters.quota_window_s)
        self._fees = fees_of(rules, state)

    def bundle(self, number: int, item: bytes) -> BundleResult:
        name = sha256(item)
        try:
            bundle = self._bundles.envelope(item, self._block.genesis_hash)
            node = bundle_maker(self._rules.identity, self._state, bundle)
            self.quotas.check(node.organisation, 1, 1)
            key = require_bundle_signature(node, bundle, self._block.time_s, self._signatures)
            self._signatures.forget(key, bundle.signature)
        except (ProtocolError, RefusedError) as exc:
            return BundleResult(name, CODE_BUNDLE, exc.code, b"", 0, 0, (), ())
        parsed = self._bundles.parse(item, self._block.genesis_hash, self._rules.types, envelope=bundle)
        receipts = []
        tx_ids = []
        gas_wanted = gas_used = 0
        for index, (data, found) in enumerate(zip(bundle.transactions, parsed.transactions, strict=True)):
            location = location_bytes(self._block.height, number, index)
            wanted, receipt = self._transaction(data, found, location, node.organisation)
            gas_wanted += wanted
            gas_used += receipt.gas_used
            receipts.append(receipt.to_bytes())
            tx_ids.append(receipt.tx_id)
        return BundleResult(name, 0, "", receipts_root(receipts), gas_wanted, gas_used, tuple(receipts), tuple(tx_ids))

    def _transaction(
        self, data: bytes, tx: SignedTransaction | ProtocolError, location: bytes, bundler: bytes
    ) -> tuple[int, Receipt]:
        # 4
        try:
            if isinstance(tx, ProtocolError):
                raise tx.with_traceback(None)  # it is kept: no frames with it
            self._admit(tx)
        except (ProtocolError, RefusedError) as exc:
            tx_id, signatures = (sha256(data), 0) if isinstance(tx, ProtocolError) else (tx.id, len(tx.signatures))
            self.quotas.charge(bundler, len(data), intrinsic(len(data), signatures, self._rules.prices))
            return 0, Receipt(1, tx_id, _receipt_code(exc.code), 0, ())
        # 5
        body = tx.transaction
        meter = GasMeter(body.gas_limit, self._rules.prices)
        ctx = Context(self._block, self._state, meter, frozenset(body.signers))
        code = ""
        if body.fee:
            assert self._fees is not None, "admission refuses fees that nobody takes"
            self._fees.charge(
                Context(self._block, self._state, GasMeter(_UNLIMITED, self._rules.prices), ctx.signers),
                body.payer,
                body.fee,
            )
            self._state.keep()
        try:
            meter.charge(intrinsic(tx.size, len(tx.signatures), self._rules.prices))
            for message in body.messages:
                self._rules.handlers[type(message)](ctx, message)
        except (ProtocolError, RefusedError) as exc:
            code = exc.code
            self._state.drop()
            ctx.events.clear()
        self.replay.record(tx.id, body.expiry, location)
        self._state.keep()
        payer = self._rules.identity.account(self._state, body.payer)
        assert payer is not None, "admission found the payer"
        self.quotas.charge(payer.organisation, tx.size, meter.used)
        return body.gas_limit, Receipt(1, tx.id, code, meter.used, tuple(ctx.events))

    def _admit(self, tx: SignedTransaction) -> None:
        check_lifetime(tx, self._block.time_s, self._parameters)
        if self.replay.executed(tx.id):
            raise TxError("tx.replayed", "the transaction was executed before")
        checks = required_checks(self._rules.identity, self._state, tx, self._block.time_s)
        payer = self._rules.identity.account(self._state, tx.transaction.payer)
        if payer is None:
            raise TxError("tx.unknown_account", "the payer has no account yet")
        check_price(tx, self._parameters, self._rules.prices, self._fees, self._state)
        self.quotas.check(payer.organisation, tx.size, tx.transaction.gas_limit)
        for key, signature in checks:
            if not self._signatures.take(key, signature):
                raise TxError("tx.signature", "a signature does not verify", hint="was it made for this chain?")


def _receipt_code(code: str) -> str:
    # Receipts are hashed into the next header. Which of several faults a CBOR library meets first differs between its
    # releases, so one code stands for them all.
    return "cbor.malformed" if code.startswith("cbor.") else code


def check_lifetime(tx: SignedTransaction, time_s: int, parameters: Parameters, *, ledger_s: int | None = None) -> None:
    """TxError `tx.expired` or `tx.expiry`: the expiry is after now and at most tx_lifetime_max_s ahead.

    Admission judges by a clock which ledger time may lag behind: then the end is counted from `ledger_s`.
    """
    expiry = tx.transaction.expiry
    if expiry <= time_s:
        raise TxError(
            "tx.expired", f"the transaction expired at {expiry}, ledger time is {time_s}", hint="sign it anew"
        )
    start = time_s if ledger_s is None else min(time_s, ledger_s)
    if expiry > start + parameters.tx_lifetime_max_s:
        raise TxError(
            "tx.expiry",
            f"the expiry is more than {parameters.tx_lifetime_max_s} s ahead of ledger time {start}",
            hint="choose an earlier expiry; check the clock",
        )


def fees_of(rules: Rules, state: State) -> Fees | None:
    """Who takes fees on this chain, if anybody."""
    return rules.fees if rules.fees is not None and rules.fees.takes(state) else None


def check_price(tx: SignedTransaction, parameters: Parameters, prices: Prices, fees: Fees | None, state: State) -> None:
    """TxError when size, gas limit or fee are outside what the parameters allow, or the payer cannot pay the fee.

    `fees` is `fees_of` the chain.
    """
    body = tx.transaction
    if tx.size > parameters.tx_bytes_max:
        raise TxError("tx.too_large", f"a transaction has at most {parameters.tx_bytes_max} bytes on this chain")
    needed = intrinsic(tx.size, len(tx.signatures), prices)
    if not needed <= body.gas_limit <= parameters.block_gas_max:
        raise TxError("tx.gas_limit", f"the gas limit is not between {needed} and {parameters.block_gas_max}")
    if fees is None:
        # Nobody would take it: whoever offers a fee believes in a rule that is not in force.
        if body.fee:
            raise TxError("tx.fee", "this chain takes no fees", hint="set the fee to 0")
        return
    if body.fee < body.gas_limit * parameters.gas_price_min:
        raise TxError("tx.fee", "the fee is below gas limit × gas_price_min")
    if body.fee and not fees.payable(state, body.payer, body.fee):
        raise TxError("tx.fee_unpaid", "the payer cannot pay the fee")


def current_versions(rules: Rules) -> Versions:
    """The versions that these rules' modules write."""
    return Versions(rules.app_version, tuple(sorted((module.name, module.version) for module in rules.ordered)))


def rules_at(rulebook: Rulebook, state: State, height: int) -> Rules:
    """The rules in force at the height that follows `state`, or HaltError `upgrade.needed`."""
    due = UPGRADE.get(state, b"")
    if due is not None and height >= due.height:
        return rulebook.at(due.app_version, f"the chain from height {due.height} on", due.info)
    return rulebook.at(_versions(state).app_version, "this chain")


def _versions(state: State) -> Versions:
    found = VERSIONS.get(state, b"")
    assert found is not None, "genesis writes the versions"
    return found


def genesis_writes(rulebook: Rulebook, state: Overlay, block: BlockContext, genesis: Genesis) -> None:
    """Write the first state into `state`; AlthingError when genesis contradicts itself."""
    rules = rulebook.at(genesis.app_version, "this genesis")
    ctx = Context(block, state, GasMeter(_UNLIMITED, rules.prices), frozenset())
    for module in rules.ordered:
        module.genesis(ctx, genesis)
    VERSIONS.put(state, b"", current_versions(rules))
    state.keep()


def _changed_validators(state: Overlay) -> tuple[Validator, ...]:
    changed = []
    for key, value in state.written(VALIDATORS.prefix):
        before = state.committed(key, Validator)
        power = value.power if isinstance(value, Validator) else 0
        # Engines stop when told to remove a validator they do not know, such as one added and removed in one block.
        if power != (0 if before is None else before.power):
            public = key[len(VALIDATORS.prefix) :]
            changed.append(value if isinstance(value, Validator) else Validator(public, 0, bytes(20)))
    return tuple(changed)
