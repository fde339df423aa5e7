"""Sums and maxima over the last axis, for fused ops.

NumPy reduces one row after another, at some 20 ns a row: for (480, 4, 6, 6) scores that is 0.25 ms
for the sum and 0.58 ms for the maximum. As a product with ones the sum takes 0.02 ms, as a
reduction over the first axis of the transpose the maximum 0.03 ms.
"""

from __future__ import annotations

import numpy as np

from minigrad.graph import Array

SHORT = 32  # up to here the transpose pays


def row_sum(x: Array) -> Array:
    """Σ over the last axis, which is kept with length 1."""
    n = x.shape[-1]
    return (x.reshape(-1, n) @ np.ones_like(x, shape=(n,))).reshape(*x.shape[:-1], 1)


def row_max(x: Array) -> Array:
    """The maximum over the last axis, which is kept with length 1."""
    n = x.shape[-1]
    if n > SHORT:
        return x.max(axis=-1, keepdims=True)
    columns = x.reshape(-1, n).T.copy()
    return columns.max(axis=0).reshape(*x.shape[:-1], 1)
