"""Figures of verbal arithmetic: accuracy over epochs, and by the distance of the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.attention import bert
from experiments.attention.bert import LABELS, MAJORITY, Kind
from experiments.attention.seed import FINE_TUNED, FROZEN, OTHER_DOMAIN
from experiments.results import trends
from experiments.results.figures import STYLE, draw_grid
from experiments.results.panels import draw_mean
from experiments.results.trials import Trials

ACCURACY = (
    "Validation accuracy over epochs of the longest trainings, mean ± one standard deviation over "
    "splits as a band. Grey: the majority rate. Crosses: the seed after three epochs, fine-tuned, "
    "frozen, and with an encoder of other text."
)
BY_GAP = (
    "Validation accuracy after the longest training by |a - b|, mean and 95 % interval over splits. "
    "a + b: sums that are positive; a - a: expressions that are zero."
)
SEED = {"fine-tuned": {"minilm": FINE_TUNED, "unrelated": OTHER_DOMAIN}, "frozen": {"minilm": FROZEN}}


def panels_of(there: Sequence[Kind]) -> dict[tuple[str, float], list[Kind]]:
    """The kinds with the most steps, by way and rate."""
    panels: dict[tuple[str, float], list[Kind]] = {}
    for kind in there:
        if kind.way != "head":
            panels.setdefault((kind.way, kind.lr), []).append(kind)
    most = {key: max(k.steps for k in of) for key, of in panels.items()}
    return {key: [k for k in of if k.steps == most[key]] for key, of in panels.items()}


def axes_of(panels: dict[tuple[str, float], list[Kind]]) -> tuple[Figure, Any]:
    """A panel for each way and rate, with the majority rate."""
    n = max(1, len(panels))
    figure = Figure(figsize=(1.2 + 3.0 * n, 3.4), layout="constrained")
    axes = figure.subplots(1, n, squeeze=False, sharey=True)[0]
    for ax, (way, lr) in zip(axes, panels, strict=False):
        ax.set_title(f"{way}, rate {lr:g}", loc="left")
        ax.axhline(MAJORITY, color="0.6", linewidth=0.9)
        draw_grid(ax)
    axes[0].set_ylabel("right, %")
    return figure, axes


@mpl.rc_context(STYLE)
def accuracy(trials: Trials, there: Sequence[Kind]) -> Figure:
    panels = panels_of(there)
    figure, axes = axes_of(panels)
    for ax, ((way, lr), of_panel) in zip(axes, panels.items(), strict=False):
        for kind in of_panel:
            label, color = LABELS[kind.start]
            curves = [[100 * r["val_accuracy"] for r in t.records] for t in kind.of(trials)]
            least = min(map(len, curves))
            values = np.array([curve[:least] for curve in curves])
            draw_mean(ax, np.arange(least), values, color=color, label=label, linewidth=1.3)
            if lr == bert.SEED_RATE and kind.start in SEED.get(way, {}):
                ax.plot(3, 100 * SEED[way][kind.start], "x", color=color)
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(fontsize=7)
    return figure


@mpl.rc_context(STYLE)
def by_gap(trials: Trials, there: Sequence[Kind]) -> Figure:
    panels = panels_of(there)
    figure, axes = axes_of(panels)
    x = np.arange(len(bert.BY_GAP))
    for ax, of_panel in zip(axes, panels.values(), strict=False):
        for i, kind in enumerate(of_panel):
            label, color = LABELS[kind.start]
            of = kind.of(trials)
            means = [trends.average([q.of(t) for t in of]) for q in bert.BY_GAP.values()]
            values = [mean.value if mean else np.nan for mean in means]
            halves = [mean.interval[1] - mean.value if mean and mean.interval else 0.0
                      for mean in means]  # fmt: skip
            shifted = x + 0.08 * (i - (len(of_panel) - 1) / 2)  # or bars would hide each other
            ax.errorbar(shifted, values, halves, color=color, label=label, marker="o",
                        markersize=3, linewidth=1.0, capsize=2)  # fmt: skip
        ax.set_xticks(x, [*bert.BY_GAP], fontsize=7, rotation=45)
        ax.set_xlabel("|a - b|")
        ax.legend(fontsize=7)
    return figure
