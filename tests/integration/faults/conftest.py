"""A home with messages on the chain, and others that were acknowledged and wait in the spool; copied for each test."""

from __future__ import annotations

import asyncio

import pytest

from althing.gateway.config import GatewayPaths
from althing.testing.faults import Site
from althing.testing.simulator import Fleet, HttpLoad, Journal

ANCHORED, WAITING = 30, 20  # messages of each device


class World:
    """`site` is not to be touched; `copy` gives one to be damaged, `journal` what was acknowledged."""

    def __init__(self, site, fleet, journal):
        self.site = site
        self.fleet = fleet
        self.journal = journal

    def copy(self, folder, **options):
        folder.mkdir(exist_ok=True)
        return Site(folder, copy_of=self.site, **options)

    def spool(self, site):
        return GatewayPaths(site.path).spool

    def new_journal(self):
        """One that knows all that was acknowledged so far."""
        journal = Journal()
        for message in self.journal.sent_messages.values():
            journal.sending(message)
            journal.acknowledged(message)
        return journal

    def publish(self, site, count, *, first, journal):
        load = HttpLoad(site.http, self.fleet.devices, site.tokens, journal)
        asyncio.run(load.run(count, first=first))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    fleet = Fleet("faults", ed25519=1, p256=1, unsigned=2)
    journal = Journal()
    with Site(tmp_path_factory.mktemp("faults")) as site:
        found = World(site, fleet, journal)
        site.start("node")
        site.enrol(fleet)
        site.start("gateway")
        found.publish(site, ANCHORED, first=0, journal=journal)
        site.drain()
        site.stop("node")
        found.publish(site, WAITING, first=ANCHORED, journal=journal)
        site.kill("gateway")
        assert not journal.refusals
        yield found
