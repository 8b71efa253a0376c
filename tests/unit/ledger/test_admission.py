"""Admission, the engine's pool and proposals: what may come in, and that strangers cannot make use of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from althing.ledger import authorisation, txcache
from althing.ledger.app import Admitted, Ledger
from althing.ledger.authorisation import SignatureCache
from althing.ledger.runtime.errors import TxError
from althing.ledger.txcache import TxCache
from althing.protocol.address import key_id
from althing.protocol.block import tx_size
from althing.protocol.bundle import make_bundle
from althing.protocol.errors import ProtocolError, StateError, UnavailableError
from althing.protocol.messages.governance import Quota, SetOrganisation, SetParameters
from althing.protocol.messages.identity import AccountStatus, RotateKeys, SetAccountStatus, SetAttribute
from althing.protocol.signatures import Suite, verify
from althing.protocol.transaction import parse_transaction
from althing.storage.memory import MemoryBackend
from althing.testing.harness import Actor, LedgerHarness, default_parameters

from .conftest import Town


def note(actor: Actor) -> SetAttribute:
    return SetAttribute(actor.address, "note", "x")


def good(chain: LedgerHarness, **options: Any) -> bytes:
    return chain.sign(chain.admin, note(chain.admin), **options)


def broken(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def verdicts(ledger: Ledger, *transactions: bytes, time_s: int) -> list[str]:
    return [getattr(verdict, "code", "") for verdict in ledger.admit(transactions, time_s)]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Public keys of the signatures the ledger has computed."""
    keys: list[bytes] = []

    def counted(suite: Suite, key: bytes, message: bytes, signature: bytes) -> bool:
        keys.append(key)
        return verify(suite, key, message, signature)

    monkeypatch.setattr(authorisation, "verify", counted)
    return keys


# --- admission --------------------------------------------------------------------------------------------------------


def test_admission_judges_all_but_signatures(chain: LedgerHarness, checked: list[bytes]) -> None:
    now = chain.time_s
    executed = good(chain)
    chain.block(executed)
    checked.clear()
    transactions = [
        good(chain),
        broken(good(chain)),
        executed,
        good(chain, expiry=now),
        good(chain, expiry=now + 10_000),
        good(chain, gas=1),
        chain.sign(Actor.seeded("stranger"), note(chain.admin)),
        b"garbage",
    ]
    assert verdicts(chain.ledger, *transactions, time_s=now + 1) == [
        "",
        "",
        "tx.replayed",
        "tx.expired",
        "tx.expiry",
        "tx.gas_limit",
        "tx.unknown_account",
        "cose.tag",
    ]
    assert checked == []
    (verdict,) = chain.ledger.admit(transactions[:1], now + 1)
    assert isinstance(verdict, Admitted)
    ((key, signature),) = verdict.checks
    assert key == chain.admin.public
    assert verify(key.suite, key.public, signature.signed, signature.value)


def test_strangers_use_up_nobodys_quota_at_admission(town: Town) -> None:
    """Their transactions name a payer without its signature; what else is admitted with them must not suffer."""
    chain, bolt = town.chain, town.bolt
    town.ok(chain.admin, SetOrganisation(bolt.address, None, None, Quota(10_000, 1_000_000)))
    forged = [broken(chain.sign(bolt, note(bolt), gas=900_000)) for _ in range(50)]
    real = chain.sign(bolt, note(bolt), gas=900_000)
    assert verdicts(chain.ledger, *forged, real, time_s=chain.time_s)[-1] == ""
    above = chain.sign(bolt, note(bolt), gas=1_000_001)
    assert verdicts(chain.ledger, above, time_s=chain.time_s) == ["quota.gas"]


