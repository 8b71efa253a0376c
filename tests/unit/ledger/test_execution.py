"""Executing blocks: one receipt each, all or nothing, never twice, in bounds of time and gas."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from althing.ledger.app import Ledger
from althing.ledger.query import LedgerView, find_transaction
from althing.ledger.runtime.errors import ModuleError, NotFoundError, TxError
from althing.ledger.runtime.gas import intrinsic
from althing.ledger.runtime.replay import BUCKET_S, Location
from althing.protocol.codec import encode
from althing.protocol.errors import AlthingError, StateError
from althing.protocol.messages.devices import RegisterDevice
from althing.protocol.messages.governance import SetParameters
from althing.protocol.messages.identity import SetAttribute
from althing.protocol.receipt import Receipt, receipts_root
from althing.protocol.transaction import parse_transaction, sign_transaction
from althing.testing.harness import GENESIS_TIME, Actor, LedgerHarness, default_parameters

from .conftest import Town

LIFETIME = default_parameters().tx_lifetime_max_s


def note(chain: LedgerHarness, value: str | None = "x", *, name: str = "note") -> SetAttribute:
    return SetAttribute(chain.admin.address, name, value)


def attribute(chain: LedgerHarness, name: str = "note") -> str | None:
    return dict(LedgerView(chain.ledger.store).attributes(chain.admin.address)).get(name)


# --- one receipt each -------------------------------------------------------------------------------------------------


def test_a_receipt_names_its_transaction_and_what_it_did(chain: LedgerHarness) -> None:
    data = chain.sign(chain.admin, note(chain))
    (receipt,) = chain.block(data)
    signed = parse_transaction(data, chain.genesis_hash)
    assert receipt.ok
    assert receipt.tx_id == signed.id
    assert [(e.name, e.values) for e in receipt.events] == [("identity.attribute", (chain.admin.address, "note"))]
    assert receipt.gas_used >= intrinsic(len(data), 1)
    bundle = chain.blocks[-1].result.bundles[0]
    assert bundle.tx_ids == (signed.id,)
    assert bundle.data == receipts_root([receipt.to_bytes()])
    assert bundle.gas_used == receipt.gas_used
    assert bundle.gas_wanted == signed.transaction.gas_limit
    location = find_transaction(chain.ledger.store, signed.id)
    assert location == Location(chain.height, 0, 0)
    assert chain.ledger.outcome(chain.height).receipts == ((receipt.to_bytes(),),)


def test_bundles_and_transactions_keep_their_order(chain: LedgerHarness) -> None:
    values = [[chain.sign(chain.admin, note(chain, f"{b}.{t}")) for t in range(3)] for b in range(3)]
    receipts = chain.block_of(tuple(chain.bundle(*group) for group in values))
    expected = [parse_transaction(data, chain.genesis_hash).id for group in values for data in group]
    assert [receipt.tx_id for receipt in receipts] == expected
    assert attribute(chain) == "2.2"
    assert find_transaction(chain.ledger.store, expected[5]) == Location(chain.height, 1, 2)


GARBAGE = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda data: b"\xd2\x84" + data),
    st.lists(st.integers() | st.binary(max_size=3), max_size=4).map(
        lambda item: b"\xd2" + encode([0 if type(i) is int else i for i in item])
    ),
)


@settings(max_examples=60)
@given(st.lists(st.one_of(st.just(None), GARBAGE, st.tuples(st.integers(0, 10**6), st.integers(0, 255))), max_size=6))
def test_every_inner_transaction_gets_its_receipt_whatever_its_bytes(parts: list[object]) -> None:
    """None is a good one, a pair damages a good one, anything else is garbage."""
    chain = LedgerHarness()
    bundle: list[bytes] = []
    for part in [*parts, None]:
        good = chain.sign(chain.admin, note(chain))
        if part is None:
            bundle.append(good)
        elif isinstance(part, bytes):
            bundle.append(part)
        else:
            at, value = part  # type: ignore[misc]
            at %= len(good)
            bundle.append(good[:at] + bytes((value,)) + good[at + 1 :])
    receipts = chain.block(*bundle)
    assert len(receipts) == len(bundle)
    for data, receipt in zip(bundle, receipts, strict=True):
        try:
            expected = parse_transaction(data, chain.genesis_hash).id
        except AlthingError:
            expected = sha256(data).digest()
        assert receipt.tx_id == expected
        assert receipt.ok or not receipt.gas_used
    assert receipts[-1].ok


@settings(max_examples=100)
@given(st.lists(GARBAGE, min_size=1, max_size=4), st.integers(0, 10**6), st.integers(0, 255))
def test_items_that_are_no_bundles_give_an_error_result_each(items: list[bytes], at: int, value: int) -> None:
    chain = LedgerHarness()
    good = chain.bundle(chain.sign(chain.admin, note(chain)))
    at %= len(good)
    damaged = good[:at] + bytes((value ^ good[at] or 1,)) + good[at + 1 :]
    chain.block_of((*items, damaged, good))
    results = chain.blocks[-1].result.bundles
    assert len(results) == len(items) + 2
    for result, item in zip(results, (*items, damaged, good), strict=True):
        assert result.id == sha256(item).digest()
    for result in results[: len(items)]:
        assert result.code != 0
        assert result.data == b""
        assert result.receipts == ()
        assert result.log
    assert results[-1].code == 0
    assert attribute(chain) == "x"


def test_exception_text_is_in_no_result(chain: LedgerHarness) -> None:
    """Only codes are: text may vary with the version of Python, and results are hashed."""
    receipts = chain.block(b"", b"\xff", chain.sign(chain.admin, note(chain), expiry=1))
    assert [r.code for r in receipts] == ["cose.tag", "cose.tag", "tx.expired"]
    chain.block_of((b"\xff",))
    assert chain.blocks[-1].result.bundles[0].log == "cose.tag"


# --- all or nothing ---------------------------------------------------------------------------------------------------


def test_messages_take_effect_all_or_not_at_all(chain: LedgerHarness) -> None:
    bad = SetAttribute(bytes(20), "x", "y")
    for messages in ([note(chain), bad], [bad, note(chain)], [note(chain, name="a"), bad, note(chain, name="b")]):
        receipt = chain.run(chain.admin, *messages)
        assert receipt.code == "auth.account"
        assert receipt.events == ()
        assert LedgerView(chain.ledger.store).attributes(chain.admin.address) == []


def test_later_messages_see_earlier_ones(chain: LedgerHarness) -> None:
    register = RegisterDevice("d", chain.admin.address, None, None, ())
    assert chain.run(chain.admin, register, register).code == "devices.name_taken"
    assert chain.run(chain.admin, register).ok


def test_a_failed_transaction_leaves_no_trace_for_the_next_in_its_bundle(chain: LedgerHarness) -> None:
    failing = chain.sign(chain.admin, note(chain, "left over"), SetAttribute(bytes(20), "x", "y"))
    remove = chain.sign(chain.admin, note(chain, None))
    first, second = chain.block(failing, remove)
    assert first.code
    assert second.ok
    assert attribute(chain) is None


# --- never twice ------------------------------------------------------------------------------------------------------


def test_a_transaction_is_executed_once(chain: LedgerHarness) -> None:
    data = chain.sign(chain.admin, note(chain))
    in_bundle = chain.block(data, data)
    assert [r.code for r in in_bundle] == ["", "tx.replayed"]
    assert [r.code for r in chain.block_of((chain.bundle(data), chain.bundle(data)))] == ["tx.replayed"] * 2
    chain.run(chain.admin, note(chain, "later"))
    assert chain.block(data)[0].code == "tx.replayed"
    chain.reopen()
    assert chain.block(data)[0].code == "tx.replayed"
    assert attribute(chain) == "later"
    assert find_transaction(chain.ledger.store, in_bundle[0].tx_id).height == chain.height - 4


def test_neither_in_two_bundles_of_a_block(chain: LedgerHarness) -> None:
    data = chain.sign(chain.admin, note(chain))
    assert [r.code for r in chain.block_of((chain.bundle(data), chain.bundle(data)))] == ["", "tx.replayed"]


def test_a_failed_transaction_is_executed_too(chain: LedgerHarness) -> None:
    data = chain.sign(chain.admin, SetAttribute(bytes(20), "x", "y"))
    assert [r.code for r in chain.block(data, data)] == ["auth.account", "tx.replayed"]


def test_a_refused_transaction_may_come_again(chain: LedgerHarness) -> None:
    """Its id stays unused: who bundles it too early or with a broken envelope cannot spoil it."""
    data = chain.sign(chain.admin, note(chain))
    broken = data[:-1] + bytes((data[-1] ^ 1,))
    early = chain.sign(chain.admin, note(chain), expiry=chain.time_s + LIFETIME + 20)
    receipts = chain.block(broken, data, early)
    assert [r.code for r in receipts] == ["tx.signature", "", "tx.expiry"]
    assert receipts[0].tx_id == receipts[1].tx_id
    chain.block(seconds=30)
    assert chain.block(early)[0].ok


def test_another_envelope_of_the_same_payload_is_a_replay() -> None:
    chain = LedgerHarness()
    second = Actor.seeded("second key")
    body = chain.transaction(chain.admin, note(chain))
    one = sign_transaction(body, [chain.admin.key], chain.genesis_hash)
    several = sign_transaction(body, [chain.admin.key, second.key], chain.genesis_hash)
    assert chain.block(one)[0].ok
    assert chain.block(several)[0].code == "tx.replayed"


def test_replay_protection_ends_where_expiry_takes_over(chain: LedgerHarness) -> None:
    """Every second from execution to beyond the end of the id's bucket: replayed, then expired, never executed."""
    expiry = chain.time_s + 2 * BUCKET_S
    data = chain.sign(chain.admin, note(chain), expiry=expiry)
    assert chain.block(data)[0].ok
    while chain.time_s < expiry + 3 * BUCKET_S:
        code = chain.block(data, chain.sign(chain.admin, note(chain)), seconds=7)[0].code
        assert code == ("tx.replayed" if chain.time_s < expiry else "tx.expired")


