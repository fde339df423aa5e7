"""Measurements of the parameters' norm in one trial (question 4.7 of seeds 000 and 001).

They use the regular evaluations, 100 steps apart. The median norm is the running median over
`WINDOW` evaluations, which removes spikes. Its trend at a step is the change of its logarithm per
1,000 steps, over as many evaluations around the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.grokking.seeds import LEARNT
from experiments.results.curves import first_step
from experiments.train.records import TrialRecord

WINDOW = 11  # evaluations of the running median
REACH = WINDOW // 2
TREND = 0.01  # largest relative change of the norm in 1,000 steps that is flat
RISE = 0.02  # relative rise from one evaluation to the next above which it is a spike
BURST = 10.0  # the training loss has a spike if it is so many times its median before
LEAST = float(np.finfo(np.float32).eps)  # losses below are rounding, and compared as this

Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Norm:
    """The measurements of one trial.

    learnt:   the first step with a validation accuracy of `LEARNT`; None if there is none.
    trend:    the trend of the median norm at `learnt`.
    flat:     the first step from which the trend is at most `TREND` until `learnt`; None if it is
              larger at `learnt`.
    greatest: the step of the greatest norm.
    rises:    the number of evaluations, after the training set was learnt, whose norm is more than
              `RISE` above the norm before. Weight decay cannot raise the norm.
    bursts:   the number of these rises with a spike of the training loss at the same evaluation or
              a neighbour: more than `BURST` times the median of the evaluations before.
    calm:     the share of the other evaluations, after the training set was learnt, with a spike.
    falls:    the number of evaluations whose norm is smaller than by only weight decay: less than
              the norm before times (1 - lr * weight decay) to the power of the steps between.
    """

    learnt: int | None
    trend: float | None
    flat: int | None
    greatest: int
    rises: int
    bursts: int
    calm: float
    falls: int


def norm_of(trial: TrialRecord) -> Norm:
    """The measurements of a trial that did not diverge."""
    s = trial.settings
    trial = replace(trial, records=[r for r in trial.records if r["step"] % s["eval_period"] == 0])
    steps, norms, losses = (
        np.array([r[key] for r in trial.records]) for key in ("step", "norm", "train_loss")
    )
    ratios = norms[1:] / norms[:-1]
    decays = (1 - s["lr"] * s["weight_decay"]) ** np.diff(steps)
    fitted = first_step(trial, "train_accuracy", LEARNT)
    late = steps[1:] > (math.inf if fitted is None else fitted)
    rises = late & (ratios > 1 + RISE)
    others = late & ~rises
    before = medians(losses, REACH - 1, 0)[:-1]
    burst = near(losses[1:] > BURST * np.maximum(before, LEAST))
    learnt = first_step(trial, "val_accuracy", LEARNT)
    trend = flat = None
    if learnt is not None:
        trends, at = trends_of(steps, medians(norms, REACH, REACH)), np.searchsorted(steps, learnt)
        trend, flat = float(trends[at]), flat_until(np.abs(trends) <= TREND, int(at))
    return Norm(
        learnt=learnt,
        trend=trend,
        flat=None if flat is None else int(steps[flat]),
        greatest=int(steps[norms.argmax()]),
        rises=int(rises.sum()),
        bursts=int((rises & burst).sum()),
        calm=float(burst[others].mean()) if others.any() else 0.0,
        falls=int((ratios < decays).sum()),
    )


def medians(values: Floats, before: int, after: int) -> Floats:
    """(n,) the median of each value with `before` values before and `after` after it.

    At the ends there are fewer.
    """
    padded = np.pad(values.astype(float), (before, after), constant_values=math.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after)
    return np.nanmedian(windows, axis=1)


def trends_of(steps: Floats, median: Floats) -> Floats:
    """(n,) the change of log(median) per 1,000 steps, over a window around each."""
    i = np.arange(len(steps))
    a, b = np.maximum(0, i - REACH), np.minimum(len(steps) - 1, i + REACH)
    return 1000 * np.log(median[b] / median[a]) / np.maximum(steps[b] - steps[a], 1)


def flat_until(flat: Flags, at: int) -> int | None:
    """The first index from which all are flat up to `at`; None if `at` is not flat."""
    if not flat[at]:
        return None
    steep = np.flatnonzero(~flat[:at])
    return int(steep[-1]) + 1 if len(steep) else 0


def near(flags: Flags) -> Flags:
    """Whether a flag or one of its neighbours is set."""
    padded = np.pad(flags, 1)
    return padded[:-2] | padded[1:-1] | padded[2:]