def test_the_lifetime_counts_from_ledger_time_where_the_clock_is_ahead(chain: LedgerHarness) -> None:
    """A block's time is that of the votes before it. Admitted transactions must not be refused by the next block."""
    lifetime = default_parameters().tx_lifetime_max_s
    ahead = chain.time_s + 30
    longest, longer = good(chain, expiry=chain.time_s + lifetime), good(chain, expiry=chain.time_s + lifetime + 1)
    assert verdicts(chain.ledger, longest, longer, time_s=ahead) == ["", "tx.expiry"]
    assert [r.code for r in chain.block(longest, longer, seconds=0)] == ["", "tx.expiry"]
    chain.reopen()  # the time of the last block is not known any more, the clock alone counts
    assert verdicts(chain.ledger, good(chain, expiry=ahead + lifetime), time_s=ahead) == [""]


def test_refused_transactions_are_not_kept(chain: LedgerHarness) -> None:
    stranger = Actor.seeded("stranger")
    before = (dict(chain.ledger.transactions._entries), chain.ledger.transactions._bytes)
    for i in range(20):
        chain.ledger.admit(
            [chain.sign(stranger, SetAttribute(stranger.address, "a", "x" * (1 + i * 50)))], chain.time_s
        )
    assert (chain.ledger.transactions._entries, chain.ledger.transactions._bytes) == before


