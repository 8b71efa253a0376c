"""Figures: what was measured, beside its reference and its target; as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "at_least", "at_most", "median", "read", "reported", "show", "write"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement. `ratio` is value / reference in the reference's own unit; `met` is None without a target."""

    figure: str
    value: float
    unit: str
    reference: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


def reported(figure: str, value: float, unit: str, reference: str = "", ratio: float | None = None) -> Figure:
    """A figure without a target."""
    return Figure(figure, _round(value), unit, reference, None if ratio is None else _round(ratio))


def at_least(figure: str, value: float, unit: str, reference: str, ratio: float, target: float) -> Figure:
    """Met when the ratio is `target` or more."""
    return Figure(figure, _round(value), unit, reference, _round(ratio), f">= {target:g}", ratio >= target)


def at_most(
    figure: str, value: float, unit: str, target: float, reference: str = "", ratio: float | None = None
) -> Figure:
    """Met when the ratio, or the value where there is none, is `target` or less."""
    measured = value if ratio is None else ratio
    shown = None if ratio is None else _round(ratio)
    return Figure(figure, _round(value), unit, reference, shown, f"<= {target:g}", measured <= target)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _round(value: float) -> float:
    return round(value, 0 if abs(value) >= 1000 else 3)


def write(path: Path, figures: Sequence[Figure]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> list[Figure]:
    """The figures of a file, also of one that an older bench wrote with numbers in place of texts."""
    found = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        reference, target = row["reference"], row["target"]
        if not isinstance(reference, str):
            row["reference"] = "" if reference is None else f"{reference:g} B of payload"
        if not isinstance(target, str):
            row["target"] = "" if target is None else f"<= {target:g}"
        found.append(Figure(**row))
    return found


def show(console: Console, area: str, figures: Sequence[Figure]) -> None:
    """A table of one area."""
    table = Table(title=area, title_justify="left", title_style="bold")
    table.add_column("figure", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("reference", overflow="fold")
    table.add_column("target", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in figures:
        met = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[one.met]
        ratio = "" if one.ratio is None else f"{one.ratio:,.3g}"
        table.add_row(one.figure, f"{one.value:,.6g} {one.unit}", ratio, one.reference, one.target, met)
    console.print(table)
