"""What commands print: text for people, one JSON document for programs; errors on stderr with code and hint.

Exit codes: 0 success; 1 refused, or a check that failed; 2 wrong use; 3 not available now, trying again is right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from althing.protocol.errors import AlthingError, UnavailableError

__all__ = ["EXIT_FAILED", "EXIT_UNAVAILABLE", "emit", "fail", "note", "table", "working"]

EXIT_FAILED = 1
EXIT_UNAVAILABLE = 3

# Wide, so that no identifier is ever cut: a terminal wraps long lines by itself, and what it wraps can be copied whole.
_out = Console(highlight=False, soft_wrap=True, width=10_000)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(document: Any, text: str | Table, *, as_json: bool) -> None:
    """The command's result on stdout."""
    if as_json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    elif isinstance(text, str):
        _out.print(text, markup=False)
    else:
        _out.print(text)


def note(text: str) -> None:
    """A remark for people, on stderr so that stdout stays a result."""
    _err.print(text, markup=False)


def working(what: str, *, as_json: bool) -> Progress:
    """Shows that long work goes on: on stderr, only on a terminal, and gone when it is done."""
    columns = (SpinnerColumn(), TextColumn(what), MofNCompleteColumn(), TimeElapsedColumn())
    silent = as_json or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), disable=silent, transient=True)


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, empty: str) -> str | Table:
    """Rows as a table, or a sentence when there are none."""
    if not rows:
        return empty
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(str(row.get(column, "")) for column in columns))
    return made


def fail(error: AlthingError, *, as_json: bool) -> NoReturn:
    """End the command with an expected failure."""
    if as_json:
        sys.stdout.write(
            json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}) + "\n"
        )
    _err.print(f"error: {error.message} [{error.code}]", markup=False)
    if error.hint:
        _err.print(f"  {error.hint}", markup=False)
    raise typer.Exit(EXIT_UNAVAILABLE if isinstance(error, UnavailableError) else EXIT_FAILED)
