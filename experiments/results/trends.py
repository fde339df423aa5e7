"""Trends: does a number grow or fall along a setting, and more for one model than for another?

A trend is a least-squares slope, or a mean, with its standard error. It has a direction if zero
lies outside its 95 % confidence interval, by Student's t; otherwise it is undecided. Residuals from
the line count as error, so a curved dependence makes intervals wider.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

CONFIDENCE = 0.95


class Trend(NamedTuple):
    """An estimate. Without degrees of freedom, as for a line through two points, no interval."""

    value: float
    error: float | None  # the standard error; None without degrees of freedom
    freedom: float  # degrees of freedom of the error
    n: int  # trials, or pairs of them

    @property
    def interval(self) -> tuple[float, float] | None:
        if self.error is None:
            return None
        half = t_quantile(0.5 + CONFIDENCE / 2, self.freedom) * self.error
        return self.value - half, self.value + half

    @property
    def direction(self) -> int:
        """1 up, -1 down, 0 undecided."""
        return self.compared_with(0.0)

    def compared_with(self, value: float) -> int:
        """1 if the interval lies above a value, -1 if below; 0 if it contains it or is None."""
        if self.interval is None:
            return 0
        low, high = self.interval
        return (low > value) - (high < value)

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.value:+.3g} (too few trials for an interval)"
        low, high = self.interval
        return f"{self.value:+.3g} [{low:+.3g}, {high:+.3g}]"

    def data(self) -> dict[str, Any]:
        return {**self._asdict(), "interval": self.interval, "direction": self.direction}


def slope(points: Iterable[tuple[float, float, Hashable]]) -> Trend | None:
    """The slope of y against x, common to all groups; each group has its own intercept.

    points: (x, y, group). The group is what is kept fixed, such as the seed: its split of the data
            is easier or harder for all its trials. Points that are not finite are left out.
    None if x does not vary within any group.
    """
    pairs, groups = within(points)
    squares = math.fsum(x * x for x, _ in pairs)
    if squares == 0:
        return None
    value = math.fsum(x * y for x, y in pairs) / squares
    residuals = math.fsum((y - value * x) ** 2 for x, y in pairs)
    freedom = len(pairs) - groups - 1
    error = math.sqrt(residuals / freedom / squares) if freedom > 0 else None
    return Trend(value, error, freedom, len(pairs))


def residuals(points: Iterable[tuple[float, float, Hashable]]) -> list[float]:
    """The residual of each point from the `slope` of these points; [] without a slope."""
    points = list(points)
    trend = slope(points)
    return [y - trend.value * x for x, y in within(points)[0]] if trend else []


def within(
    points: Iterable[tuple[float, float, Hashable]],
) -> tuple[list[tuple[float, float]], int]:
    """Finite points minus the mean of their group, and the number of groups."""
    groups: dict[Hashable, list[tuple[float, float]]] = {}
    for x, y, group in points:
        if math.isfinite(x) and math.isfinite(y):
            groups.setdefault(group, []).append((x, y))
    pairs: list[tuple[float, float]] = []
    for members in groups.values():
        pairs += zip(*map(centred, zip(*members, strict=True)), strict=True)
    return pairs, len(groups)


def centred(values: Sequence[float]) -> list[float]:
    """Values minus their mean; exactly zero if all are equal, so that rounding is no trend."""
    if len(set(values)) == 1:
        return [0.0] * len(values)
    mean = math.fsum(values) / len(values)
    return [value - mean for value in values]


def average(values: Sequence[float]) -> Trend | None:
    """The mean of values, such as differences within pairs, without values that are not finite."""
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return None
    n, mean = len(values), math.fsum(values) / len(values)
    squares = math.fsum(value**2 for value in centred(values))
    return Trend(mean, math.sqrt(squares / (n - 1) / n) if n > 1 else None, n - 1, n)


def difference(a: Trend | None, b: Trend | None) -> Trend | None:
    """a - b of independent trends, with the degrees of freedom of Welch and Satterthwaite."""
    if a is None or b is None:
        return None
    value, n = a.value - b.value, a.n + b.n
    if a.error is None or b.error is None:
        return Trend(value, None, 0, n)
    variances = a.error**2, b.error**2
    spread = variances[0] ** 2 / a.freedom + variances[1] ** 2 / b.freedom
    freedom = sum(variances) ** 2 / spread if spread else a.freedom + b.freedom
    return Trend(value, math.sqrt(sum(variances)), freedom, n)


def t_quantile(p: float, freedom: float) -> float:
    """The p-quantile of Student's t, p > 1/2.

    Exact for 1 and 2 degrees of freedom; from 3 on by the expansion of Abramowitz and Stegun,
    26.7.5, accurate to 0.2 % at p = .975. Degrees of freedom are rounded down, which makes
    intervals wider.
    """
    freedom = math.floor(freedom)
    if freedom <= 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**i for i, term in enumerate(terms))
