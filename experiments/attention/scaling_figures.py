"""Figures of scaling: losses against FLOPs, IsoFLOP profiles, and lines through their minima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.attention import isoflop
from experiments.attention.seed import BUDGET, OPTIMAL_PARAMETERS
from experiments.results.figures import STYLE, draw_grid
from experiments.results.panels import COLOR_MAP

Curves = Mapping[int, Sequence[isoflop.Curve]]


def shade(i: int, n: int) -> Any:
    return COLOR_MAP(i / max(1, n - 1))


@mpl.rc_context(STYLE)
def losses(by_seed: Curves) -> Figure:
    """A curve a model and split."""
    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    ax = figure.subplots()
    for j, of in enumerate(by_seed.values()):
        for i, curve in enumerate(of):
            label = f"{curve.parameters:,}" if j == 0 else None
            ax.plot(curve.flops, curve.loss, color=shade(i, len(of)), linewidth=0.9, label=label)
    ax.set(xscale="log", yscale="log", xlabel="FLOPs of training", ylabel="validation loss")
    ax.legend(title="parameters", fontsize=8)
    draw_grid(ax)
    return figure


@mpl.rc_context(STYLE)
def profiles(by_seed: Curves) -> Figure:
    """Losses against parameters at each number of FLOPs, over the mean of the splits."""
    mean = isoflop.mean_curves(by_seed, [*by_seed])
    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    ax = figure.subplots()
    for i, flops in enumerate(isoflop.TARGETS):
        sizes, values = isoflop.profile(mean, flops, isoflop.smooth)
        color = shade(i, len(isoflop.TARGETS))
        if len(sizes) < 3:
            continue
        ax.plot(sizes, values, "o", color=color, markersize=4, label=f"{flops:.2g}")
        x = np.log10(sizes)
        parabola = np.polyfit(x, np.log10(values), 2)
        at = np.linspace(x.min(), x.max(), 100)
        ax.plot(10**at, 10 ** np.polyval(parabola, at), color=color, linewidth=1)
        best = isoflop.minimum(x, np.log10(values))
        if np.isfinite(best):
            ax.plot(10**best, 10 ** np.polyval(parabola, best), "*", color=color, markersize=11)
    ax.set(xlabel="parameters", ylabel="validation loss")
    if ax.lines:
        ax.set(xscale="log", yscale="log")
        ax.legend(title="FLOPs", fontsize=8)
    draw_grid(ax)
    return figure


@mpl.rc_context(STYLE)
def budget(by_seed: Curves, answers: Sequence[isoflop.Answer]) -> Figure:
    """Optima and the lines through them, up to the budget."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    best = isoflop.optima(isoflop.mean_curves(by_seed, [*by_seed]))
    resamples = answers[:: isoflop.RESAMPLES // 100]
    for ax, name, label in zip(
        axes, ("parameters", "tokens"), ("best parameters", "ids to read"), strict=True
    ):
        ax.set(xlabel="FLOPs", ylabel=label)
        draw_grid(ax)
        x, y = [each.flops for each in best], [getattr(each, name) for each in best]
        if len(x) < 2:  # no line, as of runs that were too short
            continue
        ax.set(xscale="log", yscale="log")
        for each in resamples:
            ax.plot([x[-1], BUDGET], [y[-1], getattr(each, name)], color="0.85", linewidth=0.6)
        line = isoflop.law(x, y)
        ends = np.array([x[0], BUDGET])
        ax.plot(ends, [line.at(v) for v in ends], color="#0072B2", linewidth=1.2)
        ax.plot(x, y, "o", color="#0072B2", markersize=4)
        if name == "parameters":
            ax.plot(BUDGET, OPTIMAL_PARAMETERS, "x", color="#D55E00", label="seed 004")
            ax.legend(fontsize=8)
    return figure
