"""Figures of the seven experiments, without those that all sweeps share (`results.panels`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.grokking.norm import norm_of
from experiments.grokking.seeds import LEARNT, MODELS, alike
from experiments.results import panels
from experiments.results.figures import STYLE, draw_grid
from experiments.results.results import Drawing
from experiments.results.trials import Setting, Trials, by_group, by_value, finished, where

AGAINST_STEP = "loss and accuracy against the training step, coloured by {}."


def curves(
    trials: Trials,
    setting: Setting,
    caption: str,
    *,
    rows: Sequence[panels.Curve] = (panels.LOSS, panels.ACCURACY),
    head: str = "",
    name: str = "",
) -> list[Drawing]:
    """One figure per model: its curves against the step, coloured by a setting.

    head, name: added to the model's label in the caption, and to the name of the figure.
    """
    return [
        Drawing(
            f"curves_{model.value}{name}",
            f"{model.label}{head}: {caption}",
            panels.curves(group, setting, title=f"{model.label}: {alike(group)}", rows=rows),
            live=True,
        )
        for model, group in by_group(trials, MODELS).items()
    ]


def best(trials: Trials, setting: Setting, caption: str, *, head: str = "") -> list[Drawing]:
    """Best values of both models against a setting; no figure before a trial has ended."""
    if not (ended := finished(trials)):
        return []
    lines = panels.lines_of_groups(ended, MODELS, setting.name)
    figure = panels.best_against(lines, setting, title=f"{head}{alike(ended)}")
    return [Drawing("best", caption, figure)]


# --- question 4.7: the norm -----------------------------------------------------------------------
@mpl.rc_context(STYLE)
def norms(trials: Trials) -> Figure:
    """The norm against the step: rows are models, columns weight decays, lines trials."""
    models = by_group(trials, MODELS)
    decays = [*by_value(trials, "weight_decay")]
    markers = {"flat": ("o", "flat from here"), "learnt": ("^", f"A_val ≥ {LEARNT} from here")}
    title = "The norm of the parameters, trial by trial"
    figure, axes = panels.grid_of_panels(len(models), len(decays), title, sharey="row")
    for row, (model, group) in zip(axes, models.items(), strict=True):
        for ax, decay in zip(row, decays, strict=True):
            for trial in where(group, weight_decay=decay):
                curve, norm = {r["step"]: r["norm"] for r in trial.records}, norm_of(trial)
                ax.plot([*curve], [*curve.values()], color=model.color, linewidth=0.8)
                for name, (marker, _) in markers.items():
                    if (step := getattr(norm, name)) is not None:
                        ax.plot(step, curve[step], marker, color="black", markersize=5)
            draw_grid(ax)
            ax.set_title(f"{model.label}, weight decay {decay:g}", loc="left")
            ax.xaxis.set_major_formatter("{x:,.0f}")
            ax.locator_params(axis="x", nbins=4)
        row[0].set_ylabel(panels.NORM.label)
    for ax in axes[-1]:
        ax.set_xlabel("training step")
    for marker, text in markers.values():
        axes[0, 0].plot([], [], marker, color="black", markersize=5, label=text)
    figure.legend(loc="outside lower left", ncols=len(markers))
    figure.set_size_inches(1.5 + 2.6 * len(decays), 0.8 + 2.3 * len(models))
    return figure


# --- question 4.8: attention ----------------------------------------------------------------------
@mpl.rc_context(STYLE)
def attention_maps(weights: Any, tokens: Sequence[str], caption: str) -> Figure:
    """One panel per head and layer, queries x keys. weights: (L, heads, S, S)."""
    layers, heads, n, _ = weights.shape
    side = 0.33 * n + 0.35  # inches, so that the numbers fit into their cells
    size = (side * heads + 0.9, side * layers + 0.3 * layers + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(layers, heads, sharex=True, sharey=True, squeeze=False)
    image: Any = None
    for layer, head in np.ndindex(layers, heads):
        image = draw_map(axes[layer, head], weights[layer, head], tokens)
        axes[layer, head].set_title(f"layer {layer + 1}, head {head + 1}")
    for ax in axes[:, 0]:
        ax.set_ylabel("query (reads)")
    for ax in axes[-1]:
        ax.set_xlabel("key (is read)")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.015)
    bar.set_label("attention weight (a row sums to 1)")
    bar.outline.set_visible(False)
    figure.suptitle(caption, fontsize=9, x=0.01, ha="left", wrap=True)
    return figure


def draw_map(ax: Any, weights: np.ndarray[Any, Any], tokens: Sequence[str]) -> Any:
    """One head: coloured cells with their numbers; later keys, which are masked, are blank."""
    n = len(tokens)
    hidden = np.triu(np.ones((n, n), dtype=bool), 1)
    image = ax.imshow(np.ma.array(weights, mask=hidden), cmap="cividis", vmin=0, vmax=1)
    for i in range(n):
        for j in range(i + 1):
            shade = "black" if weights[i, j] > 0.45 else "white"
            number = f"{weights[i, j]:.2f}".removeprefix("0")
            style = {"ha": "center", "va": "center", "color": shade, "fontsize": 7}
            ax.text(j, i, number, in_layout=False, **style)  # fits into its cell; this is faster
    ax.set_xticks(range(n), tokens)
    ax.set_yticks(range(n), tokens)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image