def test_ended_buckets_leave_the_state() -> None:
    """Also when nothing was executed for longer than any lifetime, and some had days to live."""
    chain = LedgerHarness(parameters=replace(default_parameters(), tx_lifetime_max_s=86_400))

    def buckets() -> list[int]:
        prefix = b"runtime/executed/"
        entries = chain.ledger.store.view().scan(prefix)
        return [int.from_bytes(key[len(prefix) :], "big") for key, _ in entries]

    for ahead in (100, 5_000, 86_390):
        assert chain.block(chain.sign(chain.admin, note(chain), expiry=chain.time_s + ahead))[0].ok
    assert len(buckets()) >= 3
    for _ in range(3):
        chain.block(seconds=86_400)
    assert chain.run(chain.admin, note(chain)).ok
    assert buckets() == [(chain.time_s - 1 + 300) // BUCKET_S]


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "code"), [(-1, "tx.expired"), (0, "tx.expired"), (1, ""), (LIFETIME, ""), (LIFETIME + 1, "tx.expiry")]
)
def test_expiry_is_after_now_and_within_the_lifetime(chain: LedgerHarness, ahead: int, code: str) -> None:
    data = chain.sign(chain.admin, note(chain), expiry=chain.time_s + 1 + ahead)
    assert chain.block(data, seconds=1)[0].code == code


