"""A figure of what relative attention comes near to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.results.figures import STYLE, draw_grid

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
LEAST = 1e-17  # an error of 0 is drawn here


@mpl.rc_context(STYLE)
def errors(
    free: Sequence[float], by_free: Mapping[str, Sequence[float]], seeds: Mapping[str, float]
) -> Figure:
    """Errors against the free number; triangles at the left are the seed's."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = figure.subplots()
    for (name, values), color in zip(by_free.items(), COLORS, strict=True):
        drawn = [max(value, LEAST) for value in values]
        ax.plot(free, drawn, "o-", color=color, markersize=3, linewidth=1.2, label=name)
        if name in seeds:
            ax.plot(free[0] / 1.7, seeds[name], ">", color=color, markersize=7)
    ax.set(xscale="log", yscale="log", xlabel="free number", ylabel="largest error")
    ax.legend(fontsize=8)
    draw_grid(ax)
    return figure
