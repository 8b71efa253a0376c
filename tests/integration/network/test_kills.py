"""One of four validators dies, whole or in part, at any point of its work: the others go on, and it comes back the same."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from althing.testing.faults import wait_until
from althing.testing.powercut import PowerCut, build_library
from althing.testing.powersocket import SyncListener
from althing.testing.testnet import COMMIT_POINTS, Testnet

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(1800)]

SEED = os.environ.get("ALTHING_SEED", "network 1")
CRASH_POINTS = 14  # of CometBFT's `fail.Fail()`, counted from the first block a run makes
SOURCE = Path(__file__).parents[2] / "simulation" / "powercut" / "powercut.c"


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.long)])
def test_killed_and_restarted_in_a_loop(tmp_path, rounds):
    """The whole node, its engine alone, its application alone; the client notices at most a lost answer."""
    with Testnet(tmp_path) as net:
        net.start()
        random = Random(SEED)
        with net.workload(seed=SEED) as load:
            load.until(10)
            for _ in range(rounds):
                victim = random.randrange(4)
                net.power_off(victim)
                load.until(10)
                net.start(victim)
                load.until(5)
                net.kill_engine(random.randrange(4))
                load.until(10)
                victim = random.randrange(4)
                net.kill(victim)
                net.start(victim)  # beside an engine that may not have noticed yet
                load.until(10)
            net.agree()
        found = net.audit(load.record)
        print(found, load.record.refusals)
        assert found.operations > 40 * rounds


@pytest.mark.needs_cc
@pytest.mark.parametrize("times", [1, pytest.param(6, marks=pytest.mark.long)])
def test_power_goes_at_each_point_of_our_commit(tmp_path, cc, times):
    """What the ledger wrote and did not fsync is gone, or torn; the engine's own files are as SIGKILL leaves them."""
    library = build_library(cc, SOURCE, tmp_path)
    with Testnet(tmp_path) as net:
        state = net.homes[1].state_dir
        state.mkdir(parents=True)
        disk = PowerCut(library, state, tmp_path / "disk")
        random = Random(SEED)
        net.launch(1, environment=disk.environment)
        net.start(0, 2, 3)
        net.node(1).ready()
        lost = 0
        with net.workload(seed=SEED, nodes=[0, 2, 3]) as load:
            load.until(5)
            for _ in range(times):
                for point in COMMIT_POINTS:
                    net.power_off(1)
                    net.launch(1, environment=disk.environment, fault=f"{point}:{random.randint(1, 6)}")
                    wait_until(lambda: not net.node(1).alive, 90, lambda: f"it lives: {net.node(1).said()}")
                    net.power_off(1)
                    lost += disk.cut(random if random.random() < 0.5 else None)
                    net.launch(1, environment=disk.environment)
                    net.node(1).ready()
                    load.until(3)
            net.agree()
        found = net.audit(load.record)
        print(found, load.record.refusals, f"{lost} files changed by cuts")
        assert lost > 0, "no cut took anything: the disk did not forget"


@pytest.mark.long
@pytest.mark.needs_cc
@pytest.mark.needs_go
def test_power_goes_for_ledger_and_engine_at_once(tmp_path, cc, test_engine):
    """What neither has fsynced is gone; names in the engine's folder are those of its last fsync anywhere."""
    library = build_library(cc, SOURCE, tmp_path)
    with Testnet(tmp_path) as net:
        node = net.homes[1].path / "node"
        disk = PowerCut(library, node, tmp_path / "disk")
        listener = SyncListener(tmp_path / "ear", net.homes[1].blocks_dir, disk)
        environment = {**disk.environment, **listener.environment, "ALTHING_ENGINE": str(test_engine)}
        random = Random(SEED)
        net.launch(1, environment=environment)
        net.start(0, 2, 3)
        net.node(1).ready()
        lost = 0
        with net.workload(seed=SEED, nodes=[0, 2, 3]) as load:
            load.until(5)
            for _ in range(10):
                load.until(random.randrange(1, 6))
                net.power_off(1)
                with listener.recording:
                    lost += disk.cut(random if random.random() < 0.5 else None)
                net.launch(1, environment=environment)
                net.node(1).ready()
            net.agree()
        found = net.audit(load.record)
        listener.close()
        print(found, load.record.refusals, f"{lost} files changed by cuts, {listener.heard} fsyncs heard")
        assert listener.failure is None
        assert listener.heard > 100
        assert lost > 0, "no cut took anything: the disk did not forget"


@pytest.mark.long
def test_the_engine_dies_at_its_own_crash_points(tmp_path):
    """`FAIL_TEST_INDEX` ends every run of the victim's engine there, until an operator has had enough of it."""
    with Testnet(tmp_path) as net:
        net.start()
        with net.workload(seed=SEED, nodes=[0, 1, 2]) as load:
            load.until(5)
            for point in range(CRASH_POINTS):
                net.power_off(3)
                before = _crashes(net, 3)
                net.launch(3, environment={"FAIL_TEST_INDEX": str(point)})
                wait_until(
                    lambda before=before: not net.node(3).alive or _crashes(net, 3) > before,
                    90,
                    f"point {point} was not passed",
                )
                net.power_off(3)
                net.start(3)
                load.until(3)
            net.agree()
        print(net.audit(load.record), load.record.refusals)


def _crashes(net, number):
    """How often an engine was started again."""
    return (net.folder / "logs" / f"{number}.log").read_text().count("CometBFT ended and is started again")
