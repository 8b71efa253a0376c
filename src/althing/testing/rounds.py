"""The scenario of the fault tests: publishers send while node and gateway are killed; at the end everything is audited.

Which daemon dies, when, and at which named point of its work follows from the seed. The processes' own speed does not,
so a seed repeats the plan of a run, not each of its instructions; the log of a failed run names the rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import httpx2
import structlog

from althing.gateway.config import GatewayPaths
from althing.testing.audit import Audit, audit
from althing.testing.faults import FAULTS, Site, wait_until
from althing.testing.powercut import PowerCut
from althing.testing.publishers import HttpPublisher, MqttPublisher, Publisher, Way
from althing.testing.simulator import Fleet, Identity, Journal, SimulatedDevice

__all__ = ["Outcome", "fault_rounds"]

_log = structlog.get_logger("althing.testing.rounds")

_WAYS_UNSIGNED: Final = (
    Way("mqtt5", 1, Identity.KEY),
    Way("mqtt5", 2, Identity.SESSION),
    Way("mqtt311", 2, Identity.SESSION),
    Way("mqtt311", 1, Identity.NONE),
    Way("http"),
)
_WAYS_SIGNED: Final = (Way("mqtt5", 1), Way("mqtt5", 2), Way("mqtt311", 1), Way("http"))
_FAULTS_A_START: Final = 0.5  # share of starts that are armed with a fault point
_ANSWERS_S: Final = 60.0
_WORK_S: Final = 6.0


@dataclass(slots=True)
class Outcome:
    """What a run did, and what its audit found. `kills` by daemon, `faults` by fault point that ended a daemon."""

    audit: Audit
    kills: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    files_lost: int = 0


class _Run:
    def __init__(self, site: Site, random: Random, power: PowerCut | None) -> None:
        self.site = site
        self.random = random
        self.power = power
        self.kills: dict[str, int] = {}
        self.faults: dict[str, int] = {}
        self.files_lost = 0
        self._armed: dict[str, str] = {}

    def start(self, *nouns: str, armed: bool) -> None:
        """Start daemons side by side; those that their faults end on the way are started again without."""
        for noun in nouns:
            self._armed[noun] = ""
            if armed and self.random.random() < _FAULTS_A_START:
                self._armed[noun] = f"{self.random.choice(FAULTS[noun])}:{self.random.randint(1, 6)}"
            self.site.launch(noun, fault=self._armed[noun])
        died = [noun for noun in nouns if not self.site.started(noun, fault=self._armed[noun])]
        for noun in died:
            self._died(noun)
        if died:
            again = nouns if self.power is not None else died
            self._lose()
            self.start(*again, armed=False)

    @property
    def armed(self) -> list[str]:
        return [noun for noun, fault in self._armed.items() if fault]

    def _died(self, noun: str) -> None:
        point = self._armed[noun].partition(":")[0]
        self.faults[point] = self.faults.get(point, 0) + 1

    def wait(self, seconds: float) -> list[str]:
        """Which daemons ended by themselves within the time; they may only do so at the fault they were armed with."""
        end = time.monotonic() + seconds
        dead: list[str] = []
        while time.monotonic() < end and not dead:
            time.sleep(0.01)
            dead = [noun for noun in ("node", "gateway") if not self.site.daemon(noun).alive]
        for noun in dead:
            assert self._armed[noun], f"the {noun} ended by itself: {self.site.daemon(noun).said()}"
            self._died(noun)
        return dead

    def wait_for_work(self) -> list[str]:
        """As `wait`, until a batch was anchored and released: kills would else cluster at the beginning of its way."""
        batches, end = -1, time.monotonic() + _WORK_S
        while time.monotonic() < end:
            dead = self.wait(0.02)
            if dead:
                return dead
            with suppress(httpx2.HTTPError):
                now = int(self.site.gateway_status()["batches"])
                if now > batches >= 0:
                    return []
                batches = now
        return []

    def kill(self, nouns: Sequence[str]) -> None:
        for noun in nouns:
            if self.site.daemon(noun).alive:
                self.kills[noun] = self.kills.get(noun, 0) + 1
            if self.power is None:
                self.site.kill(noun)
            else:
                self.site.daemon(noun).kill_all()
        self._lose()

    def _lose(self) -> None:
        """The power is gone for all; what was not durable is gone with it."""
        if self.power is None:
            return
        for noun in ("node", "gateway"):
            self.site.daemon(noun).kill_all()
        torn = self.random if self.random.random() < 0.5 else None
        self.files_lost += self.power.cut(torn)


def fault_rounds(
    folder: Path,
    *,
    rounds: int,
    seed: str,
    power: Callable[[Site], PowerCut] | None = None,
    pause_s: float = 0.1,
    processes: int = 0,
) -> Outcome:
    """Found a site, let nine devices publish through `rounds` kills, drain, stop in order, and audit.

    `power` makes each kill a power cut of both daemons at once.
    """
    fleet = Fleet(seed, ed25519=2, p256=2, unsigned=5, streams=2)
    journal = Journal()
    with Site(folder, processes=processes) as site:
        random = Random(seed)  # noqa: S311 -- a plan to be repeated
        cuts = None if power is None else power(site)
        if cuts is not None:
            site.environment.update(cuts.environment)
        site.start("node")
        site.enrol(fleet)
        if cuts is not None:
            cuts.record(GatewayPaths(site.path).tokens)
        run = _Run(site, random, cuts)
        run.start("gateway", armed=False)
        publishers = [_publisher(site, device, way, journal, pause_s, seed) for device, way in _ways(fleet)]
        for publisher in publishers:
            publisher.start()
        for number in range(rounds):
            _round(run, number)
        _calm(run)
        for publisher in publishers:
            publisher.stop()
        for publisher in publishers:
            publisher.join(_ANSWERS_S)
        assert not journal.refusals, f"refused: {list(journal.refusals.values())[:3]}"
        site.drain()
        with site.client() as client:
            committed = client.set_attribute("after", "the faults")
            assert committed.receipt.ok, "the chain does not go on"
        site.stop("gateway")
        site.stop("node")
        found = audit(site.home, journal, seed=seed)
    return Outcome(found, run.kills, run.faults, run.files_lost)


def _round(run: _Run, number: int) -> None:
    random = run.random
    victims = random.choice((["node"], ["gateway"], ["node", "gateway"]))
    moment_s = random.choice((0.03, 0.3, 1.5)) * random.random()
    if run.power is not None:
        victims = ["node", "gateway"]
    dead = run.wait_for_work() if random.random() < 0.5 else []
    dead = dead or run.wait(moment_s)
    if run.power is not None:
        dead = dead and victims
    _log.info("round", number=number, victims=dead or victims, died_by_itself=bool(dead), after_s=round(moment_s, 3))
    run.kill(dead or victims)
    down_s = random.choice((0.0, 0.0, 0.3))  # sometimes the other one has to do without it for a while
    time.sleep(down_s)
    run.start(*(dead or victims), armed=True)


def _calm(run: _Run) -> None:
    """Both daemons run, armed with nothing."""
    rest = ["node", "gateway"] if run.power is not None and run.armed else run.armed
    if rest:
        run.kill(rest)
        run.start(*rest, armed=False)
    wait_until(lambda: bool(run.site.gateway_status()["ready"]), 30, lambda: str(run.site.gateway_status()))


def _ways(fleet: Fleet) -> list[tuple[SimulatedDevice, Way]]:
    signed = [device for device in fleet.devices if device.key is not None]
    unsigned = [device for device in fleet.devices if device.key is None]
    return [*zip(signed, _WAYS_SIGNED, strict=True), *zip(unsigned, _WAYS_UNSIGNED, strict=True)]


def _publisher(site: Site, device: SimulatedDevice, way: Way, journal: Journal, pause_s: float, seed: str) -> Publisher:
    token = site.tokens[device.name]
    if way.protocol == "http":
        return HttpPublisher(device, way, journal, pause_s=pause_s, seed=seed, url=site.http, token=token)
    return MqttPublisher(device, way, journal, pause_s=pause_s, seed=seed, address=site.mqtt, token=token)
