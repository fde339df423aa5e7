"""Figures of verbal arithmetic: accuracy over epochs, and by the distance of the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.attention.arithmetic import EPOCHS
from experiments.attention.arithmetic_measures import (
    BY_GAP,
    LABELS,
    MAJORITY,
    THEIRS,
    Kind,
    label_of,
)
from experiments.results import bands, trends
from experiments.results.curves import by_record, number
from experiments.results.figures import STYLE, draw_grid
from experiments.results.trials import Trials

ACCURACY = (
    "Validation accuracy over epochs of the longest trainings, mean ± one standard deviation over "
    "splits as a band. Grey: the majority rate. Crosses: the seed after three epochs, fine-tuned, "
    "frozen, and with an encoder of other text."
)
GAPS = (
    "Validation accuracy after the longest training by |a - b|, mean and 95 % interval over "
    "splits. a + b > 0: sums that are positive; = 0: expressions that are zero."
)


def panels_of(there: Sequence[Kind]) -> dict[tuple[str, float], list[Kind]]:
    """The kinds with the most steps, by way and rate."""
    panels: dict[tuple[str, float], list[Kind]] = {}
    for kind in there:
        panels.setdefault((kind.way, kind.lr), []).append(kind)
    most = {key: max(k.steps for k in of) for key, of in panels.items()}
    return {key: [k for k in of if k.steps == most[key]] for key, of in panels.items()}


def title_of(way: str, lr: float) -> str:
    return "frozen, to convergence" if way == "head" else f"{way}, rate {lr:g}"


def accuracy(trials: Trials, there: Sequence[Kind]) -> Figure:
    panels = panels_of([kind for kind in there if kind.way != "head"])
    drawn = {
        title_of(way, lr): [
            bands.Curve(
                label_of(kind.start),
                by_record(kind.of(trials), "val_accuracy", lambda share: 100 * number(share)),
                LABELS[kind.start][1],
            )
            for kind in of_panel
        ]
        for (way, lr), of_panel in panels.items()
    }
    figure = bands.curves(drawn or {"": []}, "epoch", "right, %")
    for ax, (way, lr) in zip(figure.axes, panels, strict=False):
        ax.axhline(MAJORITY, color="0.6", linewidth=0.9)
        for kind, share in THEIRS.items():
            if (kind.way, kind.lr) == (way, lr):
                ax.plot(EPOCHS, 100 * share, "x", color=LABELS[kind.start][1])
    return figure


@mpl.rc_context(STYLE)
def by_gap(trials: Trials, there: Sequence[Kind]) -> Figure:
    panels = panels_of(there)
    figure = Figure(figsize=(1.2 + 3.4 * max(1, len(panels)), 3.4), layout="constrained")
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False, sharey=True)[0]
    x = np.arange(len(BY_GAP))
    for ax, ((way, lr), of_panel) in zip(axes, panels.items(), strict=False):
        for i, kind in enumerate(of_panel):
            of = kind.of(trials)
            means = [trends.average([q.of(t) for t in of]) for q in BY_GAP.values()]
            values = [mean.value if mean else np.nan for mean in means]
            halves = [mean.interval[1] - mean.value if mean and mean.interval else 0.0
                      for mean in means]  # fmt: skip
            shifted = x + 0.08 * (i - (len(of_panel) - 1) / 2)  # or bars would hide each other
            ax.errorbar(shifted, values, halves, color=LABELS[kind.start][1],
                        label=label_of(kind.start), marker="o",
                        markersize=3, linewidth=1.0, capsize=2)  # fmt: skip
        ax.set_xticks(x, [*BY_GAP], fontsize=7, rotation=45)
        ax.set_xlabel("|a - b|")
        ax.set_title(title_of(way, lr), loc="left")
        draw_grid(ax)
        ax.legend(fontsize=8)
    axes[0].set_ylabel("right, %")
    axes[0].set_ylim(-4, 104)  # an interval of few splits may leave 0 to 100
    return figure
