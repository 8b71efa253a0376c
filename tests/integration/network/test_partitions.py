"""Four validators whose links are cut and healed. Relays need no rights and run everywhere; namespaces cut real packets."""

from __future__ import annotations

import os

import pytest

from althing.testing.faults import wait_until
from althing.testing.links import NamespaceLinks, RelayLinks
from althing.testing.testnet import Testnet

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(1800)]

SEED = os.environ.get("ALTHING_SEED", "network 1")
STANDS_S = 4  # a round without a majority takes as long as its timeouts; blocks would be there in a tenth
KINDS = [RelayLinks, pytest.param(NamespaceLinks, marks=pytest.mark.needs_netns)]


def stands(net, seconds):
    """No node makes a block for so long: their heights at its end."""
    wait_until(
        lambda: len({net.height(number) for number in range(4)}) <= 2, 20, "heights differ by more than one block"
    )
    before = [net.height(number) for number in range(4)]
    with pytest.raises(AssertionError, match="somebody went on"):
        wait_until(lambda: [net.height(number) for number in range(4)] != before, seconds, "somebody went on")
    return before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.long)])
def test_one_cut_off_and_two_against_two(tmp_path, kind, rounds):
    with Testnet(tmp_path, links=kind(4)) as net:
        net.start()
        with net.workload(seed=SEED) as load:
            load.until(10)
            for number in range(rounds):
                alone = number % 4
                rest = [i for i in range(4) if i != alone]
                net.links.cut([alone], rest)
                stood = net.height(alone)
                load.until(15)
                assert net.height(alone) <= stood + 2, "it goes on without two thirds"
                assert max(net.height(i) for i in rest) > stood + 5
                net.links.heal()
                net.agree()
                load.until(10)

                net.links.cut([0, 1], [2, 3])
                stood_at = stands(net, STANDS_S)
                assert max(stood_at) - min(stood_at) <= 1
                net.links.heal()
                net.agree()
                load.until(15)
        found = net.audit(load.record)
        print(kind.__name__, found, load.record.refusals)
        assert found.operations > 40 * rounds
