"""Quotas: what an organisation's transactions, and its nodes' bundles, may use in a window of ledger time."""

from __future__ import annotations

import pytest

from althing.ledger.modules.governance.state import QUOTA_USE
from althing.ledger.runtime.gas import intrinsic
from althing.protocol.messages.governance import Quota, QuotaUse, SetOrganisation
from althing.protocol.messages.identity import AccountKind, SetAttribute
from althing.testing.harness import Actor

from .conftest import ROOMY, Town

WINDOW = 60


def note(actor: Actor, value: str = "x") -> SetAttribute:
    return SetAttribute(actor.address, "note", value)


def use(town: Town, actor: Actor) -> QuotaUse | None:
    found = QUOTA_USE.get(town.view, actor.address)
    return found if found is not None and found.window == town.chain.time_s // WINDOW else None


def limit(town: Town, actor: Actor, size: int, gas: int) -> None:
    town.ok(town.chain.admin, SetOrganisation(actor.address, None, None, Quota(size, gas)))


def next_window(town: Town, ahead: int = 1) -> None:
    """Move on to the first second of a later window."""
    chain = town.chain
    chain.block(seconds=(chain.time_s // WINDOW + ahead) * WINDOW - chain.time_s)
    assert chain.time_s % WINDOW == 0


@pytest.fixture
def town() -> Town:
    made = Town()
    next_window(made)
    return made


def test_the_payers_organisation_pays_bytes_and_gas(town: Town) -> None:
    worker = Actor.seeded("worker")
    town.ok([town.bolt, worker], town.account(town.bolt, worker, AccountKind.PERSON, "worker"))
    next_window(town)
    data = town.chain.sign(worker, note(worker))
    (receipt,) = town.chain.block(data)
    assert use(town, town.bolt) == QuotaUse(town.chain.time_s // WINDOW, len(data), receipt.gas_used)
    assert use(town, town.chain.admin) is None, "acme's node made the bundle, but nothing in it was refused"
    cosigned = town.chain.sign([worker, town.chain.admin], note(worker))
    (again,) = town.chain.block(cosigned)
    assert use(town, town.bolt) == QuotaUse(
        town.chain.time_s // WINDOW, len(data) + len(cosigned), receipt.gas_used + again.gas_used
    )


def test_bytes_end_exactly(town: Town) -> None:
    chain, bolt = town.chain, town.bolt
    size = len(chain.sign(bolt, note(bolt)))
    limit(town, bolt, 2 * size + 5, 2**40)
    codes = [r.code for r in chain.block(*(chain.sign(bolt, note(bolt)) for _ in range(4)))]
    assert codes == ["", "", "quota.bytes", "quota.bytes"]
    assert chain.run(bolt, note(bolt)).code == "quota.bytes"
    next_window(town)
    assert chain.run(bolt, note(bolt)).ok


def test_gas_counts_by_limit_before_and_by_use_afterwards(town: Town) -> None:
    chain, bolt = town.chain, town.bolt
    used = chain.block(chain.sign(bolt, note(bolt), gas=60_000))[0].gas_used
    next_window(town)
    limit(town, bolt, 2**40, 60_000 + 2 * used)
    data = [chain.sign(bolt, note(bolt), gas=60_000) for _ in range(4)]
    assert [r.code for r in chain.block(*data)] == ["", "", "", "quota.gas"]


def test_failed_transactions_pay_too(town: Town) -> None:
    chain, bolt = town.chain, town.bolt
    (receipt,) = chain.block(chain.sign(bolt, note(Actor.seeded("other"))))
    assert receipt.code == "auth.account"
    found = use(town, bolt)
    assert found is not None
    assert found.gas == receipt.gas_used > 0


def test_windows_are_whole_minutes_of_ledger_time(town: Town) -> None:
    chain, bolt = town.chain, town.bolt
    size = len(chain.sign(bolt, note(bolt)))
    limit(town, bolt, size, 2**40)
    assert chain.run(bolt, note(bolt)).ok
    while chain.time_s % WINDOW != WINDOW - 2:
        chain.block()
    assert chain.run(bolt, note(bolt)).code == "quota.bytes"
    assert chain.time_s % WINDOW == WINDOW - 1
    assert chain.run(bolt, note(bolt)).ok


# --- what bundlers pay ------------------------------------------------------------------------------------------------


def test_what_is_refused_is_paid_by_the_organisation_whose_node_bundled_it(town: Town) -> None:
    chain = town.chain
    good = chain.sign(chain.admin, note(chain.admin))
    assert chain.block(good)[0].ok
    next_window(town)
    stale = chain.sign(chain.admin, note(chain.admin), expiry=1)
    refused = [good, good, stale, b"garbage", chain.sign(Actor.seeded("stranger"), note(chain.admin))]
    receipts = chain.block_of((chain.bundle(*refused, node=town.bolt_node),))
    assert [r.code for r in receipts] == ["tx.replayed", "tx.replayed", "tx.expired", "cose.tag", "tx.unknown_account"]
    assert [r.gas_used for r in receipts] == [0] * 5
    gas = sum(intrinsic(len(data), 0 if data == b"garbage" else 1) for data in refused)
    assert use(town, town.bolt) == QuotaUse(chain.time_s // WINDOW, sum(map(len, refused)), gas)
    assert use(town, chain.admin) is None
    assert chain.blocks[-1].result.content, "a charge is content: it must be recorded"


def test_a_broken_signature_does_not_cost_the_payer_it_names(town: Town) -> None:
    """Else anybody with a node could use up anyone's quota."""
    chain = town.chain
    data = chain.sign(chain.admin, note(chain.admin))
    broken = data[:-1] + bytes((data[-1] ^ 1,))
    assert chain.block_of((chain.bundle(broken, node=town.bolt_node),))[0].code == "tx.signature"
    assert use(town, chain.admin) is None
    assert use(town, town.bolt) is not None


def test_without_quota_a_node_makes_no_bundles(town: Town) -> None:
    """Then garbage costs the chain at most one bundle beyond the quota of its maker."""
    chain, garbage = town.chain, [b"x" * 1000] * 5
    limit(town, town.bolt, 3_000, 2**40)
    item = chain.bundle(*garbage, node=town.bolt_node)
    assert chain.ledger.acceptable([item, item])
    chain.block_of((item, item))
    first, second = chain.blocks[-1].result.bundles
    assert (first.code, len(first.receipts)) == (0, 5)
    assert (second.log, second.receipts) == ("quota.bytes", ())
    chain.block_of((item,))
    assert chain.blocks[-1].result.bundles[0].log == "quota.bytes"
    next_window(town)
    chain.block_of((item,))
    assert chain.blocks[-1].result.bundles[0].code == 0
    limit(town, town.bolt, 2**40, 0)
    chain.block_of((chain.bundle(chain.sign(chain.admin, note(chain.admin)), node=town.bolt_node),))
    assert chain.blocks[-1].result.bundles[0].log == "quota.gas"


def test_an_organisation_without_quota_can_still_be_given_some(town: Town) -> None:
    chain, acme = town.chain, town.chain.admin
    limit(town, town.bolt, 0, 0)
    assert chain.run(town.bolt, note(town.bolt)).code == "quota.bytes"
    town.ok(acme, SetOrganisation(town.bolt.address, None, None, ROOMY))
    assert chain.run(town.bolt, note(town.bolt)).ok
