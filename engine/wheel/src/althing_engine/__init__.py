"""The programs of the distributed engine: CometBFT, and a remote signer for its validators."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["binary", "run_signer", "signer"]

_PROGRAMS = Path(__file__).resolve().parent / "bin"


def binary() -> Path:
    """CometBFT."""
    return _PROGRAMS / "cometbft"


def signer() -> Path:
    """The remote signer, `althing-signer`."""
    return _PROGRAMS / "althing-signer"


def run_signer() -> None:
    """Become the remote signer, with this process' arguments."""
    os.execv(signer(), ["althing-signer", *sys.argv[1:]])  # noqa: S606 -- a program of this package
