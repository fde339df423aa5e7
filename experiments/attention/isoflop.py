"""From curves of loss against FLOPs to the best number of parameters for a budget: IsoFLOP.

Hoffmann et al. (2022), section 3.2: for a number of FLOPs, the loss of models of several sizes that
were trained for just so many has a minimum; a line through the minima, in logarithms, gives the
best size for other budgets.

Here each model is trained once, so its loss at a number of FLOPs is read from its curve. The
procedure of the seed, `as_the_seed`, is kept beside ours, which fits in logarithms throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

TARGETS = tuple(n * 1e10 for n in (8, 16, 32, 64, 128))  # FLOPs, the assignment's
RESAMPLES = 2_000


class Curve(NamedTuple):
    """A model's validation loss as it is trained.

    parameters: without embeddings.
    tokens:     ids read in an epoch.
    flops, loss: (n,) after each epoch.
    """

    parameters: int
    tokens: int
    flops: Floats
    loss: Floats

    @property
    def flops_per_token(self) -> float:
        return float(self.flops[0]) / self.tokens


class Optimum(NamedTuple):
    """The size with the least loss at a number of FLOPs."""

    flops: float
    parameters: float
    tokens: float


class Law(NamedTuple):
    """log10 y = slope log10 x + intercept"""

    slope: float
    intercept: float

    def at(self, x: float) -> float:
        return 10 ** (self.slope * np.log10(x) + self.intercept)


def law(x: Sequence[float], y: Sequence[float]) -> Law:
    """The least-squares line in logarithms."""
    return Law(*np.polyfit(np.log10(x), np.log10(y), 1).tolist())


# --- losses at a number of FLOPs ------------------------------------------------------------------
def on_line(curve: Curve, flops: float) -> float:
    """The loss at a number of FLOPs: a fifth-degree polynomial in FLOPs, as in the assignment."""
    scale = curve.flops[-1]  # the same polynomial in other units, which rounds less
    return float(np.polyval(np.polyfit(curve.flops / scale, curve.loss, 5), flops / scale))


def smooth(curve: Curve, flops: float) -> float:
    """The same by a fifth-degree polynomial of log loss in log FLOPs."""
    x, y = np.log10(curve.flops), np.log10(curve.loss)
    return float(10 ** np.polyval(np.polyfit(x - x[-1], y, 5), np.log10(flops) - x[-1]))


def profile(
    curves: Sequence[Curve], flops: float, loss: Callable[[Curve, float], float]
) -> tuple[Floats, Floats]:
    """The parameters and the losses of the models that were trained for so many FLOPs, or more."""
    reached = [c for c in curves if c.flops[0] <= flops <= c.flops[-1]]
    return np.array([c.parameters for c in reached]), np.array([loss(c, flops) for c in reached])


# --- the two procedures ---------------------------------------------------------------------------
def minimum(x: Floats, y: Floats) -> float:
    """Where the parabola through points is least; NaN if it has no minimum within their range."""
    if len(x) < 3:
        return np.nan
    a, b, _ = np.polyfit(x, y, 2)
    at = -b / (2 * a) if a > 0 else np.nan
    return float(at) if x.min() <= at <= x.max() else np.nan


def optima(curves: Sequence[Curve], targets: Sequence[float] = TARGETS) -> list[Optimum]:
    """At each target the size that is best: a parabola of log loss in log parameters.

    Targets at which the least loss lies outside the range of sizes are left out.
    """
    found = []
    for flops in targets:
        parameters, losses = profile(curves, flops, smooth)
        best = 10 ** minimum(np.log10(parameters), np.log10(losses)) if len(losses) else np.nan
        if np.isfinite(best):
            found.append(Optimum(flops, best, flops / cost(curves, best)))
    return found


def cost(curves: Sequence[Curve], parameters: float) -> float:
    """FLOPs a token of a model of this size, by interpolation in logarithms."""
    ordered = sorted(curves, key=lambda c: c.parameters)
    x, y = zip(*((c.parameters, c.flops_per_token) for c in ordered), strict=True)
    return float(10 ** np.interp(np.log10(parameters), np.log10(x), np.log10(y)))


def as_the_seed(curves: Sequence[Curve], targets: Sequence[float] = TARGETS) -> list[float]:
    """Its optimum at each target, as its code computes it: of a parabola of the loss in parameters,
    whether or not that has a minimum, or a minimum among the sizes."""
    found = []
    for flops in targets:
        parameters, losses = profile(curves, flops, on_line)
        a, b, _ = np.polyfit(parameters, losses, 2) if len(losses) > 2 else (np.nan,) * 3
        found.append(float(-b / (2 * a)))
    return found


def seed_answer(curves: Sequence[Curve], budget: float) -> float:
    """Parameters for a budget by a line through `as_the_seed`, in logarithms; NaN without one."""
    found = {f: n for f, n in zip(TARGETS, as_the_seed(curves), strict=True) if n > 0}
    return law([*found], [*found.values()]).at(budget) if len(found) > 1 else np.nan


# --- uncertainty ----------------------------------------------------------------------------------
class Answer(NamedTuple):
    """What the runs say of a budget: parameters, tokens, and the exponent of the parameters."""

    parameters: float
    tokens: float
    exponent: float


def answer(curves: Sequence[Curve], budget: float) -> Answer | None:
    """By lines through the optima; None with fewer than two of them."""
    best = optima(curves)
    if len(best) < 2:
        return None
    flops, parameters, tokens = zip(*best, strict=True)
    of_parameters = law(flops, parameters)
    return Answer(of_parameters.at(budget), law(flops, tokens).at(budget), of_parameters.slope)


def mean_curves(by_seed: Mapping[int, Sequence[Curve]], seeds: Sequence[int]) -> list[Curve]:
    """Of each size the mean of log loss over seeds, one of which may be there several times."""
    of_sizes = zip(*(by_seed[seed] for seed in seeds), strict=True)
    return [
        curves[0]._replace(loss=np.exp(np.mean([np.log(c.loss) for c in curves], axis=0)))
        for curves in of_sizes
    ]


def bootstrap(by_seed: Mapping[int, Sequence[Curve]], budget: float) -> list[Answer]:
    """Answers of resamples of the seeds, with replacement, those that have one.

    Efron (1979). Seeds of one size are resampled together, for they share the split of the data.
    """
    random, seeds = np.random.default_rng(0), sorted(by_seed)
    drawn = [tuple(sorted(random.choice(seeds, len(seeds)).tolist())) for _ in range(RESAMPLES)]
    answers = {each: answer(mean_curves(by_seed, each), budget) for each in sorted({*drawn})}
    return [found for each in drawn if (found := answers[each])]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of values."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
