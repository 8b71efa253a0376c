"""The life of a reading, from a device's signature to a proof that a stranger checks: the whole system as one story.

Node and gateway are real processes, the device is a stock MQTT client, the stranger is the command line in a folder of
its own with nothing but the proof file and the trust file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from althing.cli.demo.processes import Child
from althing.cli.ports import port_of
from althing.client import Client, LyingNodeError, load_key, load_signer
from althing.node.home import Home, create_home
from althing.protocol.genesis import genesis_hash
from althing.protocol.message import sign_message

WAIT_S = 60


def althing(*arguments: str, home: Path | None = None, cwd: Path | None = None) -> tuple[int, dict]:
    """Run the command as a person would, and read its JSON answer."""
    command = [sys.executable, "-m", "althing", *arguments, *(["--home", str(home)] if home else []), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll, bounded: processes answer in their own time."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


@pytest.fixture(params=["solo", pytest.param("cometbft", marks=pytest.mark.needs_engine)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, list[Child]]]:
    """A home with a running node; children are stopped newest first."""
    home = tmp_path / "home"
    create_home(home, chain_id="story", organisation="acme", time_s=int(time.time()))
    (home / "config.toml").write_text(f'[node]\nengine = "{request.param}"\n')
    children = [Child("node", home, tmp_path / "logs")]
    try:
        children[0].ready()
        yield home, children
    finally:
        for child in reversed(children):
            child.stop()


def publish(port: int, name: str, token: str, topic: str, bodies: list[bytes]) -> list[bool]:
    """A stock MQTT 3.1.1 client publishes with QoS 1 and waits for each acknowledgement."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.username_pw_set(name, token)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        sent = [client.publish(topic, body, qos=1) for body in bodies]
        for one in sent:
            one.wait_for_publish(WAIT_S)
        return [one.is_published() for one in sent]
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_reading_from_the_device_to_a_stranger(site: tuple[Path, list[Child]], tmp_path: Path) -> None:
    home, children = site
    place = Home(home)

    # An organisation has a gateway, and registers a device that has a key of its own.
    code, _ = althing("gateway", "init", home=home)
    assert code == 0
    children.append(Child("gateway", home, tmp_path / "logs"))
    listens = children[-1].ready()
    code, device = althing(
        "device", "add", "pump-1", "--suite", "p256", "--stream", "climate=temperature:Cel", home=home
    )
    assert code == 0, device
    stream = "pump-1/climate"
    code, devices = althing("device", "list", home=home)
    assert [one["streams"] for one in devices if one["name"] == "pump-1"] == [[stream, "pump-1/status"]]

    # The device signs what it measures; the gateway acknowledges once it is durable.
    genesis = place.genesis()
    key = load_key(Path(device["key_file"]))
    values = ["21.50", "21.5000", "-0.1"]
    bodies = [
        sign_message(
            key,
            genesis_hash(genesis),
            genesis.chain_id,
            stream,
            counter,
            b'{"temperature": %s}' % value.encode(),
            content_type="application/json",
        )
        for counter, value in enumerate(values)
    ]
    eventually(lambda: publish_ready(listens), "the gateway knows the device")
    topic = f"althing/v1/{stream}"
    port = port_of(listens["mqtt"])
    assert publish(port, "pump-1", device["token"], topic, bodies) == [True] * 3
    # Sent again, as after a lost acknowledgement: counted once.
    assert publish(port, "pump-1", device["token"], topic, bodies) == [True] * 3

    # It is anchored in a block, and the stream's sequences have no gap.
    api = str(place.ports()["api"])
    signer = load_signer(place.admin_key_file)
    with Client(api, trust=place.trust_file, signer=signer) as chain:
        eventually(lambda: chain.stream(stream)[1].next_sequence == 3, "three messages are anchored, not six")
        readings = chain.readings(stream)
        assert [reading.value for reading in readings] == values  # exact, digit by digit
        assert {reading.origin for reading in readings} == {"device"}
        assert readings.to_arrow().num_rows == 3

        # A node that lies about a value is noticed, because the reader checks proofs itself.
        with pytest.raises(LyingNodeError):
            lying_readings(chain, stream)

        proof = chain.proof(stream, 1)

    # A stranger, years later: two files and no network.
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "p.cbor").write_bytes(proof)
    (stranger / "trust.json").write_bytes(place.trust_file.read_bytes())
    verify = ("proof", "verify", "p.cbor", "--trust", "trust.json", "--require", "device")
    code, verdict = althing(*verify, cwd=stranger)
    assert code == 0
    assert verdict["verified"]
    assert verdict["sequence"] == 1
    assert [step["number"] for step in verdict["steps"]] == list(range(1, 10))

    # One bit of it changed: the failing step is named.
    broken = bytearray(proof)
    broken[len(broken) // 2] ^= 1
    (stranger / "p.cbor").write_bytes(broken)
    code, verdict = althing(*verify, cwd=stranger)
    assert code == 1
    assert not verdict["verified"]
    assert 1 <= verdict["step"] <= 9

    # Everything stops; the proof can still be made from the files, and the archive still holds what the chain anchored.
    for child in reversed(children):
        child.stop()
    code, made = althing("proof", "get", "--stream", stream, "--seq", "2", "-o", str(stranger / "late.cbor"), home=home)
    assert code == 0, made
    code, verdict = althing("proof", "verify", "late.cbor", "--trust", "trust.json", cwd=stranger)
    assert code == 0
    assert verdict["origin"] == "device"
    code, archive = althing("segment", "verify", home=home)
    assert code == 0
    assert archive["readings"] == 3


def publish_ready(listens: dict) -> bool:
    """The gateway's registry follows the chain's events: it has the device a moment after the block."""
    return bool(httpx2.get(f"{listens['http']}/v1/status", timeout=5).json()["devices"])


def lying_readings(chain: Client, stream: str) -> None:
    """Check readings of which one was changed on the way, with the proofs the node gives."""
    from dataclasses import replace

    from althing.client.readings import Readings
    from althing.client.verifying import check_readings, verify_all

    honest = chain.readings(stream)
    rows = (replace(honest.rows[0], value="99"), *honest.rows[1:])
    sequences = sorted({row.sequence for row in rows})
    verified = verify_all(stream, sequences, [chain.proof(stream, s) for s in sequences], chain.trust)
    schemas = {found.row.schema_version: found.definition.schema for found in verified.values()}
    check_readings(Readings(stream, rows), verified, schemas, chain.trust)
