"""Rules by app version: one program replays a chain across an upgrade; one that does not know the new rules stops before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import pytest

from althing.ledger.app import FinalizedBlock, Ledger
from althing.ledger.assembly import Rulebook
from althing.ledger.query import LedgerView
from althing.ledger.runtime.errors import HaltError, TxError
from althing.protocol.address import key_id
from althing.protocol.codec import decode, encode
from althing.protocol.cose import sign1
from althing.protocol.errors import EncodingError
from althing.protocol.hashing import DOMAIN_TX
from althing.protocol.messages.governance import ScheduleUpgrade, SetParameters, Upgrade
from althing.protocol.receipt import Receipt
from althing.protocol.signatures import PrivateKey
from althing.storage.memory import MemoryBackend
from althing.testing.harness import Actor, LedgerHarness
from althing.testing.rules import BALANCES, GIFT, NOTES_2, EraseNote, WriteNote, rulebook, rules_1, rules_2

UPGRADE_AT = 8


@dataclass
class Recorded:
    """What a block was made of, and what came of it."""

    height: int
    time_ns: int
    block_hash: bytes
    items: tuple[bytes, ...]
    done: FinalizedBlock


class Recorder(LedgerHarness):
    def __init__(self, **options: Any) -> None:
        self.recorded: list[Recorded] = []
        super().__init__(**options)

    def finalize(self, items: tuple[bytes, ...]) -> FinalizedBlock:
        done = super().finalize(items)
        block_hash = sha256(b"block" + self.height.to_bytes(8, "big")).digest()
        self.recorded.append(Recorded(self.height, self.time_s * 10**9, block_hash, items, done))
        return done


def write(actor: Actor, value: str, name: str = "n") -> WriteNote:
    return WriteNote(actor.address, name, value)


def with_first_message(chain: LedgerHarness, key: PrivateKey, data: bytes, message: list[Any]) -> bytes:
    """The transaction with another first message, signed anew: also messages that no class would make."""
    payload = decode(decode(data[1:])[2])
    payload[7][0] = message
    return sign1(key, key_id(key.suite, key.public), encode(payload), DOMAIN_TX + chain.genesis_hash)


def story(book: Rulebook) -> Recorder:
    """Notes before and after the upgrade, and what only one of the two versions takes."""
    chain = Recorder(rulebook=book)
    acme = chain.admin
    mine = chain.sign(acme, EraseNote(acme.address, "n"))
    malformed = with_first_message(chain, acme.key, chain.sign(acme, write(acme, "x")), ["notes.erase", [1, 2, 3]])
    upgrade = ScheduleUpgrade(Upgrade(UPGRADE_AT, 2, "release 2"))
    chain.block(chain.sign(acme, write(acme, "a first long text")), chain.sign(acme, upgrade))
    chain.block(mine, malformed, chain.sign(acme, write(acme, "x"), EraseNote(acme.address, "n")))
    while chain.height < UPGRADE_AT + 1:
        late = replace(chain.transaction(acme, write(acme, "paid", "p")), fee=7)
        chain.block(
            chain.sign(acme, write(acme, "second long text")),
            chain.sign(acme, write(acme, "short")),
            chain.signed(late, acme.key),
        )
    chain.block(chain.sign(acme, EraseNote(acme.address, "p")), malformed)
    return chain


def codes(recorded: Recorded) -> list[str]:
    return [Receipt.from_bytes(r).code for bundle in recorded.done.result.bundles for r in bundle.receipts]


def test_a_chain_across_an_upgrade_replays_with_one_program() -> None:
    chain = story(rulebook())
    by_height = {recorded.height: recorded for recorded in chain.recorded}
    assert codes(by_height[3]) == ["tx.message_type", "tx.message_type", "tx.message_type"]
    assert codes(by_height[UPGRADE_AT - 1]) == ["", "", "tx.fee"]
    assert codes(by_height[UPGRADE_AT]) == ["notes.too_long", "", ""]
    assert codes(by_height[UPGRADE_AT + 2]) == ["", "record.form"]
    assert [r.height for r in chain.recorded if r.done.result.app_version == 2] == [UPGRADE_AT - 1]
    # From genesis, in a fresh store, with a fresh ledger for every block.
    backend = MemoryBackend()
    Ledger(backend, chain.genesis, rulebook=rulebook()).init_chain()
    for recorded in chain.recorded:
        ledger = Ledger(backend, chain.genesis, rulebook=rulebook())
        done = ledger.finalize(recorded.height, recorded.time_ns, recorded.block_hash, recorded.items)
        ledger.commit()
        assert done == recorded.done


def test_the_gas_schedule_is_that_of_the_height() -> None:
    chain = story(rulebook())
    used = {
        recorded.height: Receipt.from_bytes(recorded.done.result.bundles[0].receipts[1]).gas_used
        for recorded in chain.recorded
        if UPGRADE_AT - 1 <= recorded.height <= UPGRADE_AT
    }
    assert used[UPGRADE_AT] - used[UPGRADE_AT - 1] == 200 + 30  # a write costs 500 instead of 300, and one read more


def test_the_migration_runs_at_the_height() -> None:
    chain = story(rulebook())
    acme = chain.admin

    def note(version: int) -> bytes | None:
        return LedgerView(chain.ledger.store, version).prove(NOTES_2.key(acme.address + b"n")).value

    assert note(UPGRADE_AT - 1) == encode(["short"])
    assert note(UPGRADE_AT) == encode(["short", 1])  # migrated with no edits, then edited
    view = LedgerView(chain.ledger.store)
    assert dict(view.versions().modules)["notes"] == view.versions().app_version == 2


def test_a_program_of_the_old_rules_agrees_up_to_the_height_and_stops_there() -> None:
    """Also on messages that only newer rules know: their form must not show in an old receipt."""
    chain = story(rulebook())
    backend = MemoryBackend()
    old = Ledger(backend, chain.genesis, rulebook=Rulebook(rules_1()))
    old.init_chain()
    for recorded in chain.recorded[: UPGRADE_AT - 1]:
        done = old.finalize(recorded.height, recorded.time_ns, recorded.block_hash, recorded.items)
        old.commit()
        assert done == recorded.done
    halted = chain.recorded[UPGRADE_AT - 1]
    assert halted.height == UPGRADE_AT
    before = old.app_hash
    for stop in (
        lambda: old.choose(halted.items, 10**6),  # its own proposal
        lambda: old.acceptable(halted.items),  # somebody else's
        lambda: old.finalize(halted.height, halted.time_ns, halted.block_hash, halted.items),
    ):
        with pytest.raises(HaltError, match=r"upgrade\.needed") as caught:
            stop()
        assert "release 2" in caught.value.hint
        assert f"height {UPGRADE_AT}" in caught.value.message
    assert (old.height, old.app_hash) == (UPGRADE_AT - 1, before)
    # The new release takes over the old one's store and comes to the same.
    new = Ledger(backend, chain.genesis, rulebook=rulebook())
    for recorded in chain.recorded[UPGRADE_AT - 1 :]:
        done = new.finalize(recorded.height, recorded.time_ns, recorded.block_hash, recorded.items)
        new.commit()
        assert done == recorded.done
    with pytest.raises(HaltError, match=r"upgrade\.needed"):
        Ledger(backend, chain.genesis, rulebook=Rulebook(rules_1()))


def test_admission_judges_by_the_rules_of_the_next_block() -> None:
    chain = LedgerHarness(rulebook=rulebook())
    acme = chain.admin
    erase = chain.sign(acme, EraseNote(acme.address, "n"))
    chain.run(acme, write(acme, "x"), ScheduleUpgrade(Upgrade(chain.height + 3, 2, "")))
    (verdict,) = chain.ledger.admit([erase], chain.time_s)
    assert isinstance(verdict, EncodingError)
    assert verdict.code == "tx.message_type"
    chain.block()
    (verdict,) = chain.ledger.admit([erase], chain.time_s)
    assert not isinstance(verdict, Exception)
    assert chain.block(erase)[0].ok


def test_a_chain_may_begin_with_newer_rules() -> None:
    genesis = replace(LedgerHarness().genesis, app_version=2)
    ledger = Ledger(MemoryBackend(), genesis, rulebook=Rulebook(rules_2()))
    ledger.init_chain()
    assert ledger.app_version == 2


# --- fees -------------------------------------------------------------------------------------------------------------


def paying() -> LedgerHarness:
    """A chain whose rules take fees, after the upgrade; acme has the gift."""
    chain = LedgerHarness(rulebook=rulebook())
    chain.run(chain.admin, write(chain.admin, "x"), ScheduleUpgrade(Upgrade(chain.height + 3, 2, "")))
    while chain.ledger.app_version == 1:
        chain.block()
    return chain


def balance(chain: LedgerHarness, address: bytes) -> int:
    found = BALANCES.get(LedgerView(chain.ledger.store), address)
    return 0 if found is None else found.value


def pay(chain: LedgerHarness, fee: int, *messages: Any, gas: int = 10_000) -> str:
    body = replace(chain.transaction(chain.admin, *messages, gas=gas), fee=fee)
    return chain.block(chain.signed(body, chain.admin.key))[0].code


def test_the_port_takes_fees_and_keeps_them_when_messages_are_refused() -> None:
    chain = paying()
    acme = chain.admin
    assert pay(chain, 5, write(acme, "y")) == ""
    assert pay(chain, 6, write(acme, "much too long a text")) == "notes.too_long"
    assert (balance(chain, acme.address), balance(chain, bytes(20))) == (GIFT - 11, 11)
    assert pay(chain, 0, write(acme, "y")) == ""  # nothing is asked for
    assert balance(chain, acme.address) == GIFT - 11


def test_a_fee_that_cannot_be_paid_is_refused_and_nothing_is_taken() -> None:
    chain = paying()
    assert pay(chain, GIFT + 1, write(chain.admin, "y")) == "tx.fee_unpaid"
    body = replace(chain.transaction(chain.admin, write(chain.admin, "y")), fee=GIFT + 1)
    (verdict,) = chain.ledger.admit([chain.signed(body, chain.admin.key)], chain.time_s)
    assert isinstance(verdict, TxError)
    assert verdict.code == "tx.fee_unpaid"
    assert balance(chain, chain.admin.address) == GIFT


def test_a_price_is_asked_for_where_fees_are_taken() -> None:
    chain = paying()
    present = LedgerView(chain.ledger.store).parameters()
    change = SetParameters(sha256(present.to_bytes()).digest(), replace(present, gas_price_min=3))
    assert pay(chain, 0, change) == ""
    assert pay(chain, 29_999, write(chain.admin, "y")) == "tx.fee"
    assert pay(chain, 30_000, write(chain.admin, "y")) == ""
    assert balance(chain, chain.admin.address) == GIFT - 30_000