def test_ledger_time_is_whole_seconds_of_block_time(chain: LedgerHarness) -> None:
    data = chain.sign(chain.admin, note(chain), expiry=chain.time_s + 1)
    item = (chain.bundle(data),)
    chain.height += 1
    late = chain.ledger.finalize(chain.height, (chain.time_s + 1) * 10**9, bytes(32), item)
    assert Receipt.from_bytes(late.result.bundles[0].receipts[0]).code == "tx.expired"
    early = chain.ledger.finalize(chain.height, (chain.time_s + 1) * 10**9 - 1, bytes(32), item)
    assert Receipt.from_bytes(early.result.bundles[0].receipts[0]).ok


# --- gas --------------------------------------------------------------------------------------------------------------


def test_the_gas_limit_stops_exactly(chain: LedgerHarness) -> None:
    """With the gas it used, a transaction passes; with one less it stops at the limit and changes nothing."""

    def tx(gas: int) -> bytes:
        return chain.sign(chain.admin, note(chain, "new"), gas=gas)

    needed = chain.block(tx(60_000))[0].gas_used  # as many bytes as all limits below
    chain.run(chain.admin, note(chain, None))
    (receipt,) = chain.block(tx(needed - 1))
    assert (receipt.code, receipt.gas_used) == ("tx.out_of_gas", needed - 1)
    assert attribute(chain) is None
    (receipt,) = chain.block(tx(needed))
    assert (receipt.code, receipt.gas_used) == ("", needed)
    assert attribute(chain) == "new"


def test_a_gas_limit_below_the_intrinsic_gas_is_refused(chain: LedgerHarness) -> None:
    size = len(chain.sign(chain.admin, note(chain), gas=2_000))
    least = intrinsic(size, 1)
    assert chain.block(chain.sign(chain.admin, note(chain), gas=least - 1))[0].code == "tx.gas_limit"
    (receipt,) = chain.block(chain.sign(chain.admin, note(chain), gas=least))
    assert (receipt.code, receipt.gas_used) == ("tx.out_of_gas", least)


def test_gas_and_fee_stay_within_the_parameters() -> None:
    chain = LedgerHarness(parameters=replace(default_parameters(), block_gas_max=60_000_000, tx_bytes_max=16_384))
    assert chain.block(chain.sign(chain.admin, note(chain), gas=60_000_000))[0].ok
    assert chain.block(chain.sign(chain.admin, note(chain), gas=60_000_001))[0].code == "tx.gas_limit"
    large = [note(chain, str(number) * 1000) for number in range(1, 10)] * 2
    assert chain.block(chain.sign(chain.admin, *large))[0].code == "tx.too_large"


