"""The figure of `benchmarks.sweep`, drawn only from its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.sides import EAGER, SHARED
from experiments.results.figures import STYLE, save
from experiments.train.records import Record

# Okabe and Ito's colours, distinct also for the colour-blind; markers and dashes are for grey
LINES: dict[str, dict[str, Any]] = {
    f"minigrad{SHARED}": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "minigrad": {"color": "#0072B2", "marker": "o", "linestyle": "--"},
    "minigrad, plain": {"color": "#D55E00", "marker": "s", "linestyle": ":"},
}
LABELS = {
    f"minigrad{SHARED}": "compiled kernels, shared prefixes",
    "minigrad": "compiled kernels",
    "minigrad, plain": "plain NumPy",
}
MODELS = {"lstm": "LSTM", "gpt": "GPT"}
RATIOS = (0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6, 8)  # where the axis has its ticks
AXES = {"batch": "sequences in a batch", "d": "width d", "length": "tokens of a sequence"}


def write_figure(folder: Path, records: Sequence[Record]) -> list[Path]:
    """Draw the records into sweep.png and sweep.pdf. Returns the files."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return save(ratios(records), folder / "sweep.png", folder / "sweep.pdf")


def ratios(records: Sequence[Record]) -> Figure:
    """PyTorch eager / minigrad against each size, one row of panels per model."""
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    panels = figure.subplots(2, 3, sharex="col", sharey=True, width_ratios=(1.5, 1, 1.2))
    for row, (model, name) in zip(panels, MODELS.items(), strict=True):
        for ax, (axis, label) in zip(row, AXES.items(), strict=True):
            draw(ax, [r for r in records if r["axis"] == axis], axis, model)
            ax.set_title(name, loc="left")
            if model == "gpt":
                ax.set_xlabel(label)
        row[0].set_ylabel("PyTorch eager / minigrad")
    handles = dict[str, Any]()
    for ax in panels.flat:
        handles |= {line.get_label(): line for line in ax.lines if line.get_label() in LINES}
    figure.legend(
        [handles[side] for side in LINES if side in handles],
        [LABELS[side] for side in LINES if side in handles],
        loc="outside lower center",
        ncols=len(LINES),
    )
    figure.suptitle(caption(records), fontsize=9, x=0.01, ha="left")
    return figure


def draw(ax: Any, records: Sequence[Record], axis: str, model: str) -> None:
    """One panel, of one model; its ticks are the sizes of both models.

    Points that were skipped have no times and are not drawn.
    """
    times = {(r["side"], r[axis]): r["ms"] for r in records if r["model"] == model and "ms" in r}
    sizes = sorted({r[axis] for r in records if "ms" in r})
    for side, style in LINES.items():
        x = [n for n in sizes if (side, n) in times]
        y = [times[EAGER, n] / times[side, n] for n in x]
        if x:
            ax.plot(x, y, label=side, linewidth=1.3, markersize=4.5, **style)
    ax.axhline(1, color="0.35", linewidth=1)
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    for scale, ticks in ((ax.xaxis, sizes), (ax.yaxis, RATIOS)):
        scale.set_major_locator(FixedLocator(ticks))
        scale.set_minor_locator(NullLocator())
        scale.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def caption(records: Sequence[Record]) -> str:
    """The sizes around which one varies, the data, and the environment."""
    measured_on = records[0]["environment"]
    fixed = {key: next((r[key] for r in records if r["axis"] != key), "…") for key in AXES}
    base = f"batch {fixed['batch']}, d = {fixed['d']}, S = {fixed['length']}"
    return (
        f"Speed of a training step beside PyTorch eager; above 1 minigrad is faster. "
        f"2 layers; one size varies around {base}.\n"
        f"Left, middle: sums a + b mod p, loss on the right-hand side. Right: random tokens, loss "
        f"on all positions.\n"
        f"PyTorch {measured_on['torch']}, NumPy {measured_on['numpy']}, "
        f"{measured_on['cores']} cores"
    )
