"""Verifying beside the node: the same verdicts wherever it runs, also when the process that does it dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

import pytest

from althing.ledger.authorisation import Check
from althing.node.signaturecheck import CHECKS_A_FRAME, HERE_MAX, SignatureChecks
from althing.protocol.cose import Signature
from althing.protocol.messages.identity import Key
from althing.protocol.signatures import PrivateKey, Suite

KEYS = [PrivateKey(suite, bytes([number]) * 32) for suite in Suite for number in range(1, 5)]


def checks(count: int, bad: set[int]) -> list[Check]:
    found = []
    for at in range(count):
        key = KEYS[at % len(KEYS)]
        value = key.sign(b"other" if at in bad else b"message %d" % at)
        found.append((Key(key.suite, key.public), Signature(key.suite, bytes(8), {}, b"message %d" % at, value)))
    return found


async def up(checker: SignatureChecks, sample: Sequence[Check]) -> None:
    """Until a process answers; threads do until then."""
    async with asyncio.timeout(30):
        while not any(worker.ready for worker in checker._workers):
            assert await checker.failures(sample) == set()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_bad_signatures_are_found_wherever_they_stand(processes: int) -> None:
    async def work() -> None:
        checker = SignatureChecks(processes)
        try:
            if processes:
                await up(checker, checks(20, set()))
            for count in (0, 1, HERE_MAX, HERE_MAX + 1, 2 * CHECKS_A_FRAME + 3):
                for bad in (set(), {0}, {count // 2, count - 1}):
                    bad = {at for at in bad if 0 <= at < count}
                    assert await checker.failures(checks(count, bad)) == bad
            groups = [(checks(50, {at}), {at}) for at in range(10)]
            assert await asyncio.gather(*(checker.failures(group) for group, _ in groups)) == [b for _, b in groups]
        finally:
            await checker.stop()

    asyncio.run(work())


def test_a_process_that_dies_is_replaced() -> None:
    async def work() -> None:
        checker = SignatureChecks(1)
        try:
            sample = checks(20, set())
            await up(checker, sample)
            first = checker._workers[0]
            os.kill(first._process.pid, signal.SIGSTOP)
            waiting = [asyncio.create_task(checker.failures(checks(300, {7, 299}))) for _ in range(3)]
            while first.load < 9:
                await asyncio.sleep(0.01)
            os.kill(first._process.pid, signal.SIGKILL)
            assert await asyncio.gather(*waiting) == [{7, 299}] * 3
            await up(checker, sample)
            assert checker._workers[0] is not first
            assert await checker.failures(checks(300, {1})) == {1}
            second = checker._workers[0]._process
        finally:
            await checker.stop()
        assert (first._process.returncode, second.returncode) == (-signal.SIGKILL, 0)

    asyncio.run(work())


def test_a_process_that_hangs_is_ended_and_replaced() -> None:
    async def work() -> None:
        checker = SignatureChecks(1, answer_s=0.5)
        try:
            sample = checks(20, set())
            await up(checker, sample)
            first = checker._workers[0]
            os.kill(first._process.pid, signal.SIGSTOP)
            assert await checker.failures(checks(300, {7, 299})) == {7, 299}
            await up(checker, sample)
            assert checker._workers[0] is not first
        finally:
            await checker.stop()
        assert first._process.returncode == -signal.SIGKILL

    asyncio.run(work())
