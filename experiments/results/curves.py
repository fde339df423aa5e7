"""Numbers that summarize one curve, and their spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from experiments.train.records import TrialRecord


class Quantity(NamedTuple):
    """A number of a trial; NaN if it is not known."""

    name: str  # in tables and claims
    of: Callable[[TrialRecord], float]
    better: int = -1  # 1 if more is better, -1 if less is, 0 if neither
    formats: tuple[str, str] = (".3g", ".2g")  # of its mean and of its standard deviation

    @property
    def label(self) -> str:
        """The name in tables, with Δt for "dt", and an arrow in the direction that is better."""
        name = self.name.replace("dt(", "Δt(")
        return f"{name} {'↑' if self.better > 0 else '↓'}" if self.better else name

    def over(self, trials: Iterable[TrialRecord]) -> Spread | None:
        """Mean and standard deviation; None unless the number is known for every trial."""
        values = [self.of(trial) for trial in trials]
        return spread(values) if values and all(map(math.isfinite, values)) else None


class Spread(NamedTuple):
    """Mean and population standard deviation; std is None if it is not known."""

    mean: float
    std: float | None


def spread(values: Sequence[float]) -> Spread:
    """Mean and population standard deviation (ddof = 0), which is None for a single value."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Spread(mean, None)
    return Spread(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)))


def best(trial: TrialRecord, key: str) -> tuple[float, float]:
    """(best value, first step with it). The best accuracy is the greatest, other values the least.

    (NaN, NaN) if no value of the curve is a number.
    """
    sign = -1.0 if key.endswith("accuracy") else 1.0
    values = [(sign * r[key], r["step"]) for r in trial.records if r[key] is not None]
    if not values:
        return math.nan, math.nan
    value, step = min(values)  # among equal values the earliest step
    return sign * value, step


def first_step(trial: TrialRecord, key: str, at_least: float) -> int | None:
    """The first recorded step with a value of at least `at_least`; None if there is none."""
    return next((r["step"] for r in trial.records if (r[key] or 0.0) >= at_least), None)


def average(trial: TrialRecord, key: str) -> float:
    """The mean over the run: each recorded value is weighted by the steps since the one before."""
    parts = [(b["step"] - a["step"]) * b[key] for a, b in pairwise(trial.records)]
    return math.fsum(parts) / (trial.records[-1]["step"] - trial.records[0]["step"])


def unrest(trial: TrialRecord, key: str, since: float) -> float | None:
    """How much a curve goes up and down per evaluation, after it has first reached `since`.

    (Σ |change| - |Σ change|) / number of changes; None if there is no change.
    """
    start = first_step(trial, key, since)
    values = [r[key] for r in trial.records if start is not None and r["step"] >= start]
    if len(values) < 2:
        return None
    changes = [b - a for a, b in pairwise(values)]
    return (math.fsum(map(abs, changes)) - abs(math.fsum(changes))) / len(changes)


def roughness(trial: TrialRecord, key: str) -> float:
    """The mean absolute change of a curve from one evaluation to the next, or NaN.

    Over the second half of training; for a loss, the change of its log10. It is small for a curve
    that falls or rises smoothly.
    """
    half = trial.records[-1]["step"] / 2
    values = [r[key] for r in trial.records if r["step"] >= half and r[key] is not None]
    if key.endswith("loss"):
        values = [math.log10(v) for v in values if v > 0]
    changes = [abs(b - a) for a, b in pairwise(values)]
    return math.fsum(changes) / len(changes) if changes else math.nan


def number(value: float | None) -> float:
    """A value of a record, where None stands for a number that is not finite: NaN."""
    return math.nan if value is None else value


def by_record(
    trials: Sequence[TrialRecord], key: str, shown: Callable[[float | None], float] = number
) -> list[list[float]]:
    """The values of all trials at each record after the first, up to the last that all have."""
    curves = [[shown(r.get(key)) for r in t.records[1:]] for t in trials]
    return [list(values) for values in zip(*curves, strict=False)]
