"""path_attention, compiled: keys are read in place, without a copy for each query.

In the backward pass the heads, not the queries, are divided among the cores: two queries may list
the same key, but different heads write to different elements.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from experiments.grokking.paths import path_attention
from kernels.cpu.attention import softmax, softmax_backward, with_rows
from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.rows import add_multiple, dot, row_at
from minigrad.indices import check_ids
from minigrad.kernel import Declined, kernel

ZERO = np.float32(0.0)


@inner
def head(layout, row, h, size):
    """One head of one row. layout: address, stride of rows, stride of heads."""
    return row_at(layout[0] + row * layout[1] + h * layout[2], size)


@inner
def count(keys):
    """The number of keys before the first -1."""
    n = 0
    while n < keys.size and keys[n] >= 0:
        n += 1
    return n


@inner
def dot_and_add(g, v, c, gv):
    """gv += c g. Returns g · v."""
    total = ZERO
    for j in range(g.size):
        total += g[j] * v[j]
        gv[j] += c * g[j]
    return total


@inner
def add_both(c, k, gq, q, gk):
    """gq += c k and gk += c q"""
    for j in range(q.size):
        gq[j] += c * k[j]
        gk[j] += c * q[j]


LAYOUT = "UniTuple(i8, 3)"  # see `layout`


@compiled(
    f"void({LAYOUT}, {LAYOUT}, {LAYOUT}, i8[:, ::1], i8, i8, f4, f4[:, :, ::1], f4[:, :, ::1], i8)"
)
def queries_forward(q_at, k_at, v_at, keys, d, e, scale, p, y, parts):
    """Fills p (M, H, S) and y (M, H, e)."""
    queries, heads, _ = p.shape
    for part in prange(parts):
        low, high = share(queries, parts, part)
        for m in range(low, high):
            n = count(keys[m])
            for h in range(heads):
                q, row = head(q_at, m, h, d), p[m, h]
                for j in range(n):
                    row[j] = dot(q, head(k_at, keys[m, j], h, d)) * scale
                softmax(row, n)
                y[m, h, :] = ZERO
                for j in range(n):
                    add_multiple(row[j], head(v_at, keys[m, j], h, e), y[m, h])


@compiled(
    f"void({LAYOUT}, {LAYOUT}, {LAYOUT}, {LAYOUT}, i8[:, ::1], i8, i8, f4, f4[:, :, ::1],"
    "f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], i8)"
)
def heads_backward(q_at, k_at, v_at, g_at, keys, d, e, scale, p, gq, gk, gv, parts):
    """Adds to gq (M, H, d), gk (N, H, d) and gv (N, H, e)."""
    queries, heads, length = p.shape
    for part in prange(parts):
        low, high = share(heads, parts, part)
        gs = np.empty(length, np.float32)
        for m in range(queries):
            n = count(keys[m])
            for h in range(low, high):
                q, g, row = head(q_at, m, h, d), head(g_at, m, h, e), p[m, h, :n]
                for j in range(n):
                    gs[j] = dot_and_add(g, head(v_at, keys[m, j], h, e), row[j], gv[keys[m, j], h])
                softmax_backward(row, gs[:n])
                for j in range(n):
                    k = head(k_at, keys[m, j], h, d)
                    add_both(scale * gs[j], k, gq[m, h], q, gk[keys[m, j], h])


def layout(x: Any) -> tuple[int, int, int]:
    """The address of x (N, H, d) and the strides of its first two axes, in bytes."""
    return x.ctypes.data, *x.strides[:2]


@kernel(path_attention, device="cpu")
def attend(q: Any, k: Any, v: Any, paths: Any) -> Any:
    if why := unfit(q, k, v):
        return why
    if not q.ndim == k.ndim == v.ndim == 3 or q.shape[1:] != k.shape[1:]:
        return Declined("shapes")
    if k.shape[:2] != v.shape[:2] or paths.ndim != 2 or len(paths) != len(q) or not q.size:
        return Declined("shapes")
    check_ids(paths, len(k), "key", lowest=-1)
    listed = paths >= 0
    if (listed[:, 1:] > listed[:, :-1]).any():
        return Declined("-1 before a key")
    keys = rows_of(paths.astype(np.int64, copy=False))
    q, k, v = (with_rows(x) for x in (q, k, v))
    (queries, heads, d), e, length = q.shape, v.shape[2], keys.shape[1]
    scale = 1.0 / math.sqrt(d)
    p, y = np.empty((queries, heads, length), np.float32), np.empty((queries, heads, e), np.float32)
    parts = parts_for(p.size * (d + e))
    queries_forward(layout(q), layout(k), layout(v), keys, d, e, scale, p, y, min(parts, queries))

    def pull(g: Any) -> tuple[Any, ...]:
        g = with_rows(g)
        grads = [np.zeros(x.shape, np.float32) for x in (q, k, v)]
        inputs = layout(q), layout(k), layout(v), layout(g)
        heads_backward(*inputs, keys, d, e, scale, p, *grads, min(parts, heads))
        return *grads, None

    return y, pull
