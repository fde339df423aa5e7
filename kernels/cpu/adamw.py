"""Adam, AdamW and gradient clipping of all parameters in one loop over a table of their addresses.

Most parameters have few elements, so a call for each would cost more than its update. The elements
of all are divided among the cores, without regard to which array they are in:

    s_core = Σ g² of its elements        norm = √(Σ s_core)
    g      = g min(1, max_norm / (norm + 1e-6))

Each replica is a separate row of the table, with its rates and its norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.rows import dot, multiplied, row_at
from kernels.tables import rates_of, table_of
from minigrad.kernel import Declined, kernel
from minigrad.optim.clip import clip_arrays
from minigrad.optim.optimizers import adam_update_all

ZERO, ONE = np.float32(0.0), np.float32(1.0)
BLOCK = 2048  # elements: few enough to be in the L1 cache when the second loop reads them
ITEM = 4  # bytes of a float32


# --- one block ----------------------------------------------------------------------------------
@inner
def moments(p, g, m, v, b1, b2, rest1, rest2, decay):
    for i in range(p.size):
        d = g[i] + decay * p[i] if decay != ZERO else g[i]  # 0 times an infinite p would be NaN
        m[i] = b1 * m[i] + rest1 * d
        v[i] = b2 * v[i] + rest2 * d * d


@inner
def move(p, m, v, eps, rate, keep):
    for i in range(p.size):
        p[i] = keep * p[i] - rate * m[i] / (np.sqrt(v[i]) + eps)


@inner
def of_part(before, size, low, high):
    """The bounds, in an array with so many elements before it, of elements low to high of all."""
    return max(low - before, 0), min(high - before, size)


@inner
def block(row, column, i, j):
    """Elements i to j of the array in a column of a row of the table."""
    return row_at(row[column] + ITEM * i, j - i)


# --- all parameters -----------------------------------------------------------------------------
@compiled("void(i8[:, ::1], f4[:, ::1], i8)")
def update(table, rates, parts):
    """Rows of the table: p, g, m, v, size, row of rates; see `tables.rates_of`."""
    total = table[:, 4].sum()
    for part in prange(parts):
        low, high = share(total, parts, part)
        before = 0
        for row in table:
            r = rates[row[5]]
            first, last = of_part(before, row[4], low, high)
            before += row[4]
            for i in range(first, last, BLOCK):
                j = min(i + BLOCK, last)
                p, m, v = block(row, 0, i, j), block(row, 2, i, j), block(row, 3, i, j)
                moments(p, block(row, 1, i, j), m, v, r[0], r[1], r[2], r[3], r[6])
                move(p, m, v, r[4], r[5], r[7])


@compiled("void(i8[:, ::1], f8[:, ::1], i8)")
def squares(table, sums, parts):
    """Adds Σ g² to sums (parts, replicas). Rows of the table: g, size, replica."""
    total = table[:, 1].sum()
    for part in prange(parts):
        low, high = share(total, parts, part)
        before = 0
        for row in table:
            first, last = of_part(before, row[1], low, high)
            before += row[1]
            for i in range(first, last, BLOCK):
                g = block(row, 0, i, min(i + BLOCK, last))
                sums[part, row[2]] += dot(g, g)


@compiled("void(i8[:, ::1], f4[::1], i8)")
def scale(table, factor, parts):
    """g = factor g"""
    total = table[:, 1].sum()
    for part in prange(parts):
        low, high = share(total, parts, part)
        before = 0
        for row in table:
            first, last = of_part(before, row[1], low, high)
            before += row[1]
            for i in range(first, last, BLOCK):
                multiplied(block(row, 0, i, min(i + BLOCK, last)), factor[row[2]])


# --- the routines -------------------------------------------------------------------------------
def fit(*arrays: Any) -> bool:
    """Whether kernels can write to the arrays at their addresses."""
    return all(a.flags.c_contiguous and a.flags.writeable for a in arrays)


@kernel(adam_update_all, device="cpu")
def adam(pieces: Any, arrays: Sequence[Any], rates: Callable[[], Any]) -> Declined | None:
    if any(len(each) > 4 for each in arrays):
        return Declined("amsgrad")
    if why := unfit(*(a for four in arrays for a in four)):
        return why
    if not arrays or not all(fit(p, m, v) for p, _, m, v in arrays):
        return Declined("not in C order")
    rows, which = rates()
    four = [(p, rows_of(g), m, v) for p, g, m, v in arrays]
    table = table_of(four, which, len(rows[0])).reshape(-1, 6)
    update(table, rates_of(rows), parts_for(sum(p.size for p, *_ in four)))
    return None


@kernel(clip_arrays, device="cpu")
def clip(grads: Sequence[Any], max_norm: float, replicas: int | None) -> Any:
    if why := unfit(*grads):
        return why
    if not fit(*grads) or len({id(g) for g in grads}) < len(grads):
        return Declined("not in C order, or one gradient twice")
    count = replicas or 1
    table = table_of([(g,) for g in grads], [0] * len(grads), count).reshape(-1, 3)
    parts = parts_for(sum(g.size for g in grads))
    sums = np.zeros((parts, count))
    squares(table, sums, parts)
    norm = np.sqrt(sums.sum(axis=0)).astype(np.float32)
    factor = np.minimum(max_norm / (norm + 1e-6), ONE)
    if not (factor == 1.0).all():
        scale(table, factor, parts)
    return norm[0] if replicas is None else norm
