"""althing demo: from nothing to recorded device data on a ledger, and proofs of it."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from althing.cli.demo.run import DemoOptions, run_demo
from althing.cli.options import DEFAULT_HOME, HomeOption, JsonOption, guarded
from althing.cli.output import EXIT_FAILED

__all__ = ["demo"]

_PACE_S = 600


@guarded
def demo(
    home: HomeOption = DEFAULT_HOME,
    seconds: Annotated[
        int, typer.Option("--seconds", min=0, help="Stop by itself after so long; 0: until Ctrl-C.")
    ] = 0,
    pace: Annotated[int, typer.Option("--pace", min=1, help="Seconds the whole recording takes.")] = _PACE_S,
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin the recording again when it has ended, as a marked new run.")
    ] = False,
    headless: Annotated[
        bool, typer.Option("--headless", help="For scripts: no interaction, ends with --seconds.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a chain, a gateway, the page, and devices that replay recorded data. State survives; a second run goes on.

    Example for scripts: althing demo --headless --seconds 20 --json
    """
    if headless and not seconds:
        raise typer.BadParameter("--headless needs --seconds, or it would never end", param_hint="--seconds")
    stop = threading.Event()

    def interrupted(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    if not run_demo(DemoOptions(home, seconds, pace, loop, as_json), stop):
        raise typer.Exit(EXIT_FAILED)
