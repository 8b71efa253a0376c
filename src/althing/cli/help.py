"""Help with examples: every command ends its `--help` with lines that can be pasted as they stand.

They are declared where the command is, as its `epilog`; the tests parse each of them as the program would.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

__all__ = ["Command", "examples"]


class Command(TyperCommand):
    """A command whose epilog is a list of examples, printed line by line: a wrapped command line cannot be pasted."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples below the options."""
        del ctx
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


def examples(*lines: str) -> dict[str, Any]:
    """What `app.command(name, **examples(…))` needs."""
    return {"cls": Command, "epilog": "\n".join(lines)}
