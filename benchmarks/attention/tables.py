"""A record of `python -m benchmarks.attention` in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

PASSES = "forward", "backward"
WORK = "MFLOP", "MB", "FLOP/byte", "bound, ms", "ms", "× NumPy"


def lines(record: dict[str, Any]) -> list[str]:
    """The rates, a table for each pass, and one of longer sequences; as in docs/attention.md."""
    flops, moved = (record["rates"][name] / 1e9 for name in ("flops", "bytes"))
    found = [f"{flops:.0f} GFLOP/s in a matrix product, {moved:.0f} GB/s in a copy"]
    for which in PASSES:
        rows = {row["form"]: row for row in record["rows"] if row["pass"] == which}
        numpy = rows["NumPy"]["ms"]
        found += ["", *table((which, *WORK), (cells(row, numpy) for row in rows.values()))]
    headings = "one head", *(f"{which}: {what}" for which in PASSES for what in LONGER)
    return [*found, "", *table(headings, map(longer_cells, record["longer"]))]


def cells(row: dict[str, Any], numpy: float) -> list[Any]:
    flops, moved, ms, bound = row["flops"], row["bytes"], row.get("ms"), row.get("bound_ms")
    counts = flops / 1e6, moved / 1e6, flops / moved
    return [row["form"], *counts, bound, ms, None if ms is None else ms / numpy]


LONGER = "NumPy, ms", "compiled, ms", "ratio"


def longer_cells(row: dict[str, Any]) -> list[Any]:
    found: list[Any] = [f"T = {row['T']:,}"]
    for which in PASSES:
        numpy, compiled = row[f"NumPy, {which}"], row[f"compiled, {which}"]
        found += [numpy, compiled, compiled / numpy]
    return found


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return [f"| {' | '.join(row)} |" for row in (headings, rule, *(map(text, row) for row in rows))]


def text(x: Any) -> str:
    """Of a number three digits; a dash for what there is not."""
    if x is None:
        return "–"
    if isinstance(x, str):
        return x
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"
