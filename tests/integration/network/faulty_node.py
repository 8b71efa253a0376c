"""`althing` with faults built in, for tests: FAULT names them, with commas. Everything else is the program as it is.

garbage  proposes what no block may hold, and votes for it
lies     answers reads of state with other values than the state has
clock    its clocks are ALTHING_CLOCK_S seconds off
"""

# ruff: noqa: E402 -- the clock is turned before anything is loaded that reads it

import os
import sys
import time

FAULTS = os.environ["FAULT"].split(",")

if "clock" in FAULTS:
    OFF_S = float(os.environ["ALTHING_CLOCK_S"])
    true_time, true_time_ns = time.time, time.time_ns
    # Before anything else is loaded: some of it keeps these functions.
    time.time = lambda: true_time() + OFF_S
    time.time_ns = lambda: true_time_ns() + int(OFF_S * 1e9)

from dataclasses import replace

from althing.cli.entry import main
from althing.consensus.abci import PrepareProposalResponse, ProcessProposalResponse
from althing.ledger.query import LedgerView
from althing.node.application import LedgerApplication

if "garbage" in FAULTS:
    honest = LedgerApplication.prepare_proposal
    kinds = [
        lambda good: (b"\x00garbage",),
        lambda good: (*good, b""),
        lambda good: (b"\xff" * 1000,),
        lambda good: tuple(item[:-1] for item in good) or (b"\x80",),
        lambda good: tuple(item[:40] + bytes([item[40] ^ 1]) + item[41:] for item in good) or (b"\x81\x01",),
    ]
    proposed = 0

    def prepare(self, request):
        global proposed
        proposed += 1
        print(f"garbage proposed at {request.height}", file=sys.stderr, flush=True)
        return PrepareProposalResponse(kinds[proposed % len(kinds)](honest(self, request).txs))

    LedgerApplication.prepare_proposal = prepare
    LedgerApplication.process_proposal = lambda self, request: ProcessProposalResponse(True)

if "lies" in FAULTS:
    true = LedgerView.prove

    def prove(self, key):
        answer = true(self, key)
        return answer if answer.value is None else replace(answer, value=answer.value[:-1] + b"!")

    LedgerView.prove = prove

if __name__ == "__main__":
    main()
