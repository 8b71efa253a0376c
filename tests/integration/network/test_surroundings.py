"""What surrounds a node differs or fails: full disk, wrong clock, another Python. Four validators stay one ledger."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from althing.consensus.cometbft.binary import find_binary
from althing.testing.faults import wait_until
from althing.testing.testnet import Testnet

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(1800), pytest.mark.long]

SEED = os.environ.get("ALTHING_SEED", "network 1")
ROOT = Path(__file__).resolve().parents[3]
FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_node.py")))
CLOCK_S = 30


# --- disk ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MB for one node's home, and what fills it."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"this user may not mount: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_the_disk_of_one_node_is_full(tmp_path, small_disk):
    """The others go on. When there is room again, so does it: by itself, or started again where its engine had ended."""
    with Testnet(tmp_path) as net:
        home = net.homes[3].path
        shutil.copytree(home, small_disk / "home", dirs_exist_ok=True)
        shutil.rmtree(home)
        home.symlink_to(small_disk / "home")
        net.start()
        with net.workload(seed=SEED, nodes=[0, 1, 2]) as load:
            load.until(10)
            ballast = small_disk / "ballast"
            _fill(ballast)
            load.until(40)
            wait_until(
                lambda: not net.node(3).alive or net.status(3).get("phase") != "running",
                120,
                lambda: f"the full disk is not noticed: {net.status(3)}",
            )
            print("full:", net.node(3).alive, net.status(3).get("phase"))
            ballast.unlink()
            if not net.node(3).alive:
                print(net.node(3).said()[-1500:])
                net.start(3)
            net.agree()
            load.until(10)
        print(net.audit(load.record), load.record.refusals)


def _fill(path):
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017 -- the loop ends in no other way


# --- clocks -------------------------------------------------------------------------------------------------------------


@pytest.mark.needs_go
@pytest.mark.parametrize("off_s", [CLOCK_S, -CLOCK_S])
def test_clocks_apart(tmp_path, test_engine, off_s):
    """One node's engine and application are half a minute off; the median of the votes keeps the chain's time."""
    with Testnet(tmp_path) as net:
        environment = {"FAULT": "clock", "ALTHING_CLOCK_S": str(off_s), "ALTHING_ENGINE": str(test_engine)}
        net.launch(3, program=FAULTY, environment=environment)
        net.start(0, 1, 2)
        net.node(3).ready()
        with net.workload(seed=SEED) as load:
            load.until(60)
            net.agree()
            with net.client(0) as client:
                blocks = [client.get(f"blocks/{height}") for height in range(2, net.height(0))]
        own = _address(net, 3)
        apart = []
        for block in blocks:
            times = {one["address"]: one["time"] for one in block["commit"]["signatures"] if one["flag"] == "commit"}
            if own in times and off_s > 0:
                apart.append(_seconds(times[own], min(t for a, t in times.items() if a != own)))
            elif own in times:
                apart.append(_seconds(times[own], block["time"]))
        assert apart, "the node with the wrong clock never voted in time"
        median = sorted(apart)[len(apart) // 2]
        print("votes apart by", median, "s;", net.audit(load.record), load.record.refusals)
        # Fast: its votes say so. Slow: CometBFT lets no vote be older than a millisecond after its block.
        expected = off_s if off_s > 0 else 0.001
        assert abs(median - expected) < (5 if off_s > 0 else 0.0001), "its engine's clock was not off"


def _address(net, number):
    from althing.protocol.block import validator_address

    return validator_address(net.homes[number].genesis().validators[number].public).hex()


def _seconds(one, other):
    from datetime import datetime

    return (datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds()


# --- Pythons ------------------------------------------------------------------------------------------------------------


@pytest.mark.needs_python
def test_other_pythons_among_the_four(tmp_path, pythons):
    """Every Python of this machine that the product runs on, and four orders of sets and dicts: one state."""
    programs = [(sys.executable, "-m", "althing")]
    programs += [(str(_environment(path)), "-m", "althing") for version, path in pythons if version in ("3.12", "3.13")]
    assert len(programs) > 1, "there is no other Python that the product runs on"
    # The engine is found beside the running interpreter, and theirs are others.
    with Testnet(tmp_path, environment={"ALTHING_ENGINE": str(find_binary())}) as net:
        for number in range(4):
            net.launch(number, program=programs[number % len(programs)])
        for number in range(4):
            net.node(number).ready()
        with net.workload(seed=SEED) as load:
            load.until(60)
            net.agree()
        print(len(programs), "Pythons;", net.audit(load.record), load.record.refusals)


def _environment(python):
    """An environment of the other Python with the locked packages, made once."""
    lock = ROOT / "requirements" / "runtime.txt"
    key = hashlib.sha256(lock.read_bytes() + python.encode()).hexdigest()[:12]
    home = (ROOT / ".venv" / f"runtime-{key}").resolve()
    if not home.exists():
        building = home.with_name(f"{home.name}.{os.getpid()}")
        try:
            subprocess.run([python, "-m", "venv", str(building)], check=True, capture_output=True)
            pip = [str(building / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            locked = ["--no-input", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
            done = subprocess.run([*pip, *locked], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"the product's packages cannot be installed for {python}: {done.stderr[-400:]}")
            building.rename(home)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return home / "bin" / "python"
