"""Results of checks, as rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row of the table.

    what:    the subject of the check or measurement.
    found:   the result as text.
    goal:    the goal as text, or "".
    ok:      whether the goal is reached; None if there is no goal, or it was not run.
    numbers: the result as numbers.
    """

    what: str
    found: str
    goal: str = ""
    ok: bool | None = None
    numbers: dict[str, Any] = field(default_factory=dict)


def at_least(what: str, value: float, goal: float, unit: str, **numbers: Any) -> Row:
    """A measurement with a lower limit as its goal."""
    return Row(what, f"{value:.3g}{unit}", f"≥ {goal:g}{unit}", bool(value >= goal), numbers)


def at_most(what: str, value: float, goal: float, unit: str, **numbers: Any) -> Row:
    """A measurement with an upper limit as its goal."""
    return Row(what, f"{value:.3g}{unit}", f"≤ {goal:g}{unit}", bool(value <= goal), numbers)


def left_out(what: str, reason: object) -> Row:
    """A row for something that was not run."""
    return Row(what, f"left out: {reason}")


def table(rows: Sequence[tuple[str, Row]]) -> str:
    """Rows with the names of their groups as a Markdown table."""
    lines = ["| group | what | found | goal | |", "|---|---|---|---|---|"]
    marks = {True: "ok", False: "FAILED", None: ""}
    for group, row in rows:
        cells = (group, row.what, row.found, row.goal, marks[row.ok])
        lines.append(
            "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"
        )
    return "\n".join(lines)