def test_caches_are_bounded_by_bytes(chain: LedgerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(txcache, "_BYTES_MAX", 2_000)
    monkeypatch.setattr(authorisation, "_CACHE_BYTES_MAX", 2_000)
    transactions, signatures = TxCache(), SignatureCache()
    all_data = [good(chain) for _ in range(100)]
    for data in all_data:
        tx = transactions.parse(data, chain.genesis_hash)
        assert transactions.parse(data, chain.genesis_hash) is tx
        for signature in tx.signatures:
            assert signatures.check(chain.admin.public, signature)
        assert 0 < transactions._bytes <= 2_000
        assert 0 < signatures._bytes <= 2_000
        assert sum(map(len, transactions._entries)) == transactions._bytes
    for data in all_data:
        signatures.forget(chain.admin.public, parse_transaction(data, chain.genesis_hash).signatures[0])
        transactions.forget(data)
        transactions.forget(data)
    assert (transactions._bytes, signatures._bytes) == (0, 0)
    assert not signatures._known


# --- the pool ---------------------------------------------------------------------------------------------------------


def check(chain: LedgerHarness, data: bytes, *, recheck: bool = False, time_s: int | None = None) -> str:
    try:
        gas, count = chain.ledger.check_bundle(data, time_s or chain.time_s, recheck=recheck)
    except (TxError, ProtocolError) as exc:
        return exc.code
    assert gas > 0
    assert count > 0
    return ""


def test_bundles_in_the_pool(town: Town) -> None:
    chain = town.chain
    data = chain.bundle(good(chain), good(chain, gas=7_000))
    assert chain.ledger.check_bundle(data, chain.time_s, recheck=False) == (50_007_000, 2)
    executed = good(chain)
    chain.block(executed)
    now = chain.time_s
    assert check(chain, b"garbage") == "cose.tag"
    assert check(chain, chain.bundle(b"garbage")) == "cose.tag"
    assert check(chain, chain.bundle(executed)) == "bundle.stale"
    assert check(chain, chain.bundle(good(chain, expiry=now))) == "bundle.stale"
    assert check(chain, chain.bundle(good(chain, expiry=now + 10_000))) == "tx.expiry"
    assert check(chain, chain.bundle(broken(good(chain)))) == "tx.signature"
    assert check(chain, chain.bundle(good(chain, gas=1))) == "tx.gas_limit"
    assert check(chain, chain.bundle(good(chain), node=chain.admin)) == "bundle.node"
    assert check(chain, chain.bundle(good(chain), node=Actor.seeded("stranger"))) == "bundle.node"
    forged = make_bundle(chain.admin.key, chain.node.address, [good(chain)], chain.genesis_hash)
    assert check(chain, forged) == "bundle.signature"
    assert check(chain, broken(data)) == "bundle.signature"
    assert check(chain, make_bundle(chain.node.key, chain.node.address, [good(chain)], bytes(32))) == "bundle.signature"


def test_one_bad_transaction_does_not_keep_the_others_out(chain: LedgerHarness) -> None:
    """It may have expired, or been executed elsewhere, since its neighbours were admitted."""
    executed = good(chain)
    chain.block(executed)
    for other in (executed, good(chain, expiry=chain.time_s), good(chain, expiry=2**40), broken(good(chain))):
        bundle = chain.bundle(other, good(chain), other)
        assert check(chain, bundle) == ""
        assert check(chain, bundle, recheck=True) == ""


def test_strangers_cause_one_signature_check_a_bundle(town: Town, checked: list[bytes]) -> None:
    chain = town.chain
    inner = [good(chain) for _ in range(20)]
    assert check(chain, make_bundle(chain.admin.key, chain.node.address, inner, chain.genesis_hash)) != ""
    assert len(checked) <= 1
    assert check(chain, broken(chain.bundle(*inner))) == "bundle.signature"
    assert set(checked) <= {chain.node.key.public}
    assert len(checked) <= 2


def test_what_the_pool_has_checked_is_not_checked_again(chain: LedgerHarness, checked: list[bytes]) -> None:
    data = chain.bundle(*(good(chain) for _ in range(5)))
    assert check(chain, data) == ""
    assert len(checked) == 6
    assert check(chain, data) == check(chain, data, recheck=True) == ""
    chain.block_of((data,))
    assert len(checked) == 6
    assert chain.blocks[-1].result.bundles[0].code == 0
    assert not chain.ledger.signatures._known, "what was executed is forgotten"


def test_a_recheck_looks_at_expiry_and_replay_only(town: Town, checked: list[bytes]) -> None:
    chain = town.chain
    first, second = good(chain, expiry=chain.time_s + 50), good(chain, expiry=chain.time_s + 60)
    data = chain.bundle(first, second)
    assert check(chain, data, recheck=True) == ""
    chain.block(first)
    assert check(chain, data, recheck=True) == ""
    assert check(chain, data, recheck=True, time_s=chain.time_s + 100) == "bundle.stale"
    chain.block(second)
    count = len(checked)
    assert check(chain, data, recheck=True) == "bundle.stale"
    assert len(checked) == count


def test_a_bundle_no_block_could_hold_is_refused(town: Town) -> None:
    """Else it would stay in the pool until it expires, and its senders would wait as long."""
    chain = town.chain
    limit = town.view.parameters().block_gas_max
    fits = chain.bundle(good(chain, gas=limit // 2), good(chain, gas=limit // 2))
    above = chain.bundle(good(chain, gas=limit // 2), good(chain, gas=limit // 2 + 1))
    assert check(chain, fits) == ""
    assert check(chain, above) == "bundle.gas"
    assert check(chain, chain.bundle(*(good(chain, gas=2**63 - 1) for _ in range(5)), good(chain))) == "bundle.gas"
    present = town.view.parameters()
    assert chain.ledger.block_gas_max == limit
    town.ok(chain.admin, SetParameters(town.hash_of(present), replace(present, block_gas_max=limit - 1)))
    assert chain.ledger.block_gas_max == limit - 1
    assert check(chain, fits, recheck=True) == "bundle.gas"


def test_a_nodes_standing_and_keys_count_at_each_check(town: Town) -> None:
    chain = town.chain
    data = chain.bundle(good(chain), node=town.bolt_node)
    assert check(chain, data) == ""
    own = (key_id(town.bolt_node.key.suite, town.bolt_node.key.public),)
    new = Actor.seeded("new node key")
    town.ok(town.bolt_node, RotateKeys(town.bolt_node.address, (new.public,), None, own, False, None))
    assert check(chain, data) == "bundle.signature"
    chain.block_of((data,))
    assert chain.blocks[-1].result.bundles[0].log == "bundle.signature"
    renewed = Actor(new.key, town.bolt_node.address)
    data = chain.bundle(good(chain), node=renewed)
    assert check(chain, data) == ""
    town.ok(town.bolt, SetAccountStatus(town.bolt_node.address, AccountStatus.SUSPENDED))
    assert check(chain, data, recheck=True) == "bundle.node"
    chain.block_of((data,))
    assert chain.blocks[-1].result.bundles[0].log == "bundle.node"


# --- proposals --------------------------------------------------------------------------------------------------------


def test_a_proposal_keeps_the_gas_of_a_block(town: Town) -> None:
    chain, limit = town.chain, town.view.parameters().block_gas_max
    half, most, bit = (chain.bundle(good(chain, gas=gas)) for gas in (limit // 2, limit - 5_000, 5_000))
    assert chain.ledger.choose([half, most, bit, half], 2**20) == [half, bit]
    assert chain.ledger.choose([most, half, bit], 2**20) == [most, bit]
    assert chain.ledger.acceptable([most, bit])
    assert not chain.ledger.acceptable([most, bit, bit])
    assert not chain.ledger.acceptable([half, half, bit])
    assert chain.ledger.acceptable([])


def test_a_proposal_keeps_the_bytes_as_a_block_counts_them(chain: LedgerHarness) -> None:
    items = [chain.bundle(good(chain)) for _ in range(4)]
    room = sum(map(tx_size, items[:2]))
    assert chain.ledger.choose(items, room) == items[:2]
    assert chain.ledger.choose(items, room - 1) == items[:1]
    small = chain.bundle(good(chain, gas=5000))
    assert chain.ledger.choose([chain.bundle(*(good(chain) for _ in range(9))), small], tx_size(small)) == [small]
    assert chain.ledger.choose(items, 0) == []


def test_what_a_proposer_chooses_validators_accept(town: Town) -> None:
    """Whatever is in the pool; else a correct proposer's block would be refused."""
    chain = town.chain
    pool = [
        b"garbage",
        chain.bundle(b"garbage", good(chain)),
        chain.bundle(good(chain)),
        chain.bundle(good(chain), node=Actor.seeded("stranger")),
        chain.bundle(good(chain, gas=2**63 - 1)),
        chain.bundle(good(chain, expiry=1)),
    ]
    chosen = chain.ledger.choose(pool, 2**20)
    assert chosen == [pool[1], pool[2], pool[3], pool[5]]
    assert chain.ledger.acceptable(chosen)
    assert not chain.ledger.acceptable([pool[0]])
    chain.block_of(tuple(chosen))
    assert [bundle.code for bundle in chain.blocks[-1].result.bundles] == [0, 0, 1, 0]


# --- a full disk ------------------------------------------------------------------------------------------------------


class FullDisk(MemoryBackend):
    """Writes fail while told to, from the n-th on."""

    left: int | None = None

    def write(self, batch: Any) -> None:
        if self.left is not None:
            if self.left == 0:
                raise StateError("state.disk_full", "no room")
            self.left -= 1
        super().write(batch)


def test_a_commit_may_be_repeated_when_the_disk_was_full() -> None:
    backend = FullDisk()
    chain = LedgerHarness(backend=backend)
    chain.height += 1
    done = chain.finalize((chain.bundle(good(chain)),))
    backend.left = 0
    for _ in range(2):
        with pytest.raises((StateError, UnavailableError), match=r"state\.disk_full"):
            chain.ledger.commit()
    backend.left = None
    chain.ledger.commit()
    assert chain.ledger.app_hash == done.app_hash


def test_a_disk_that_fills_while_pruning_does_not_undo_the_commit() -> None:
    """The engine would repeat a commit that has happened."""
    backend = FullDisk()
    chain = LedgerHarness(backend=backend, keep_versions=1)
    for _ in range(40):
        backend.left = 1
        chain.block(good(chain))
    assert chain.ledger.height == chain.height
    backend.left = None
    oldest = chain.ledger.store.oldest_version
    for _ in range(20):
        chain.block(good(chain))
    assert chain.ledger.store.oldest_version != oldest
