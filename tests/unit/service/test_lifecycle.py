"""Starting raced with stopping: whichever comes first, everything that was begun is stopped, in order."""

from __future__ import annotations

import asyncio

import pytest

from althing.service.lifecycle import Lifecycle, start_unless_stopped


class Process:
    """Two parts; the second one starts when it is told to."""

    def __init__(self) -> None:
        self.life = Lifecycle()
        self.go_on = asyncio.Event()
        self.told: list[str] = []

    async def start(self) -> str:
        try:
            await self.life.start("first", None, lambda: self._told("first stopped"))
            await self.life.start("second", self._second, lambda: self._told("second stopped"))
        except BaseException:
            await self.life.stop()
            raise
        return "ready"

    async def _second(self) -> None:
        await self._told("second begun")
        await self.go_on.wait()

    async def _told(self, what: str) -> None:
        await asyncio.sleep(0)
        self.told.append(what)


def test_what_starts_before_the_stop_is_handed_over() -> None:
    async def story() -> None:
        process = Process()
        process.go_on.set()
        assert await start_unless_stopped(process.start(), asyncio.Event()) == "ready"
        assert process.told == ["second begun"]

    asyncio.run(story())


@pytest.mark.parametrize("already", [True, False])
def test_a_stop_cuts_off_a_start_that_hangs_and_what_it_began_is_stopped_in_order(already: bool) -> None:
    async def story() -> None:
        process, stop = Process(), asyncio.Event()
        if already:
            stop.set()
        else:
            asyncio.get_running_loop().call_later(0.01, stop.set)
        assert await start_unless_stopped(process.start(), stop) is None
        if not already:
            assert process.told == ["second begun", "second stopped", "first stopped"]
        assert not process.life._parts
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())


def test_a_start_that_fails_is_raised_with_or_without_a_stop() -> None:
    async def failing() -> str:
        raise ValueError("no")

    async def story() -> None:
        for stopped in (False, True):
            stop = asyncio.Event()
            if stopped:
                stop.set()
            with pytest.raises(ValueError, match="no"):
                await start_unless_stopped(failing(), stop)

    asyncio.run(story())


def test_cancelling_whoever_waits_cancels_the_start() -> None:
    async def story() -> None:
        process = Process()
        waiting = asyncio.create_task(start_unless_stopped(process.start(), asyncio.Event()))
        while not process.told:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert process.told == ["second begun", "second stopped", "first stopped"]

    asyncio.run(story())
