"""Damage in a home: each is told by a stable code before anything is accepted, and undone leaves everything accepted there."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from althing.gateway.daemon import Gateway
from althing.gateway.spool.segment import SegmentScan
from althing.node.daemon import NodeProcess
from althing.protocol.errors import AlthingError
from althing.testing.audit import audit
from althing.testing.faults import DaemonError, Site


def refused(make):
    """The code with which a node or gateway refuses to start in this process."""

    async def start():
        daemon = make()
        with pytest.raises(AlthingError) as caught:
            await daemon.start()
        await daemon.stop()
        return caught.value

    error = asyncio.run(start())
    assert error.message
    assert error.hint, f"{error.code} does not say what to do"
    return error.code


def goes_on(world, site):
    """Both start, anchor what waits, and everything acknowledged is there once."""
    site.start("node")
    site.start("gateway")
    journal = world.new_journal()
    world.publish(site, 2, first=50, journal=journal)
    site.drain()
    site.stop("gateway")
    site.stop("node")
    found = audit(site.home, journal)
    assert found.messages == found.acknowledged == 4 * 52


def last_segment(world, site):
    return max(world.spool(site).glob("*.seg"))


def end_of(path):
    scan = SegmentScan(path)
    for _ in scan.groups(closed=False):
        pass
    return scan.end


def test_a_torn_tail_of_the_spool_is_cut_and_nothing_accepted_is_lost(world, tmp_path):
    with world.copy(tmp_path) as site:
        path = last_segment(world, site)
        end = end_of(path)
        data = path.read_bytes()
        # Sectors of a group whose head never reached the disk.
        path.write_bytes(data[:end] + b"\x7f" * 1500)
        goes_on(world, site)


def test_damage_in_the_middle_of_the_spool(world, tmp_path):
    with world.copy(tmp_path) as site:
        path = last_segment(world, site)
        data = bytearray(path.read_bytes())
        at = end_of(path) // 2
        data[at] ^= 0xFF
        path.write_bytes(data)
        assert refused(lambda: Gateway(site.path)) == "spool.corrupt"
        with pytest.raises(DaemonError, match=r"spool\.corrupt"):
            site.start("gateway")
        data[at] ^= 0xFF
        path.write_bytes(data)
        goes_on(world, site)


def test_a_truncated_spool(world, tmp_path):
    with world.copy(tmp_path) as site:
        path = last_segment(world, site)
        path.write_bytes(path.read_bytes()[:100])
        assert refused(lambda: Gateway(site.path)) == "spool.corrupt"


@pytest.mark.parametrize("name", ["pipeline.cbor", "checkpoint.cbor"])
def test_a_damaged_state_file_of_the_spool(world, tmp_path, name):
    with world.copy(tmp_path) as site:
        path = world.spool(site) / name
        if not path.exists():
            path.write_bytes(b"\0" * 64)
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        assert refused(lambda: Gateway(site.path)) == "spool.corrupt"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A home of another chain whose node and gateway have run."""
    folder = tmp_path_factory.mktemp("stranger")
    with Site(folder) as site:

        async def run():
            node = NodeProcess(site.path)
            await node.start()
            await node.stop()
            gateway = Gateway(site.path)
            await gateway.start()
            await gateway.stop()

        asyncio.run(run())
        yield site


@pytest.mark.parametrize(
    ("part", "code"),
    [("node/state", "state.foreign_chain"), ("node/blocks", "engine.foreign_chain")],
)
def test_a_nodes_files_of_another_chain(world, stranger, tmp_path, part, code):
    with world.copy(tmp_path) as site:
        shutil.move(site.path / part, tmp_path / "own")
        shutil.copytree(stranger.path / part, site.path / part)
        assert refused(lambda: NodeProcess(site.path)) == code
        shutil.rmtree(site.path / part)
        shutil.move(tmp_path / "own", site.path / part)
        goes_on(world, site)


def test_a_spool_of_another_chain(world, stranger, tmp_path):
    with world.copy(tmp_path) as site:
        shutil.rmtree(world.spool(site))
        shutil.copytree(world.spool(stranger), world.spool(site))
        assert refused(lambda: Gateway(site.path)) == "spool.foreign_chain"


def test_a_second_gateway_in_one_home(world, tmp_path):
    with world.copy(tmp_path) as site:
        site.start("gateway")
        assert refused(lambda: Gateway(site.path)) == "spool.locked"
        with pytest.raises(DaemonError, match=r"spool\.locked"):
            site.launch("gateway").ready()


def test_state_that_was_lost_is_made_again_from_the_blocks(world, tmp_path):
    with world.copy(tmp_path) as site:
        shutil.rmtree(site.path / "node" / "state")
        goes_on(world, site)


def test_blocks_that_were_lost_are_told(world, tmp_path):
    with world.copy(tmp_path) as site:
        shutil.rmtree(site.path / "node" / "blocks")
        assert refused(lambda: NodeProcess(site.path)) == "engine.app_ahead"
