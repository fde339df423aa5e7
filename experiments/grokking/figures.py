"""Figures of the seven experiments, without those that all sweeps share (`results.panels`)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
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
