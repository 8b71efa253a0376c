"""Evidence that the engine hands over reaches the ledger, and what follows goes back to the engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from althing.consensus.abci import (
    CommitInfo,
    FinalizeBlockRequest,
    InitChainRequest,
    Misbehavior,
    MisbehaviorKind,
    ValidatorUpdate,
)
from althing.node.application import LedgerApplication
from althing.protocol.block import ConsensusParams, Timestamp, validator_address
from althing.protocol.errors import StateError
from althing.protocol.genesis import app_state_of
from althing.testing.harness import LedgerHarness, seeded_key

KEYS = [seeded_key(f"validator {i}") for i in range(4)]
TIME = Timestamp.from_ns(1_700_000_100 * 10**9)


def harness() -> LedgerHarness:
    return LedgerHarness(validators=[(key, 10) for key in KEYS])


def test_a_double_vote_removes_the_validator() -> None:
    chain = harness()
    application = LedgerApplication(chain.ledger, lambda: TIME.ns)
    guilty = validator_address(KEYS[2].public)
    found = Misbehavior(MisbehaviorKind.DUPLICATE_VOTE, guilty, 10, 1, TIME, 40)
    height = chain.height + 1
    request = FinalizeBlockRequest((), CommitInfo(), (found, found), bytes(32), height, TIME, bytes(32), guilty)
    answer = application.finalize_block(request)
    assert answer.validator_updates == (ValidatorUpdate(KEYS[2].public, 0),)
    assert [event.kind for event in answer.events] == [
        "governance.offence",
        "governance.validator",
        "governance.validator_suspended",
    ]
    application.commit()
    again = application.finalize_block(replace(request, height=height + 1))
    assert (again.validator_updates, again.events) == ((), ())


def test_an_engine_that_takes_older_evidence_is_refused() -> None:
    chain = harness()
    application = LedgerApplication(chain.ledger, lambda: TIME.ns)
    genesis = chain.genesis
    for params in (ConsensusParams(evidence_age_blocks_max=100_001), ConsensusParams(evidence_age_ns_max=2**60)):
        request = InitChainRequest(TIME, genesis.chain_id, params, (), app_state_of(genesis), 1)
        with pytest.raises(StateError) as refused:
            application.init_chain(request)
        assert refused.value.code == "state.evidence_age"
