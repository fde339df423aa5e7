"""Figures of curves over training: ours as bands over seeds, a seed's dashed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MultipleLocator, NullFormatter

from experiments.results.figures import STYLE, draw_grid
from experiments.results.panels import draw_mean


class Curve(NamedTuple):
    """A curve over training.

    values: at each x, those of all seeds.
    theirs: the seed's curve, which may be shorter or empty.
    """

    label: str
    values: Sequence[Sequence[float]]
    color: str
    theirs: Sequence[float] = ()


@mpl.rc_context(STYLE)
def curves(
    panels: Mapping[str, Sequence[Curve]], x_label: str, y_label: str, *, every: int = 1,
    log: bool = False,
) -> Figure:  # fmt: skip
    """One panel for each title. x is `every` times 1, 2, ...; mean ± one standard deviation."""
    figure = Figure(figsize=(1.2 + 3.4 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    longest = max((len(curve.values) for drawn in panels.values() for curve in drawn), default=0)
    for ax, (title, drawn) in zip(axes, panels.items(), strict=True):
        for each in drawn:
            values = np.array(each.values)
            if not values.size:
                continue
            x = every * np.arange(1, len(values) + 1)
            draw_mean(ax, x, values.T, color=each.color, label=each.label, linewidth=1.3)
            theirs = each.theirs[: len(values)]
            ax.plot(x[: len(theirs)], theirs, color=each.color, dashes=(4, 2), linewidth=0.8)
        ax.set_title(title, loc="left")
        ax.set_xlabel(x_label)
        ax.xaxis.set_major_locator(MultipleLocator(every * max(1, math.ceil(longest / 8))))
        if log:
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
            ax.yaxis.set_major_formatter("{x:,g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
        draw_grid(ax)
        if drawn:
            ax.legend(fontsize=8)
    axes[0].set_ylabel(y_label)
    if y_label == "%":  # a band may reach beyond what there is
        axes[0].set_ylim(max(0, axes[0].get_ylim()[0]), min(101, axes[0].get_ylim()[1]))
    return figure