def test_rules_without_a_coin_neither_ask_for_a_fee_nor_take_one(town: Town) -> None:
    chain = town.chain
    present = default_parameters()
    asking = SetParameters(sha256(present.to_bytes()).digest(), replace(present, gas_price_min=1))
    assert town.code(chain.admin, asking) == "governance.fees"
    body = replace(chain.transaction(chain.admin, note(chain)), fee=1)
    data = sign_transaction(body, [chain.admin.key], chain.genesis_hash)
    (admitted,) = chain.ledger.admit([data], chain.time_s)
    assert isinstance(admitted, TxError)
    assert admitted.code == "tx.fee"
    assert chain.block(data)[0].code == "tx.fee"
    with pytest.raises(ModuleError, match=r"governance\.fees"):
        LedgerHarness(parameters=replace(present, gas_price_min=1))


# --- blocks and their state -------------------------------------------------------------------------------------------


def test_blocks_without_content_change_no_key(chain: LedgerHarness) -> None:
    root = chain.ledger.app_hash
    for _ in range(3):
        chain.block()
        assert chain.ledger.app_hash == root
        assert not chain.blocks[-1].result.content
        with pytest.raises(NotFoundError, match=r"query\.no_outcome"):
            chain.ledger.outcome(chain.height)
    chain.block_of((b"garbage", chain.bundle(b"")[:-1]))
    assert chain.ledger.app_hash == root
    assert not chain.blocks[-1].result.content


def test_the_header_log_holds_blocks_with_content_and_proves_them(chain: LedgerHarness) -> None:
    logged = [chain.height]
    for i in range(12):
        if i % 3 == 0:
            chain.block(seconds=1)
        else:
            assert chain.run(chain.admin, note(chain, str(i))).ok
            logged.append(chain.height)
    view = LedgerView(chain.ledger.store)
    size, answer = view.header_log()
    assert size == len(logged)
    assert answer.value is not None
    for index, height in enumerate(logged):
        data, path = view.header_entry(index, size)
        assert data == encode([height, sha256(b"block" + height.to_bytes(8, "big")).digest()])
        assert len(path) <= size.bit_length()


def test_finalising_again_gives_the_same_and_persists_nothing(chain: LedgerHarness) -> None:
    items = (chain.bundle(chain.sign(chain.admin, note(chain))), b"garbage")
    before, root = chain.ledger.height, chain.ledger.app_hash
    chain.height += 1
    first = chain.finalize(items)
    second = chain.finalize(items)
    assert first == second
    assert (chain.ledger.height, chain.ledger.app_hash) == (before, root)
    other = chain.finalize(())
    assert other.app_hash == root
    assert chain.finalize(items) == first
    chain.ledger.commit()
    assert chain.ledger.app_hash == first.app_hash


def test_a_crash_between_finalise_and_commit_loses_nothing(chain: LedgerHarness) -> None:
    items = (chain.bundle(chain.sign(chain.admin, note(chain))),)
    before, root = chain.ledger.height, chain.ledger.app_hash
    chain.height += 1
    staged = chain.finalize(items)
    chain.reopen()
    assert (chain.ledger.height, chain.ledger.app_hash) == (before, root)
    assert attribute(chain) is None
    assert chain.finalize(items) == staged
    chain.ledger.commit()
    assert chain.ledger.app_hash == staged.app_hash
    assert attribute(chain) == "x"


def test_blocks_come_in_order(chain: LedgerHarness) -> None:
    for height in (chain.height, chain.height + 2, 0):
        with pytest.raises(StateError, match=r"state\.version_order"):
            chain.ledger.finalize(height, chain.time_s * 10**9, bytes(32), ())


def test_genesis_may_be_written_again_before_the_first_block_only() -> None:
    chain = LedgerHarness()
    fresh = Ledger(type(chain.backend)(), chain.genesis)
    first = fresh.init_chain()
    assert fresh.init_chain() == first
    assert fresh.height == 0
    with pytest.raises(StateError, match=r"state\.not_empty"):
        chain.ledger.init_chain()


def test_a_store_belongs_to_one_chain(chain: LedgerHarness) -> None:
    other = replace(chain.genesis, salt=b"another network!")
    with pytest.raises(StateError):
        Ledger(chain.backend, other)


def test_time_begins_with_genesis(chain: LedgerHarness) -> None:
    account = LedgerView(chain.ledger.store).account(chain.admin.address)
    assert account.keys[0].valid_from == GENESIS_TIME
