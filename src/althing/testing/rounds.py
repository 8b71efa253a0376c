"""The scenario of the fault tests: publishers send, and streams are handed from one gateway to another and back, while node
and gateways are killed; at the end everything is audited.

Which daemon dies, when, and at which named point of its work follows from the seed. The processes' own speed does not,
so a seed repeats the plan of a run, not each of its instructions; the log of a failed run names the rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import httpx2
import structlog

from althing.service.faultpoints import PASSED_VARIABLE
from althing.testing.audit import Audit, audit
from althing.testing.faults import FAULTS, SECOND, Site, wait_until
from althing.testing.handovers import HandOvers
from althing.testing.powercut import PowerCut
from althing.testing.publishers import HttpPublisher, MovingPublisher, MqttPublisher, Publisher, Way
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
_HANDED_OVER: Final = 0.2  # share of rounds in which a stream is handed over and back, beside those with a fault of it
_ANSWERS_S: Final = 180.0
_WORK_S: Final = 6.0
_MEET_S: Final = 180.0  # until a daemon has passed the fault point it is armed with, where that must happen
_HAND_OVER_S: Final = 20.0  # the same where it may
_PASSAGES_MAX: Final = 6
_RARE: Final = ("held", "solo.replayed")  # points that a daemon passes once in its life, if at all


@dataclass(slots=True)
class Outcome:
    """What a run did, and what its audit found. `kills` by daemon, `faults` by fault point that ended a daemon, `passed`
    all fault points that any daemon passed."""

    audit: Audit
    kills: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()
    files_lost: int = 0
    hand_overs: int = 0
    moves: int = 0  # of publishers from one gateway to the other


class _Run:
    def __init__(self, site: Site, random: Random, power: PowerCut | None) -> None:
        self.site = site
        self.random = random
        self.power = power
        self.kills: dict[str, int] = {}
        self.faults: dict[str, int] = {}
        self.files_lost = 0
        self._armed: dict[str, str] = {}
        self._planned: dict[str, list[str]] = {}

    @property
    def nouns(self) -> tuple[str, ...]:
        return ("node", *self.site.gateways)

    def plan(self, noun: str, *faults: str) -> None:
        """Faults that the next starts of a daemon are armed with, each at its first passage."""
        self._planned[noun] = [f"{fault}:1" for fault in faults]

    def start(self, *nouns: str, armed: bool) -> None:
        """Start daemons side by side; those that their faults end on the way are started again without."""
        for noun in nouns:
            self._armed[noun] = ""
            if planned := self._planned.get(noun):
                self._armed[noun] = planned.pop(0)
            elif armed and self.random.random() < _FAULTS_A_START:
                self._armed[noun] = self._fault_of(noun)
            self.site.launch(noun, fault=self._armed[noun])
        died = [noun for noun in nouns if not self.site.started(noun, fault=self._armed[noun])]
        for noun in died:
            self._died(noun)
        if died:
            again = self.victims(died)
            self._lose()
            self.start(*again, armed=False)

    def _fault_of(self, noun: str) -> str:
        """A group of points first, so that a group with few of them has its share."""
        points = FAULTS[noun.partition("-")[0]]
        groups = sorted({point.partition(".")[0] for point in points})
        group = self.random.choice(groups)
        point = self.random.choice([point for point in points if point.startswith(f"{group}.")])
        return f"{point}:{1 if point.startswith(_RARE) else self.random.randint(1, _PASSAGES_MAX)}"

    def victims(self, nouns: list[str]) -> list[str]:
        """Who is started anew when these end: a power cut takes all."""
        return list(self.nouns) if self.power is not None else nouns

    def found(self) -> None:
        """The node's first start, which is cut off twice while the chain begins."""
        for point in ("solo.genesis", "solo.genesis_stored"):
            self._armed["node"] = f"{point}:1"
            assert not self.site.start("node", fault=self._armed["node"]), f"the node did not pass {point}"
            self._died("node")
            self._lose()
        self.start("node", armed=False)

    @property
    def armed(self) -> list[str]:
        return [noun for noun, fault in self._armed.items() if fault]

    @property
    def waits_for_hand_over(self) -> bool:
        """Whether a gateway is armed with a fault that only a hand-over brings about."""
        return any(fault.startswith("held.") for fault in self._armed.values())

    def _died(self, noun: str) -> None:
        point = self._armed[noun].partition(":")[0]
        self.faults[point] = self.faults.get(point, 0) + 1

    def wait(self, seconds: float) -> list[str]:
        """Which daemons ended by themselves within the time; they may only do so at the fault they were armed with."""
        end = time.monotonic() + seconds
        dead: list[str] = []
        while time.monotonic() < end and not dead:
            time.sleep(0.01)
            dead = [noun for noun in self.nouns if not self.site.daemon(noun).alive]
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
        for noun in self.nouns:
            if self.site.launched(noun):
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
    """Found a site, let eleven devices publish through `rounds` kills, drain, stop in order, and audit.

    `power` makes each kill a power cut of all daemons at once.
    """
    fleet = Fleet(seed, ed25519=3, p256=2, unsigned=6, streams=2)
    journal = Journal()
    with Site(folder, processes=processes) as site:
        random = Random(seed)  # noqa: S311 -- a plan to be repeated
        cuts = None if power is None else power(site)
        if cuts is not None:
            site.environment.update(cuts.environment)
        passed = folder / "passed"
        site.environment[PASSED_VARIABLE] = str(passed)
        run = _Run(site, random, cuts)
        run.found()
        site.add_gateway()
        site.enrol(fleet)
        if cuts is not None:
            for path in site.written():
                cuts.record(path)
        run.start(*site.gateways, armed=False)
        publishers, moving = _publishers(site, fleet, journal, pause_s, seed)
        paths = [f"{one.device.name}/{stream}" for one in moving for stream in one.device.streams]
        hand_overs = HandOvers(site, paths, seed)
        hand_overs.start()
        for publisher in (*publishers, *moving):
            publisher.start()
        _rare_faults(run, hand_overs)
        for number in range(rounds):
            _round(run, number, hand_overs)
        _calm(run)
        hand_overs.keep_on()
        for publisher in (*publishers, *moving):
            publisher.stop()
        for publisher in (*publishers, *moving):
            publisher.join(_ANSWERS_S)
        hand_overs.end()
        assert not journal.refusals, f"refused: {list(journal.refusals.values())[:3]}"
        hand_overs.settle()
        site.drain()
        with site.client() as client:
            committed = client.set_attribute("after", "the faults")
            assert committed.receipt.ok, "the chain does not go on"
        for noun in (*site.gateways, "node"):
            site.stop(noun)
        found = audit(site.home, journal, seed=seed)
    points = frozenset(passed.read_text().split())
    moves = sum(publisher.moves for publisher in moving)
    return Outcome(found, run.kills, run.faults, points, run.files_lost, hand_overs.count, moves)


