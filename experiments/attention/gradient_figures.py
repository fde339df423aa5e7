"""Figures of derivatives in deep chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.results.figures import STYLE, draw_grid

Floats = np.ndarray[Any, np.dtype[np.float64]]
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


@mpl.rc_context(STYLE)
def chains(points: Mapping[int, tuple[Floats, Floats, Floats]]) -> Figure:
    """|df/dx| against ∏|w|, a panel a number of layers. points: |df/dx|, which are on, ∏|w|."""
    figure = Figure(figsize=(1.0 + 2.8 * len(points), 3.0), layout="constrained")
    axes = figure.subplots(1, len(points), squeeze=False)[0]
    for ax, (n, (gradients, on, products)) in zip(axes, points.items(), strict=True):
        low, high = products.min(), products.max()
        ax.plot([low, high], [low, high], color="0.6", linewidth=0.8)
        ax.plot(products[on], gradients[on], ".", color=COLORS[0], markersize=2, label="all on")
        off = np.full(int((~on).sum()), low / 10)
        ax.plot(products[~on], off, ".", color=COLORS[1], markersize=2, label="some off: 0")
        ax.set(xscale="log", yscale="log", title=f"{n} layers", xlabel="∏|w|")
        draw_grid(ax)
    axes[0].set_ylabel("|df/dx|")
    axes[0].legend(fontsize=8, markerscale=4)
    return figure


@mpl.rc_context(STYLE)
def jacobians(norms: Mapping[float, tuple[Floats, Floats]], met: Floats) -> Figure:
    """Largest singular values against n, a panel a scale of W.

    norms: those of all matrices, and the bound. met: those of the matrix that meets it.
    """
    figure = Figure(figsize=(1.0 + 2.2 * len(norms), 3.0), layout="constrained")
    axes = figure.subplots(1, len(norms), squeeze=False)[0]
    n = np.arange(2, 2 + len(met))
    for ax, (scale, (of, bound)) in zip(axes, norms.items(), strict=True):
        ax.plot(n, of, color=COLORS[0], linewidth=0.4, alpha=0.4)
        ax.plot(n, bound, color=COLORS[1], dashes=(4, 2), linewidth=1.2)
        if scale == 0.25:
            ax.plot(n, met, "o", color=COLORS[2], markersize=4, fillstyle="none")
        ax.set(yscale="log", title=f"σ_max(W) = {scale:g}", xlabel="n")
        draw_grid(ax)
    axes[0].set_ylabel("σ_max(∂x_n/∂x_1)")
    return figure
