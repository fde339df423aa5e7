"""Trials of a sweep by their settings, and what they come down to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from experiments.grokking.task import Grokking
from experiments.results import metrics
from experiments.results.metrics import Spread, spread
from experiments.train.records import TrialRecord

LABELS = {"lstm": "LSTM", "gpt": "GPT"}  # models, in the order of the seeds


# --- groups -------------------------------------------------------------------------------------
def grouped(trials: Sequence[TrialRecord], name: str) -> dict[Any, list[TrialRecord]]:
    """The trials at each value of a setting, by value."""
    found: dict[Any, list[TrialRecord]] = {}
    for trial in sorted(trials, key=lambda t: t.settings[name]):
        found.setdefault(trial.settings[name], []).append(trial)
    return found


def by_model(trials: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """The trials of each model that has any, in the order of `LABELS`."""
    found = grouped(trials, "model")
    return {model: found[model] for model in LABELS if model in found}


def finished(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those that ran to their end: of others best values are not known yet."""
    return [trial for trial in trials if trial.status.get("finished")]


def comparable(
    trials: Sequence[TrialRecord], *varied: str, steps: int = Grokking.steps
) -> list[TrialRecord]:
    """Those that ran to the end as the seeds' did, which can be held against their claims.

    varied: settings that the sweep varies; all others must be the seeds'.
    """
    free = {"model", "seed", "steps", *varied}
    usual = {k: v for k, v in Grokking().settings().items() if k not in free}
    return [
        t for t in finished(trials)
        if t.settings["steps"] == steps and all(t.settings.get(k, v) == v for k, v in usual.items())
    ]  # fmt: skip


def all_comparable(trials: Sequence[TrialRecord]) -> bool:
    """Whether there are trials, and all are `comparable` with nothing varied."""
    return 0 < len(trials) == len(comparable(trials))


def complete(
    trials: Sequence[TrialRecord], key: Callable[[TrialRecord], Any], wanted: Iterable[Any]
) -> dict[str, list[TrialRecord]]:
    """The trials of each model that has every value of a key: others cannot show its effect."""
    return {
        model: of_model
        for model, of_model in by_model(trials).items()
        if set(wanted) <= {key(trial) for trial in of_model}
    }


# --- numbers --------------------------------------------------------------------------------------
def best(trial: TrialRecord, key: str, cutoff: int | None = None) -> tuple[float, float]:
    """(best value, t_f) of a curve, as `metrics.best`; NaN where none of it was a number."""
    try:
        return metrics.best(trial.records, key, cutoff)
    except ValueError:
        return math.nan, math.nan


def number(trial: TrialRecord, name: str, cutoff: int | None = None) -> float:
    """One of `metrics.NAMES`, or NaN."""
    if name.startswith("dt("):  # dt(L), dt(A)
        of = name[3]
        return number(trial, f"t_f({of}_val)", cutoff) - number(trial, f"t_f({of}_train)", cutoff)
    quantity, part = name.removeprefix("t_f(").removesuffix(")").split("_")
    curve = {"L": "loss", "A": "accuracy"}[quantity]
    return best(trial, f"{part}_{curve}", cutoff)[name.startswith("t_f(")]


def over_seeds(
    trials: Sequence[TrialRecord], name: str, cutoff: int | None = None
) -> Spread | None:
    """Mean and standard deviation of `number`; None where it is not known of every trial."""
    values = [number(trial, name, cutoff) for trial in trials]
    return spread(values) if values and all(map(math.isfinite, values)) else None


def column(trials: Sequence[TrialRecord]) -> dict[str, Spread | None]:
    """`over_seeds` of all of `metrics.NAMES`."""
    return {name: over_seeds(trials, name) for name in metrics.NAMES}


def accuracy(trial: TrialRecord) -> float:
    """A_val."""
    return number(trial, "A_val")


def log_loss(trial: TrialRecord, cutoff: int | None = None) -> float:
    """log10 L_val: losses differ by factors."""
    loss = number(trial, "L_val", cutoff)
    return math.log10(loss) if loss > 0 else math.nan


def roughness(trial: TrialRecord, key: str) -> float:
    """How much a curve jumps: the mean absolute change from one evaluation to the next, or NaN.

    Over the second half of training, where the seeds' evaluations are evenly spaced; of a loss the
    change of its log10. A curve that falls or rises smoothly has little of it.
    """
    half = trial.records[-1]["step"] / 2
    values = [r[key] for r in trial.records if r["step"] >= half and r[key] is not None]
    if key.endswith("loss"):
        values = [math.log10(v) for v in values if v > 0]
    changes = [abs(b - a) for a, b in pairwise(values)]
    return math.fsum(changes) / len(changes) if changes else math.nan


def rough_loss(trial: TrialRecord) -> float:
    return roughness(trial, "val_loss")
