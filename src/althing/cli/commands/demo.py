"""althing demo: from nothing to recorded device data on a ledger, and proofs of it."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from althing.cli.demo.run import DemoOptions, run_demo
from althing.cli.options import DEFAULT_HOME, HomeOption, guarded
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
        bool, typer.Option("--headless", help="For scripts: must end by itself, with --seconds.")
    ] = False,
    engine: Annotated[
        str, typer.Option("--engine", help="solo: embedded, one node; cometbft: distributed. A home keeps its engine.")
    ] = "solo",
    validators: Annotated[
        int,
        typer.Option(
            "--validators", min=1, max=100, help="With --engine cometbft: how many nodes, all on this machine."
        ),
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line when it is ready and one with the result.")
    ] = False,
) -> None:
    """Run it all: chain, gateway, page, recorded devices.

    State survives: a second run goes on where the first one ended. When the recordings have ended, the devices stay
    online; with --loop the recordings begin again, as a marked new run.
    """
    if headless and not seconds:
        raise typer.BadParameter("--headless needs --seconds, or it would never end", param_hint="--seconds")
    if engine not in ("solo", "cometbft"):
        raise typer.BadParameter("the engines are solo and cometbft", param_hint="--engine")
    if engine == "solo" and validators != 1:
        raise typer.BadParameter("several validators need --engine cometbft", param_hint="--validators")
    stop = threading.Event()

    def interrupted(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    if not run_demo(DemoOptions(home, seconds, pace, loop, as_json, engine, validators), stop):
        raise typer.Exit(EXIT_FAILED)
