"""Figures that several of the seven experiments draw, a model or all models at a time."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.grokking.seeds import MODELS, alike
from experiments.results import panels
from experiments.results.results import Drawing
from experiments.results.trials import Setting, Trials, by_group, finished


def curves(
    trials: Trials,
    setting: Setting,
    caption: str,
    *,
    rows: Sequence[panels.Curve] = (panels.LOSS, panels.ACCURACY),
    head: str = "",
    name: str = "",
) -> list[Drawing]:
    """For each model its curves against the step, coloured by a setting.

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
    """Best values of both models against a setting; nothing before a trial has ended."""
    if not (ended := finished(trials)):
        return []
    lines = panels.lines_of_groups(ended, MODELS, setting.name)
    figure = panels.best_against(lines, setting, title=f"{head}{alike(ended)}")
    return [Drawing("best", caption, figure)]
