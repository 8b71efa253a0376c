"""One of four validators does what it must not; three honest ones, and clients with proofs, are not harmed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from althing.client.errors import LyingNodeError
from althing.node.joining import join_home
from althing.protocol.block import validator_address
from althing.testing.faults import wait_until
from althing.testing.testnet import Testnet

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(1800)]

SEED = os.environ.get("ALTHING_SEED", "network 1")
FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_node.py")))


def start_with(net, fault, number=3):
    net.launch(number, program=FAULTY, environment={"FAULT": fault})
    net.start(*(i for i in range(4) if i != number))
    net.node(number).ready()


@pytest.mark.parametrize("answers", [20, pytest.param(400, marks=pytest.mark.long)])
def test_a_node_that_proposes_garbage_and_answers_with_lies(tmp_path, answers):
    """Garbage is refused and costs a round. Who reads from it notices at once; what it forwards is not its to change."""
    with Testnet(tmp_path) as net:
        start_with(net, "garbage,lies")
        with net.workload(seed=SEED, nodes=[0, 1, 2]) as load, net.client(0) as honest, net.client(3) as lied_to:
            load.until(answers)
            signer = net.signers()[0]
            assert honest.account(signer.address).name
            with pytest.raises(LyingNodeError):
                lied_to.account(signer.address)
            assert lied_to.set_attribute("forwarded", "by a liar").receipt.ok
            load.until(answers)
            net.agree()
            blocks = [honest.get(f"blocks/{height}") for height in range(1, net.height(0))]
        said = (tmp_path / "logs" / "3.log").read_text()
        garbage = {int(height) for height in re.findall(r"garbage proposed at (\d+)", said)}
        refused = garbage & {block["height"] for block in blocks if block["commit"]["round"] > 0}
        assert refused, "no garbage was proposed, or nobody refused it"
        faulty = validator_address(net.homes[3].genesis().validators[3].public).hex()
        assert not [b for b in blocks if b["proposer"] == faulty and b["transactions"]], "garbage in a block"
        print(len(refused), "proposals refused;", net.audit(load.record), load.record.refusals)


def test_a_validator_key_on_two_nodes(tmp_path):
    """A copied home votes twice; evidence reaches governance by the engine's own way, and the validator is out."""
    with Testnet(tmp_path) as net:
        net.start()
        joined = join_home(
            tmp_path / "twin",
            genesis=net.homes[0].genesis_file.read_bytes(),
            peers=[net.network.nodes[0].peer],
            trust=None,
        )
        shutil.copy(net.homes[3].validator_key_file, joined.home.validator_key_file)
        with net.workload(seed=SEED, nodes=[0, 1, 2]) as load:
            load.until(10)
            twin = net.adopt(joined.home)
            net.start(twin)

            def judged():
                with net.client(0) as client:
                    return len(client.get("validators")["validators"]) == 3

            wait_until(judged, 120, lambda: f"nobody was punished; {load.record.refusals}")
            load.until(20)
            net.agree()
            with net.client(0) as client:
                convicted = client.get("validators")["convicted"]
        assert len(convicted) == 1
        print(convicted, net.audit(load.record), load.record.refusals)
