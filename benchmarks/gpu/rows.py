"""What a check has found: rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table.

    what:    what was looked at.
    found:   what came out, to be read.
    goal:    what was wanted, if anything was.
    ok:      whether that is so; None where nothing was asked, or could not be tried.
    numbers: what came out, to be computed with.
    """

    what: str
    found: str
    goal: str = ""
    ok: bool | None = None
    numbers: dict[str, Any] = field(default_factory=dict)


def at_least(what: str, value: float, goal: float, unit: str, **numbers: Any) -> Row:
    """A measurement that should not be below a goal."""
    return Row(what, f"{value:.3g}{unit}", f"≥ {goal:g}{unit}", bool(value >= goal), numbers)


def at_most(what: str, value: float, goal: float, unit: str, **numbers: Any) -> Row:
    """A measurement that should not be above a goal."""
    return Row(what, f"{value:.3g}{unit}", f"≤ {goal:g}{unit}", bool(value <= goal), numbers)


def left_out(what: str, reason: object) -> Row:
    """Something that could not be tried here, or was not."""
    return Row(what, f"left out: {reason}")


def table(rows: Sequence[tuple[str, Row]]) -> str:
    """Rows with the names of their groups as Markdown."""
    lines = ["| group | what | found | goal | |", "|---|---|---|---|---|"]
    marks = {True: "ok", False: "FAILED", None: ""}
    for group, row in rows:
        cells = (group, row.what, row.found, row.goal, marks[row.ok])
        lines.append(
            "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"
        )
    return "\n".join(lines)
