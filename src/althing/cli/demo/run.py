"""The demo's life: start, replay, report, drain, prove, stop."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from althing.apps.recorded.devices import Access, RecordedDevice
from althing.cli.commands.gateway import gateway_status
from althing.cli.demo.nodes import Nodes, open_nodes
from althing.cli.demo.processes import Child
from althing.cli.demo.registration import DemoDevice, credentials_file, register
from althing.cli.demo.texts import Progress, Report, farewell, own_command, welcome
from althing.cli.options import admin_signer
from althing.cli.ports import port_of
from althing.client import Client
from althing.light.verifier import verify_proof
from althing.node.home import Home, write_json
from althing.protocol.errors import AlthingError, UnavailableError
from althing.protocol.genesis import genesis_hash
from althing.protocol.trust import parse_trust

__all__ = ["DemoOptions", "run_demo"]

DRAIN_S: Final = 60
REPORT_S: Final = 5.0
SAMPLES_A_STREAM: Final = 2


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for. `seconds` 0 runs until interrupted; `pace_s` is how long the whole recording takes."""

    home: Path
    seconds: int
    pace_s: int
    loop: bool
    as_json: bool
    engine: str = "solo"
    validators: int = 1


class _Totals:
    """Cumulative counts of all runs, kept in the home."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.counts: dict[str, int] = {}
        if path.exists():
            self.counts = {k: v for k, v in json.loads(path.read_bytes()).items() if isinstance(v, int)}

    def add(self, **run: int) -> dict[str, int]:
        for name, count in run.items():
            self.counts[name] = self.counts.get(name, 0) + count
        write_json(self._path, self.counts)
        return {f"total_{name}": count for name, count in self.counts.items()}


def run_demo(options: DemoOptions, stop: threading.Event) -> bool:
    """Run until `stop` or the time is over; True when everything accepted is anchored and the sampled proofs verify."""
    home = Home(options.home)
    say = _printer()
    logs = options.home / "logs"
    nodes = open_nodes(options.home, options.engine, options.validators, say)
    gateway: Child | None = None
    try:
        api = nodes.start()
        signer = admin_signer(options.home, None)
        with Client(api, trust=home.trust_file, signer=signer) as client:
            devices = register(client, home, signer.address)
            gateway = Child("gateway", options.home, logs)
            listens = gateway.ready()
            command = own_command()
            for text in welcome(command, options.home, api, listens, devices, options.pace_s):
                say(text)
            ready = {
                "event": "ready",
                "api": api,
                **_listeners(listens),
                "credentials_file": str(credentials_file(home)),
            }
            _line({**ready, "page": api, "home": str(options.home)}, options)
            before = gateway_status(options.home)
            replays = _start_devices(devices, home, listens, options, say)
            try:
                report = Report(command, options.home)
                _watch(replays, (nodes, gateway), client, options, stop, say, report)
            finally:
                for replay in replays:
                    replay.stop()
                for replay in replays:
                    replay.join(DRAIN_S)
            drained = _drain(options.home, say)
            result = _result(replays, home, client, before, drained, say)
    finally:
        if gateway is not None:
            gateway.stop()
        nodes.stop()
    _line(result, options)
    for text in farewell(result):
        say(text)
    return bool(result["verified"])


def _listeners(listens: dict[str, Any]) -> dict[str, Any]:
    return {"mqtt": listens.get("mqtt"), "http": listens.get("http")}


def _start_devices(
    devices: list[DemoDevice], home: Home, listens: dict[str, Any], options: DemoOptions, say: Callable[[str], None]
) -> list[RecordedDevice]:
    genesis = home.genesis()
    replays = []
    for device in devices:
        access = Access(
            host="127.0.0.1",
            mqtt_port=port_of(listens["mqtt"]),
            http_url=str(listens["http"]),
            token=device.token,
            chain_id=genesis.chain_id,
            genesis_hash=genesis_hash(genesis),
        )
        replay = RecordedDevice(
            device.example,
            device.key,
            access,
            home.path / "devices" / f"{device.example.device}.progress",
            transport=device.transport,
            duration_s=options.pace_s,
            loop=options.loop,
            say=say,
        )
        replay.start()
        replays.append(replay)
    return replays


def _watch(
    replays: list[RecordedDevice],
    children: tuple[Child | Nodes, ...],
    client: Client,
    options: DemoOptions,
    stop: threading.Event,
    say: Callable[[str], None],
    report: Report,
) -> None:
    """Report every few seconds until stopped, out of time, or a part has ended."""
    last = started = time.monotonic()
    while not stop.is_set():
        left = options.seconds - (time.monotonic() - started) if options.seconds else REPORT_S
        if left <= 0:
            return
        stop.wait(min(REPORT_S, left))
        for child in children:
            child.check()
        status = gateway_status(options.home)
        progress = Progress(
            readings=sum(replay.counts.readings for replay in replays),
            batches=int(status["batches"]),
            waiting=_pending(status),
            height=int(client.get("status")["height"]),
            ended=all(replay.ended for replay in replays),
        )
        now = time.monotonic()
        for text in report.lines(progress, now - last):
            say(text)
        last = now


def _drain(home: Path, say: Callable[[str], None]) -> bool:
    """Wait, bounded, until the gateway has anchored and proved all it accepted."""
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        try:
            if _pending(gateway_status(home)) == 0:
                return True
        except UnavailableError:
            return False
        time.sleep(0.1)
    say(f"not everything was anchored within {DRAIN_S} s; it goes on with the next start")
    return False


def _pending(status: dict[str, Any]) -> int:
    return int(status["pending"]["messages"]) + int(status["held_messages"])


def _result(
    replays: list[RecordedDevice],
    home: Home,
    client: Client,
    before: dict[str, Any],
    drained: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    status = gateway_status(home.path)
    run = {
        "readings": sum(replay.counts.readings for replay in replays),
        "messages": sum(replay.counts.messages for replay in replays),
        "refused": sum(replay.counts.refused for replay in replays),
        "batches": int(status["batches"]) - int(before["batches"]),
    }
    totals = _Totals(home.path / "totals.json").add(**run)
    proofs, verified = _sample(replays, home, client, say)
    return {
        "event": "result",
        **run,
        "height": client.get("status")["height"],
        "proof_file": str(home.path / "sample-proof.cbor"),
        "trust_file": str(home.trust_file),
        "proofs_checked": proofs,
        "anchored": drained,
        "verified": drained and verified and proofs > 0,
        **totals,
    }


def _sample(replays: list[RecordedDevice], home: Home, client: Client, say: Callable[[str], None]) -> tuple[int, bool]:
    """Take the first and last message of each stream, verify their proofs offline against the home's trust file."""
    trust = parse_trust(home.trust_file.read_bytes())
    checked = 0
    for replay in replays:
        for stream in replay.example.streams:
            path = f"{replay.name}/{stream.name}"
            _, head = client.stream(path)
            for sequence in sorted({0, head.next_sequence - 1})[:SAMPLES_A_STREAM] if head.next_sequence else ():
                try:
                    data = client.proof(path, sequence, trust=trust)
                    verify_proof(data, trust, require_device=replay.example.key != "none")
                except AlthingError as error:
                    say(f"proof of {path} sequence {sequence} FAILED: {error.message}")
                    return checked, False
                checked += 1
                (home.path / "sample-proof.cbor").write_bytes(data)
    return checked, True


def _printer() -> Callable[[str], None]:
    """Progress for people, on stderr, a whole line at a time whichever thread speaks."""
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    return say


def _line(document: dict[str, Any], options: DemoOptions) -> None:
    if options.as_json:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
