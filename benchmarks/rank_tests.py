"""Exact rank tests of equal distributions, for few values, some of which may be infinite.

An infinite value was not reached by the end of a run: it ranks above all finite values, and ties
with other infinite ones. Equal values get the mean of their ranks.
Source: Lehmann, Nonparametrics: Statistical Methods Based on Ranks (1975), chapters 1 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]


def ranks(values: Any) -> Floats:
    """Ranks of (..., n) values along the last axis, from 1; equal values get their mean rank."""
    x = np.asarray(values, dtype=np.float64)
    less = (x[..., None, :] < x[..., :, None]).sum(-1)
    equal = (x[..., None, :] == x[..., :, None]).sum(-1)
    return less + (equal + 1) / 2


def paired_rank_differences(ours: Any, theirs: Any) -> Floats:
    """(..., n): in each pair the rank of ours minus the rank of theirs, among all 2 n values."""
    both = ranks(np.concatenate([ours, theirs], axis=-1))
    n = both.shape[-1] // 2
    return both[..., :n] - both[..., n:]


def exchange_test(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Rank sum of ours minus that of theirs, and its exact two-sided p-value. (..., n) -> (...)

    Values at the same index are a pair, such as runs on one split of the data. If both sides have
    the same distribution, exchanging the values of a pair changes nothing: p is the share of all
    2**n exchanges within pairs whose difference of rank sums is at least as far from zero as ours.
    ValueError unless both have the same number of values, 1 to 16.
    """
    if np.shape(ours) != np.shape(theirs) or not 1 <= np.shape(ours)[-1] <= 16:
        raise ValueError(
            f"exchange_test: expected two sides of 1 to 16 values each, got {np.shape(ours)} and "
            f"{np.shape(theirs)}"
        )
    differences = paired_rank_differences(ours, theirs)
    signs = np.array(list(product((1.0, -1.0), repeat=differences.shape[-1])))
    sums = np.abs(differences @ signs.T)  # exact: ranks are multiples of 1/2
    return differences.sum(-1), (sums >= sums[..., :1]).mean(-1)


def placement_test(few: Sequence[float], many: Sequence[float]) -> tuple[float, float]:
    """Rank sum of a few values among many, and its exact two-sided p-value.

    If all have the same distribution, every choice of so many values is equally likely: p is the
    share of choices whose rank sum is at least as far from its mean (Wilcoxon, Mann and Whitney).
    """
    both = ranks([*few, *many])
    center = len(few) * (len(both) + 1) / 2
    sums = np.array(
        [both[list(chosen)].sum() for chosen in combinations(range(len(both)), len(few))]
    )
    distance = np.abs(sums - center)
    return float(sums[0]), float((distance >= distance[0]).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that all tests together err with probability alpha at level alpha.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).
    """
    adjusted, least = [1.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = least
    return adjusted


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that at least this share of the values do not exceed; may be infinite."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