def _rare_faults(run: _Run, hand_overs: HandOvers) -> None:
    """What random rounds hardly meet, once in every run: a kill while a block is executed again after a kill, and one
    while a gateway takes a stream's messages back."""
    _meet(run, "node", ("solo.block_stored", "solo.replayed"))
    hand_overs.ask()
    _meet(run, "gateway", (run.random.choice([point for point in FAULTS["gateway"] if point.startswith("held.")]),))


def _meet(run: _Run, noun: str, points: Sequence[str]) -> None:
    """Start a daemon anew and have it die at these points, one in each of its next lives."""
    run.plan(noun, *points)
    victims = run.victims([noun])
    run.kill(victims)
    run.start(*victims, armed=False)
    while noun in run.armed:
        dead = run.wait(_MEET_S)
        assert dead, f"the {noun} did not pass one of {points} in {_MEET_S} s"
        run.kill(run.victims(dead))
        run.start(*run.victims(dead), armed=False)


def _round(run: _Run, number: int, hand_overs: HandOvers) -> None:
    random = run.random
    victims = run.victims(list(random.choice((("node",), ("gateway",), ("node", "gateway"), ("gateway", SECOND)))))
    moment_s = random.choice((0.03, 0.3, 1.5)) * random.random()
    waits = run.waits_for_hand_over
    if random.random() < _HANDED_OVER or waits:
        hand_overs.ask()
    dead = run.wait_for_work() if random.random() < 0.5 else []
    dead = dead or run.wait(_HAND_OVER_S if waits else moment_s)
    victims = run.victims(dead) if dead else victims
    _log.info("round", number=number, victims=victims, died_by_itself=bool(dead), after_s=round(moment_s, 3))
    run.kill(victims)
    down_s = random.choice((0.0, 0.0, 0.3))  # sometimes the others have to do without it for a while
    time.sleep(down_s)
    run.start(*victims, armed=True)


def _calm(run: _Run) -> None:
    """All daemons run, armed with nothing."""
    rest = run.victims(run.armed) if run.armed else []
    if rest:
        run.kill(rest)
        run.start(*rest, armed=False)
    for noun in run.site.gateways:
        wait_until(partial(_connected, run.site, noun), _ANSWERS_S, f"the {noun} finds no node")


def _connected(site: Site, noun: str) -> bool:
    """Not ready: one that holds messages back is not, until a stream is its own again."""
    with suppress(httpx2.HTTPError):
        return bool(site.gateway_status(noun)["ledger"]["connected"])
    return False


def _publishers(
    site: Site, fleet: Fleet, journal: Journal, pause_s: float, seed: str
) -> tuple[list[Publisher], list[MovingPublisher]]:
    """One for each device; the streams of the last signed and the last unsigned one are handed over."""
    signed = [device for device in fleet.devices if device.key is not None]
    unsigned = [device for device in fleet.devices if device.key is None]
    moving = [
        MovingPublisher(
            device,
            Way("http"),
            journal,
            pause_s=pause_s,
            seed=seed,
            gateways={site.http_of(noun): site.token(noun, device.name) for noun in site.gateways},
        )
        for device in (signed.pop(), unsigned.pop())
    ]
    ways = [*zip(signed, _WAYS_SIGNED, strict=True), *zip(unsigned, _WAYS_UNSIGNED, strict=True)]
    return [_publisher(site, device, way, journal, pause_s, seed) for device, way in ways], moving


def _publisher(site: Site, device: SimulatedDevice, way: Way, journal: Journal, pause_s: float, seed: str) -> Publisher:
    token = site.tokens[device.name]
    if way.protocol == "http":
        return HttpPublisher(device, way, journal, pause_s=pause_s, seed=seed, url=site.http, token=token)
    return MqttPublisher(device, way, journal, pause_s=pause_s, seed=seed, address=site.mqtt, token=token)
