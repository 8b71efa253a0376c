"""Where the program begins. `althing light` is for small devices: it must not load what the other commands need."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the installed command."""
    if sys.argv[1:2] == ["light"]:
        from althing.cli.commands.light import app

        app(args=sys.argv[2:], prog_name="althing light")
    from althing.cli.main import main as whole

    whole()
