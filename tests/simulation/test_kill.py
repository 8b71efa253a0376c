"""Node and gateway are killed with SIGKILL at random moments while devices publish: nothing acknowledged is lost or doubled.

The plan of a run follows from its seed; ALTHING_SEED tries another one.
"""

from __future__ import annotations

import os

import pytest

from althing.testing.faults import FAULTS, OTHER_FAULTS
from althing.testing.rounds import fault_rounds

SEED = os.environ.get("ALTHING_SEED", "kill 1")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=pytest.mark.long)])
def test_kills(tmp_path, rounds, record_property):
    outcome = fault_rounds(tmp_path, rounds=rounds, seed=SEED)
    record_property("outcome", str(outcome))
    print(outcome)
    assert outcome.audit.acknowledged > 10 * rounds
    assert outcome.hand_overs
    assert outcome.moves, "no message went to the second gateway"
    assert outcome.passed >= {*FAULTS["node"], *FAULTS["gateway"], *OTHER_FAULTS} - {"spool.room"}
    assert outcome.audit.proofs == 10
    assert sum(outcome.kills.values()) + sum(outcome.faults.values()) >= rounds
