"""Four validators cross a scheduled upgrade with a migration; one that is not prepared halts before it, and goes on later."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from althing.client import Client, Signer, load_signer
from althing.ledger.assembly import Rulebook
from althing.ledger.runtime.errors import HaltError
from althing.node.config import read_config
from althing.node.daemon import NodeProcess
from althing.node.home import Home
from althing.node.offline import replay_offline
from althing.protocol.messages.governance import ScheduleUpgrade, Upgrade
from althing.testing.networks import WAIT_S, founded, reach
from althing.testing.rules import BALANCES, GIFT, NOTES_1, NOTES_2, WriteNote, rulebook, rules_1

pytestmark = [pytest.mark.needs_engine, pytest.mark.timeout(400)]

ORGANISATIONS = ("acme", "bolt", "corp", "dune")


class Member:
    """A node in this process, on an event loop in a thread of its own; `rules` is the program it runs."""

    def __init__(self, home: Home, rules: Rulebook) -> None:
        self.process = NodeProcess(home, read_config(home.path), rulebook=rules)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def stop(self) -> None:
        self.run(self.process.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


def test_an_upgrade_is_crossed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTHING_NODE_COMETBFT_IDLE_BLOCK_S", "1")
    monkeypatch.setenv("ALTHING_NODE_VERIFY_PROCESSES", "0")
    monkeypatch.setenv("ALTHING_NODE_API_PORT", "0")
    made = founded(tmp_path / "up", "127.0.65.", ORGANISATIONS, 4)
    homes = [made.home(node) for node in made.nodes]
    old = Rulebook(rules_1())
    members = [Member(home, rulebook() if number < 3 else old) for number, home in enumerate(homes)]
    unprepared = members[3]
    pool = ThreadPoolExecutor(4)
    try:
        list(pool.map(lambda member: member.run(member.process.start()), members))
        signers = [load_signer(home.admin_key_file) for home in homes]
        chain = Client(members[0].process.url, trust=homes[0].trust_file, signer=signers[0])
        note(chain, signers[0], "first")
        due = chain.get("status")["height"] + 8
        chain.send(ScheduleUpgrade(Upgrade(due, 2, "release 2")), signers=signers[:3])

        # Each node says whether it is prepared.
        reach(unprepared.process, members[0].process.node.ledger.height)
        for number, member in enumerate(members):
            with Client(member.process.url, trust=homes[0].trust_file) as asked:
                scheduled = asked.get("status")["upgrade"]
            assert scheduled == {"height": due, "app_version": 2, "info": "release 2", "prepared": number < 3}

        # The one that is not executes nothing at that height, and ends with what to do.
        with pytest.raises(HaltError) as halted:
            unprepared.run(unprepared.process.failed())
        assert halted.value.code == "upgrade.needed"
        assert f"from height {due} on" in halted.value.message
        assert "release 2" in halted.value.hint
        assert unprepared.process.node.ledger.height == due - 1
        unprepared.stop()
        again = Member(homes[3], old)
        with pytest.raises(HaltError, match=f"from height {due} on"):
            again.run(again.process.start())
        again.stop()

        # The other three go on under the new rules.
        reach(members[0].process, due)
        note(chain, signers[0], "second")
        later = members[0].process.node.ledger.height
        view = members[0].process.node.view()
        before = members[0].process.node.view(due - 1)
        own = signers[0].address + b"plan"
        first = NOTES_1.get(before, own)
        second = NOTES_2.get(view, own)
        assert first is not None
        assert second is not None
        assert (first.value, second.value, second.edits) == ("first", "second", 1)
        gift = BALANCES.get(members[0].process.node.view(due), signers[1].address)
        assert gift is None  # bolt keeps no notes
        gift = BALANCES.get(members[0].process.node.view(due), signers[0].address)
        assert gift is not None
        assert gift.value == GIFT  # the migration's, once
        chain.close()

        # Given the new program, the fourth catches up with the same roots.
        members[3] = Member(homes[3], rulebook())
        members[3].run(members[3].process.start())
        reach(members[3].process, later)
        roots = {member.process.node.ledger.store.root(later) for member in members}
        assert len(roots) == 1
        header = members[0].process.node.engine.signed_header
        assert [header(at).header.app_version for at in (due - 1, due)] == [1, 2]
    finally:
        list(pool.map(lambda member: member.stop() if not member.loop.is_closed() else None, members))
        pool.shutdown()
    # And the whole chain is executed again across it.
    done = replay_offline(homes[3], rulebook=rulebook())
    assert done.height >= later
    with pytest.raises(HaltError, match=f"from height {due} on"):
        replay_offline(homes[3], rulebook=old)


def note(chain: Client, signer: Signer, text: str) -> None:
    chain.send(WriteNote(signer.address, "plan", text))
