"""Writes tests/proof/recorded.json: proofs of the fixture chain as the Python verifier accepts them, for the page's tests.

.venv/bin/python web/dev/record_proofs.py
"""

# ruff: noqa: E402 -- see `dont_write_bytecode`

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # a cache file here would count as a source of the page

from chain import populated

from althing.light.verifier import verify_proof
from althing.protocol.trust import format_trust

START_S = 1_795_000_000
WANTED = (("machine-7/bearing", 30), ("fridge-12/climate", 3), ("boiler-3/supply", 11))


def main() -> None:
    chain = populated(START_S)
    trust = chain.proofs.trust()
    proofs = []
    for stream, sequence in WANTED:
        data = chain.proofs.proof(stream, sequence)
        found = verify_proof(data, trust)
        proofs.append(
            {"stream": stream, "sequence": sequence, "origin": found.origin.name.lower(), "height": found.height,
             "file": data.hex()}
        )  # fmt: skip
    document = {
        "trust": json.loads(format_trust(trust)),
        "earlier_trust": json.loads(format_trust(chain.proofs.trust(20))),
        "proofs": proofs,
    }
    target = Path(__file__).resolve().parent.parent / "tests" / "proof" / "recorded.json"
    target.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
