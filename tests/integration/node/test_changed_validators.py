"""A chain whose validator set changes: proofs for trust files from before and after, by API, SDK and command, also
when its node is stopped. Each is judged by the verifier and by the second one, written from the specification."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from althing.cli.main import app
from althing.client.client import load_signer
from althing.client.errors import NodeError
from althing.client.sync import Client
from althing.light.verifier import ProofError, verify_proof
from althing.protocol.messages.governance import SetValidator, Validator
from althing.protocol.proof import Proof, parse_proof
from althing.protocol.trust import Trust, format_trust, parse_trust

from .world import World, key, new_home, running_world

PATH = "pump-1/temperature"
SECOND = Path(__file__).resolve().parents[2] / "independent" / "althing_verify.py"


class Changed:
    """Message 0 was anchored before another validator joined, message 1 after; trust files and a proof of both times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = new_home(folder / "home")
        with running_world(self.home) as world:
            self._make(world)
            self._ask_the_api(world)
            self._ask_the_sdk(world)
            self.by_running_node = self.commands("running")
        self.by_stopped_home = self.commands("stopped")

    def _make(self, world: World) -> None:
        world.anchor([(PATH, [20.5])])
        self._fill(world)
        self.before = self._trust(world, "before")
        self.old = world.chain.proof(PATH, 0)
        owner = load_signer(self.home.admin_key_file).address
        world.chain.send(SetValidator(Validator(key("another validator").public, 1, owner)))
        for _ in range(3):
            self._fill(world)
        world.anchor([(PATH, [21.5])])
        self._fill(world)
        self.after = self._trust(world, "after")

    def _fill(self, world: World) -> None:
        world.anchor([("pump-2/temperature", [1.0])])

    def _trust(self, world: World, name: str) -> Trust:
        trust = parse_trust(world.http.get("/v1/trust").content)
        (self.folder / f"{name}.json").write_text(format_trust(trust))
        return trust

    def _ask_the_api(self, world: World) -> None:
        self.plain = world.chain.proof(PATH, 1)
        self.linked = world.chain.proof(PATH, 1, trust=self.before)
        self.past = world.chain.proof(PATH, 0, trust=self.after, height=self.before.height)
        self.tied = world.chain.tied(self.old, self.after)
        path = f"/v1/proofs/{PATH}/1"
        self.readable = world.http.get(path, params={"format": "json"}).json()
        other = {"trusted_height": self.before.height, "trusted_header": "00" * 32}
        self.refused: list[tuple[int, dict[str, Any]]] = []
        for params in (other, {"trusted_header": "00" * 32}, {"trusted_height": 0}, {"height": 1}):
            answer = world.http.get(path, params=params)
            self.refused.append((answer.status_code, answer.json()["code"]))
        with pytest.raises(NodeError) as refused:
            world.chain.tied(b"\xa0", self.after)
        self.refused.append((refused.value.status, refused.value.code))

    def _ask_the_sdk(self, world: World) -> None:
        self.readings = {}
        for name, trust in (("before", self.before), ("after", self.after)):
            with Client(world.process.url, trust=trust) as reader:
                self.readings[name] = [row.value for row in reader.readings(PATH).rows]

    def commands(self, name: str) -> dict[str, Path]:
        """Proof files that the commands write."""
        made = {way: self.folder / f"{name}-{way}.cbor" for way in ("links", "history", "tied", "home")}
        before, after = self.folder / "before.json", self.folder / "after.json"
        old = self.folder / f"{name}-old.cbor"
        old.write_bytes(self.old)
        get = ["proof", "get", "--stream", PATH, "--home", str(self.home.path)]
        run(*get, "--seq", "1", "--trust", str(before), "-o", str(made["links"]))
        at = str(self.before.height)
        run(*get, "--seq", "0", "--trust", str(after), "--height", at, "-o", str(made["history"]))
        tie = ["proof", "tie", str(old), "--trust", str(after), "--home", str(self.home.path)]
        run(*tie, "-o", str(made["tied"]))
        run(*get, "--seq", "1", "-o", str(made["home"]))
        return made


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Changed:
    return Changed(tmp_path_factory.mktemp("changed"))


def holds(changed: Changed, data: bytes, trust: Trust) -> Proof:
    """Both verifiers take it."""
    verify_proof(data, trust)
    proof, pinned = changed.folder / "judged.cbor", changed.folder / "judged.json"
    proof.write_bytes(data)
    pinned.write_text(format_trust(trust))
    command = [sys.executable, str(SECOND), str(proof), "--trust", str(pinned)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return parse_proof(data)


def test_a_trust_file_from_before_gets_links(changed: Changed) -> None:
    assert changed.before.validators != changed.after.validators
    with pytest.raises(ProofError) as refused:
        verify_proof(changed.plain, changed.before)
    assert refused.value.step == 9
    assert holds(changed, changed.linked, changed.before).links


def test_a_trust_file_from_after_goes_through_the_header_log(changed: Changed) -> None:
    for data in (changed.past, changed.tied):
        assert holds(changed, data, changed.after).history
    with pytest.raises(ProofError) as refused:
        verify_proof(changed.old, changed.after)
    assert refused.value.step == 9


@pytest.mark.parametrize("where", ["by_running_node", "by_stopped_home"])
def test_commands_make_them_also_on_a_stopped_home(changed: Changed, where: str) -> None:
    made: dict[str, Path] = getattr(changed, where)
    assert holds(changed, made["links"].read_bytes(), changed.before).links
    assert holds(changed, made["history"].read_bytes(), changed.after).history
    assert holds(changed, made["tied"].read_bytes(), changed.after).history
    told = run("proof", "verify", str(made["home"]), "--trust", str(changed.home.trust_file))
    assert told["verified"], "without --trust it is made for the home's own trust file"


def test_the_node_shows_its_own_steps(changed: Changed) -> None:
    assert [step["ok"] for step in changed.readable["steps"]] == [True] * 9
    assert changed.readable["proof"]["links"] > 0


def test_the_sdk_follows_the_change(changed: Changed) -> None:
    assert changed.readings["before"] == changed.readings["after"]
    assert len(changed.readings["before"]) == 2


def test_what_cannot_be_tied_is_refused(changed: Changed) -> None:
    assert changed.refused == [
        (409, "proof.foreign_trust"),
        (400, "api.parameter"),
        (400, "api.parameter"),
        (400, "api.parameter"),
        (422, "proof.form"),
    ]
