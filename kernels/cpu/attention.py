"""scaled_dot_product_attention, one head of one sequence at a time, all within the cache.

The equations are those of `minigrad.ops.attention`. q, k and v come as views into one product, with
the heads beside each other, and leave in that layout too, so nothing has to be transposed: arrays
are passed as an address and the strides of their first three axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.cpu.blas import AS_IS, ROW_MAJOR, TRANSPOSED, sgemm
from kernels.cpu.compiled import compiled, inner, parts_for, share, unfit
from kernels.cpu.functions import exp, greatest
from minigrad import ops
from minigrad.kernel import Declined, kernel

ZERO, ONE = np.float32(0.0), np.float32(1.0)
TINY = 1 << 13  # products of fewer multiplications take loops: calling BLAS costs more
NOTHING = np.float32(-np.inf)


# --- rows anywhere in memory ------------------------------------------------------------------
@intrinsic
def pointer(typing, address):  # the address as a pointer
    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), build


@inner
def row_at(address, size):
    return carray(pointer(address), (size,), np.float32)


@inner
def copy(a, b):
    for j in range(a.size):
        b[j] = a[j]


@inner
def read(place, b, h, matrix):
    """Copy one head of one sequence, (T, d), from (address, stride of b, of h, of t)."""
    address, sb, sh, st = place
    for t in range(matrix.shape[0]):
        copy(row_at(address + b * sb + h * sh + t * st, matrix.shape[1]), matrix[t])


@inner
def write(matrix, place, b, h):
    address, sb, sh, st = place
    for t in range(matrix.shape[0]):
        copy(matrix[t], row_at(address + b * sb + h * sh + t * st, matrix.shape[1]))


# --- products -----------------------------------------------------------------------------------
@inner
def dot(x, y):
    total = ZERO
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@inner
def add_multiple(c, x, y):
    for j in range(y.size):
        y[j] += c * x[j]


@inner
def a_bt(a, b, scale, c):
    """c = scale a bᵀ"""
    (n, k), m = a.shape, b.shape[0]
    if n * m * k <= TINY:
        for i in range(n):
            for j in range(m):
                c[i, j] = dot(a[i], b[j]) * scale
    else:
        sgemm(
            ROW_MAJOR,
            AS_IS,
            TRANSPOSED,
            n,
            m,
            k,
            scale,
            a.ctypes,
            k,
            b.ctypes,
            k,
            ZERO,
            c.ctypes,
            m,
        )


@inner
def a_b(a, b, scale, c):
    """c = scale a b"""
    (n, k), m = a.shape, b.shape[1]
    if n * m * k <= TINY:
        for i in range(n):
            c[i, :] = ZERO
            for j in range(k):
                add_multiple(scale * a[i, j], b[j], c[i])
    else:
        sgemm(ROW_MAJOR, AS_IS, AS_IS, n, m, k, scale, a.ctypes, k, b.ctypes, m, ZERO, c.ctypes, m)


@inner
def at_b(a, b, scale, c):
    """c = scale aᵀ b"""
    (k, n), m = a.shape, b.shape[1]
    if n * m * k <= TINY:
        c[:, :] = ZERO
        for j in range(k):
            for i in range(n):
                add_multiple(scale * a[j, i], b[j], c[i])
    else:
        sgemm(
            ROW_MAJOR,
            TRANSPOSED,
            AS_IS,
            n,
            m,
            k,
            scale,
            a.ctypes,
            n,
            b.ctypes,
            m,
            ZERO,
            c.ctypes,
            m,
        )


# --- softmax ------------------------------------------------------------------------------------
@inner
def exponentials(x, top):
    """x = e^(x - top), in place; their sum."""
    total = ZERO
    for j in range(x.size):
        x[j] = exp(x[j] - top)
        total += x[j]
    return total


@inner
def softmax(row, visible):
    """In place over the first `visible` scores; the others become 0."""
    row[visible:] = ZERO
    seen = row[:visible]
    top = greatest(seen)
    if top == NOTHING:  # there is nothing but -inf, and perhaps NaN, which stays
        for j in range(visible):
            seen[j] = ZERO if seen[j] == NOTHING else seen[j]
    else:
        total = exponentials(seen, top)
        for j in range(visible):
            seen[j] /= total


@inner
def softmax_backward(p, gp):
    """gp becomes p (gp - Σ gp p)."""
    total = dot(p, gp)
    for j in range(p.size):
        gp[j] = p[j] * (gp[j] - total)


# --- all heads ----------------------------------------------------------------------------------
PLACE = "UniTuple(i8, 4)"


@compiled(f"void({PLACE}, {PLACE}, {PLACE}, {PLACE}, i8, i8, f4, b1, f4[:, :, :, ::1], i8)")
def heads_forward(q_at, k_at, v_at, y_at, d, e, scale, causal, p, parts):
    """Fills y and the weights p (B, H, T, S)."""
    batch, heads, queries, keys = p.shape
    for part in prange(parts):
        low, high = share(batch * heads, parts, part)
        q, k = np.empty((queries, d), np.float32), np.empty((keys, d), np.float32)
        v, y = np.empty((keys, e), np.float32), np.empty((queries, e), np.float32)
        for item in range(low, high):
            b, h = item // heads, item % heads
            read(q_at, b, h, q)
            read(k_at, b, h, k)
            read(v_at, b, h, v)
            weights = p[b, h]
            a_bt(q, k, scale, weights)
            for t in range(queries):
                softmax(weights[t], max(0, t + 1 + keys - queries) if causal else keys)
            a_b(weights, v, ONE, y)
            write(y, y_at, b, h)


@compiled(
    f"void({PLACE}, {PLACE}, {PLACE}, {PLACE}, {PLACE}, {PLACE}, {PLACE},"
    "i8, i8, f4, f4[:, :, :, ::1], i8)"
)
def heads_backward(q_at, k_at, v_at, g_at, gq_at, gk_at, gv_at, d, e, scale, p, parts):
    batch, heads, queries, keys = p.shape
    for part in prange(parts):
        low, high = share(batch * heads, parts, part)
        q, k = np.empty((queries, d), np.float32), np.empty((keys, d), np.float32)
        v, g = np.empty((keys, e), np.float32), np.empty((queries, e), np.float32)
        gk, scores = np.empty((keys, d), np.float32), np.empty((queries, keys), np.float32)
        for item in range(low, high):
            b, h = item // heads, item % heads
            read(q_at, b, h, q)
            read(k_at, b, h, k)
            read(v_at, b, h, v)
            read(g_at, b, h, g)
            weights = p[b, h]
            a_bt(g, v, ONE, scores)
            at_b(weights, g, ONE, v)
            write(v, gv_at, b, h)
            for t in range(queries):
                softmax_backward(weights[t], scores[t])
            at_b(scores, q, scale, gk)
            write(gk, gk_at, b, h)
            a_b(scores, k, scale, q)
            write(q, gq_at, b, h)


# --- the op -------------------------------------------------------------------------------------
def place(x: Any) -> tuple[int, int, int, int]:
    """Address and strides of (B, H, T, d), in bytes."""
    return x.ctypes.data, *x.strides[:3]


def with_rows(x: Any) -> Any:
    """x, or a copy, with the numbers of a row side by side."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def empty(batch: int, heads: int, length: int, d: int) -> Any:
    """An array (B, H, T, d) that lies in memory as (B, T, H, d)."""
    return np.empty((batch, length, heads, d), np.float32).swapaxes(1, 2)


