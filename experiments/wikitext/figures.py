"""Figures of perplexities of language models, with those of n-grams as lines across."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.results.curves import by_record
from experiments.results.figures import STYLE, draw_grid
from experiments.results.panels import draw_mean
from experiments.results.trials import Trials
from experiments.train.records import TrialRecord
from experiments.wikitext.measures import exp, seconds_at

PARTS = (("val_loss", "validation", "#D55E00", "-"), ("train_loss", "training", "#0072B2", "--"))
Axis = Callable[[Sequence[TrialRecord]], Sequence[float]]  # x of each record after the first


def epochs(trials: Sequence[TrialRecord]) -> list[float]:
    """How many are done: those of the seed are numbered from 0."""
    per_epoch = trials[0].records[1]["step"]
    return [record["step"] / per_epoch for record in shortest(trials)]


def steps(trials: Sequence[TrialRecord]) -> list[float]:
    return [record["step"] for record in shortest(trials)]


def minutes(trials: Sequence[TrialRecord]) -> list[float]:
    """Mean minutes of training over trials; [] if they were not kept."""
    times = [seconds_at(trial) for trial in trials]
    if not all(times):
        return []
    return [float(np.mean([of[int(step)] for of in times])) / 60 for step in steps(trials)]


def shortest(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """The records after the first of the trial that has fewest."""
    return min((trial.records[1:] for trial in trials), key=len)


@mpl.rc_context(STYLE)
def grid(
    panels: Mapping[str, Trials], levels: Mapping[str, float], axis: Axis, label: str
) -> Figure:
    """Training and validation perplexity, one panel for each title, four in a row.

    levels: perplexities drawn as lines across, by name.
    """
    figure, axes = panels_of(len(panels))
    for ax, (title, trials) in zip(axes, panels.items(), strict=True):
        x = axis(trials) if trials else []
        for key, name, color, dashes in PARTS:
            values = np.array(by_record(trials, key, exp)) if len(x) else np.empty((0, 0))
            if values.size:
                style = {"linestyle": dashes, "marker": "o", "markersize": 2}
                draw_mean(ax, x, values.T, color=color, label=name, **style)
        draw_levels(ax, levels, named=ax is axes[0])
        ax.set_title(title, loc="left")
        ax.set_xlim(left=0)
        logarithmic(ax)
    axes[0].legend(fontsize=8)
    figure.supxlabel(label)
    figure.supylabel("perplexity")
    return figure


@mpl.rc_context(STYLE)
def gradients(panels: Mapping[str, Trials]) -> Figure:
    """The norm of the gradient of every layer against the step, one panel for each title."""
    figure, axes = panels_of(len(panels))
    for ax, (title, trials) in zip(axes, panels.items(), strict=True):
        layers = (
            [key for key in trials[0].records[0] if key.startswith("gradient_")] if trials else []
        )
        for k, key in enumerate(layers):
            color = mpl.colormaps["viridis"](k / 4)
            values = np.array(by_record(trials, key))
            draw_mean(ax, steps(trials), values.T, color=color, label=f"block {k + 1}")
        ax.set_title(title, loc="left")
        ax.set_xscale("log")
        ax.set_yscale("log")
        draw_grid(ax)
        if layers:
            ax.legend(fontsize=7)
    figure.supxlabel("step")
    figure.supylabel("norm of the gradient")
    return figure


def panels_of(n: int) -> tuple[Figure, Any]:
    """A figure of n panels that share y, four in a row."""
    rows = -(-n // 4)
    figure = Figure(figsize=(11, 0.6 + 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, 4, squeeze=False, sharex=True, sharey=True).ravel()
    for ax in axes[n:]:
        ax.remove()
    for ax in axes[max(0, n - 4) : n]:  # the last in its column
        ax.tick_params(labelbottom=True)
    return figure, axes[:n]


@mpl.rc_context(STYLE)
def together(
    runs: Mapping[str, Trials], levels: Mapping[str, float], axes_of: Mapping[str, Axis]
) -> Figure:
    """Validation perplexity of all runs in one panel for each axis, by its label."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, len(axes_of), squeeze=False, sharey=True)[0]
    for ax, (label, axis) in zip(axes, axes_of.items(), strict=True):
        for i, (name, trials) in enumerate(runs.items()):
            x = axis(trials) if trials else []
            values = np.array(by_record(trials, "val_loss", exp)) if len(x) else np.empty((0, 0))
            if values.size:
                color, dashes = mpl.colormaps["tab20"](i / 20), "--" if "GPT" in name else "-"
                draw_mean(ax, x, values.T, color=color, label=name, linestyle=dashes)
        draw_levels(ax, levels, named=ax is axes[0])
        ax.set_xlabel(label)
        logarithmic(ax)
    axes[0].set_ylabel("validation perplexity")
    axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_levels(ax: Any, levels: Mapping[str, float], named: bool) -> None:
    for name, value in levels.items():
        ax.axhline(value, color="0.6", linewidth=0.7, dashes=(2, 2))
        if named:  # the trigram's line is close below the bigram's
            va, up = ("top", -2) if name == "trigram" else ("bottom", 1)
            style = {"textcoords": "offset points", "fontsize": 7, "color": "0.4", "va": va}
            ax.annotate(name, (0.0, value), (2, up), ("axes fraction", "data"), **style)


def logarithmic(ax: Any) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:,g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    draw_grid(ax)
