"""Nodes and validators come and go while clients write."""

from __future__ import annotations

import os

import pytest

from althing.node.joining import join_home
from althing.protocol.messages.governance import SetValidator, Validator
from althing.testing.faults import wait_until
from althing.testing.testnet import Testnet

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(1800), pytest.mark.long]

SEED = os.environ.get("ALTHING_SEED", "network 1")


def join(net, name, *, servers=()):
    founder = net.homes[0]
    return join_home(
        net.folder / name,
        genesis=founder.genesis_file.read_bytes(),
        peers=[node.peer for node in net.network.nodes],
        trust=founder.trust_file.read_bytes(),
        state_sync=servers,
    )


def test_late_nodes_by_block_sync_and_by_state_sync(tmp_path):
    environment = {"ALTHING_NODE_SNAPSHOTS_EVERY_BLOCKS": "200"}  # two are kept: long enough to be fetched
    with Testnet(tmp_path, environment=environment) as net:
        net.start()
        servers = tuple(net.apis[:2])
        with net.workload(seed=SEED, clients=2) as load:
            net.reach(200)
            by_blocks = net.adopt(join(net, "blocks").home)
            net.start(by_blocks)
            load.until(10)
            by_state = net.adopt(join(net, "state", servers=servers).home, f"state_sync = {list(servers)}\n")
            net.start(by_state)
            net.agree()
            load.until(10)
            assert net.status(by_blocks)["base_height"] == 1
            assert net.status(by_state)["base_height"] > 1
        print(net.audit(load.record), load.record.refusals)


def test_a_validator_is_added_and_removed(tmp_path):
    with Testnet(tmp_path) as net:
        net.start()
        with net.workload(seed=SEED) as load, net.client(0) as client:
            joined = join(net, "fifth")
            fifth = net.adopt(joined.home)
            net.start(fifth)
            load.until(10)
            acme = client.account(net.signers()[0].address).organisation
            own = joined.validator_public
            for power, count in ((10, 5), (0, 4)):
                client.send(SetValidator(Validator(own, power, acme)), signers=net.signers())
                assert len(client.get("validators")["validators"]) == count
                load.until(10)
                since = net.height(0)

                def voted(since=since, count=count):
                    height = net.height(0) - 1
                    entries = client.get(f"blocks/{height}")["commit"]["signatures"] if height > since else []
                    flags = [one["flag"] for one in entries]
                    return flags.count("commit") == count == len(flags)

                wait_until(voted, 60, f"never {count} votes of {count}")
                load.until(10)
            net.agree()
        print(net.audit(load.record), load.record.refusals)