def together(q: Any, k: Any, v: Any, causal: bool, scale: float | None) -> Any:
    """Replicas (R, B, H, T, d) as one batch of R B."""
    if not q.shape[:2] == k.shape[:2] == v.shape[:2]:
        return Declined("not (R, B, H, T, d)")
    count = q.shape[0] * q.shape[1]
    flat = [x.reshape(count, *x.shape[2:]) for x in (q, k, v)]
    answer = scaled_dot_product_attention(*flat, causal=causal, scale=scale)
    if isinstance(answer, Declined):
        return answer
    y, pull = answer

    def apart(x: Any) -> Any:
        return x.reshape(*q.shape[:2], *x.shape[1:])

    def pull_together(g: Any) -> tuple[Any, ...]:
        gq, gk, gv, _ = pull(g.reshape(count, *g.shape[2:]))
        return apart(gq), apart(gk), apart(gv), None

    return apart(y), pull_together


@kernel(ops.scaled_dot_product_attention, device="cpu")
def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    causal: bool = False,
    alibi: bool = False,
    scale: float | None = None,
    return_weights: bool = False,
) -> Any:
    if why := unfit(q, k, v):
        return why
    if mask is not None or alibi:
        return Declined("a mask" if mask is not None else "alibi")
    if return_weights:
        return Declined("weights asked for")
    if q.ndim == k.ndim == v.ndim == 5:
        return together(q, k, v, causal, scale)
    if not q.ndim == k.ndim == v.ndim == 4 or not q.shape[:2] == k.shape[:2] == v.shape[:2]:
        return Declined("not (B, H, T, d)")
    if q.shape[-1] != k.shape[-1] or k.shape[2] != v.shape[2] or not (q.size and v.size):
        return Declined("shapes")
    q, k, v = (with_rows(x) for x in (q, k, v))
    (batch, heads, queries, d), (keys, e) = q.shape, v.shape[2:]
    scale = 1.0 / math.sqrt(d) if scale is None else scale
    p = np.empty((batch, heads, queries, keys), np.float32)
    y = empty(batch, heads, queries, e)
    parts = min(parts_for(q.size + v.size + p.size), batch * heads)
    heads_forward(place(q), place(k), place(v), place(y), d, e, scale, causal, p, parts)

    def pull(g: Any) -> tuple[Any, ...]:
        g = with_rows(g)
        grads = empty(*q.shape), empty(*k.shape), empty(*v.shape)
        inputs = place(q), place(k), place(v)
        heads_backward(*inputs, place(g), *map(place, grads), d, e, scale, p, parts)
        return *grads, None

    return y, pull
