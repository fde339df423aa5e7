"""Adam, AdamW and gradient clipping of all parameters in one loop over a table of their addresses.

Most parameters have few elements, so a call for each would cost more than its update. The blocks of
all are divided among the cores, without regard to which array they are of:

    s_core = Σ g² of its blocks        norm = √(Σ s_core)
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
from kernels.tables import BLOCK, blocks_of, rates_of, sizes_in, table_of
from minigrad.kernel import Declined, kernel
from minigrad.optim.clip import clip_arrays
from minigrad.optim.optimizers import adam_update_all

ZERO, ONE = np.float32(0.0), np.float32(1.0)
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


# --- all parameters -----------------------------------------------------------------------------
BLOCKS = "i8[:, ::1], i4[::1], i4[::1]"  # a table, and its `blocks_of`


@inner
def block(row, column, place):
    """A block of the array in a column of a row of the table; the sizes are the last but one."""
    first = place * BLOCK
    return row_at(row[column] + ITEM * first, min(BLOCK, row[row.size - 2] - first))


@compiled(f"void({BLOCKS}, f4[:, ::1], i8)")
def update(table, owner, place, rates, parts):
    """Rows of the table: p, g, m, v, size, row of rates; see `tables.rates_of`."""
    for part in prange(parts):
        low, high = share(owner.size, parts, part)
        for n in range(low, high):
            row, i = table[owner[n]], place[n]
            p, g, m, v = block(row, 0, i), block(row, 1, i), block(row, 2, i), block(row, 3, i)
            r = rates[row[5]]
            moments(p, g, m, v, r[0], r[1], r[2], r[3], r[6])
            move(p, m, v, r[4], r[5], r[7])


@compiled(f"void({BLOCKS}, f8[:, ::1], i8)")
def squares(table, owner, place, sums, parts):
    """Adds Σ g² to sums (parts, replicas). Rows of the table: g, size, replica."""
    for part in prange(parts):
        low, high = share(owner.size, parts, part)
        for n in range(low, high):
            row = table[owner[n]]
            g = block(row, 0, place[n])
            sums[part, row[2]] += dot(g, g)


@compiled(f"void({BLOCKS}, f4[::1], i8)")
def scale(table, owner, place, factor, parts):
    """g = factor g"""
    for part in prange(parts):
        low, high = share(owner.size, parts, part)
        for n in range(low, high):
            row = table[owner[n]]
            multiplied(block(row, 0, place[n]), factor[row[2]])


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
    blocks = blocks_of(sizes_in(table))
    update(table, *blocks, rates_of(rows), parts_for(sum(p.size for p, *_ in four)))
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
    blocks = blocks_of(sizes_in(table))
    squares(table, *blocks, sums, parts)
    norm = np.sqrt(sums.sum(axis=0)).astype(np.float32)
    factor = np.minimum(max_norm / (norm + 1e-6), ONE)
    if not (factor == 1.0).all():
        scale(table, *blocks, factor, parts)
    return norm[0] if replicas is None else norm
