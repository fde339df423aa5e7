"""scaled_dot_product_attention, one head of one sequence at a time, so that it fits in the cache.

The equations are those of `minigrad.ops.attention`. q, k and v are views of the one product that
computes them, (B, T, heads, d) in memory, and so is the result: BLAS reads and writes the rows of a
head where they are, at an address and a distance between rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.blas import AS_IS, ROW_MAJOR, TRANSPOSED, sgemm
from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.functions import greatest
from kernels.cpu.rows import add_to, dot, exponentials, pointer, row_at
from minigrad import ops
from minigrad.joining import neighbours
from minigrad.kernel import Declined, kernel
from minigrad.ops.attention import alibi_bias, check_mask, scale_of

ZERO, ONE = np.float32(0.0), np.float32(1.0)
MINUS_INF = np.float32(-np.inf)
ITEM = 4  # bytes of a float32
NOTHING = np.empty((0, 0, 0, 0), np.float32)


# --- one head -----------------------------------------------------------------------------------
@inner
def head(layout, b, h):
    """One head of one sequence, as a pointer. layout: see `layout`."""
    address, sb, sh, _ = layout
    return pointer(address + b * sb + h * sh)


@inner
def product(flip_a, flip_b, n, m, k, scale, a, lda, b, ldb, c, ldc):
    """c (n, m) = scale a b, of a (n, k) and b (k, m), or of transposed ones."""
    sgemm(ROW_MAJOR, flip_a, flip_b, n, m, k, scale, a, lda, b, ldb, ZERO, c, ldc)


# --- softmax ------------------------------------------------------------------------------------
@inner
def add_bias(scores, bias):
    """scores += bias; -inf also hides a score that is NaN."""
    for j in range(scores.size):
        scores[j] = MINUS_INF if bias[j] == MINUS_INF else scores[j] + bias[j]


@inner
def softmax(row, visible):
    """Softmax of the first `visible` scores, in place; the others become 0."""
    row[visible:] = ZERO
    scores = row[:visible]
    top = greatest(scores)
    if top == MINUS_INF:  # all are -inf or NaN; NaN stays
        for j in range(visible):
            scores[j] = ZERO if scores[j] == MINUS_INF else scores[j]
    else:
        total = exponentials(scores, top)
        for j in range(visible):
            scores[j] /= total


@inner
def softmax_backward(p, gp):
    """gp becomes p (gp - Σ gp p)."""
    total = dot(p, gp)
    for j in range(p.size):
        gp[j] = p[j] * (gp[j] - total)


# --- all heads ----------------------------------------------------------------------------------
LAYOUT = "UniTuple(i8, 4)"


@compiled(
    f"void({LAYOUT}, {LAYOUT}, {LAYOUT}, {LAYOUT}, {LAYOUT}, i8, i8, f4, b1, b1,"
    "f4[:, :, :, ::1], i8)"
)
def heads_forward(q_at, k_at, v_at, bias_at, y_at, d, e, scale, biased, causal, p, parts):
    """Fills y and the weights p (B, H, T, S). The bias is read only if `biased`."""
    batch, heads, queries, keys = p.shape
    q_step, k_step, v_step, y_step = q_at[3], k_at[3], v_at[3], y_at[3]
    for part in prange(parts):
        low, high = share(batch * heads, parts, part)
        for item in range(low, high):
            b, h = item // heads, item % heads
            weights, at = p[b, h], p[b, h].ctypes
            q, k, v, y = head(q_at, b, h), head(k_at, b, h), head(v_at, b, h), head(y_at, b, h)
            product(AS_IS, TRANSPOSED, queries, keys, d, scale, q, q_step, k, k_step, at, keys)
            for t in range(queries):
                if biased:
                    place = bias_at[0] + b * bias_at[1] + h * bias_at[2] + t * bias_at[3]
                    add_bias(weights[t], row_at(place, keys))
                softmax(weights[t], max(0, t + 1 + keys - queries) if causal else keys)
            product(AS_IS, AS_IS, queries, e, keys, ONE, at, keys, v, v_step, y, y_step)


@compiled(
    f"void({LAYOUT}, {LAYOUT}, {LAYOUT}, {LAYOUT}, {LAYOUT}, {LAYOUT}, {LAYOUT},"
    "i8, i8, f4, f4[:, :, :, ::1], f4[:, :, :, ::1], i8)"
)
def heads_backward(q_at, k_at, v_at, g_at, gq_at, gk_at, gv_at, d, e, scale, p, g_p, parts):
    """Fills the gradients. g_p, that of the weights, is (B, H, T, S) or empty."""
    batch, heads, queries, keys = p.shape
    for part in prange(parts):
        low, high = share(batch * heads, parts, part)
        scores = np.empty((queries, keys), np.float32)
        for item in range(low, high):
            b, h = item // heads, item % heads
            weights, at, gs = p[b, h], p[b, h].ctypes, scores.ctypes
            q, k, v, g = head(q_at, b, h), head(k_at, b, h), head(v_at, b, h), head(g_at, b, h)
            gq, gk, gv = head(gq_at, b, h), head(gk_at, b, h), head(gv_at, b, h)
            product(AS_IS, TRANSPOSED, queries, keys, e, ONE, g, g_at[3], v, v_at[3], gs, keys)
            product(TRANSPOSED, AS_IS, keys, e, queries, ONE, at, keys, g, g_at[3], gv, gv_at[3])
            for t in range(queries):
                if g_p.size:
                    add_to(scores[t], g_p[b, h, t])
                softmax_backward(weights[t], scores[t])
            product(TRANSPOSED, AS_IS, keys, d, queries, scale, gs, keys, q, q_at[3], gk, gk_at[3])
            product(AS_IS, AS_IS, queries, d, keys, scale, gs, keys, k, k_at[3], gq, gq_at[3])


# --- the op -------------------------------------------------------------------------------------
def layout(x: Any) -> tuple[int, int, int, int]:
    """Address of x (B, H, T, d), bytes between sequences, between heads; floats between rows."""
    return x.ctypes.data, *x.strides[:2], x.strides[2] // ITEM


def with_rows(x: Any) -> Any:
    """x if BLAS can read its rows where they are, else a copy."""
    step = x.strides[-2]
    fits = x.strides[-1] == ITEM and step % ITEM == 0 and step >= ITEM * x.shape[-1]
    return x if fits else np.ascontiguousarray(x)


def empty(batch: int, heads: int, length: int, d: int) -> Any:
    """An array (B, H, T, d) whose memory is ordered as (B, T, H, d)."""
    return np.empty((batch, length, heads, d), np.float32).swapaxes(1, 2)


def gradients_of(*parts: Any) -> list[Any]:
    """Empty arrays like the parts (B, H, T, d), side by side in memory where the parts are."""
    first, *others = parts
    whole = neighbours(parts, 1)
    if whole is None:
        return [empty(*first.shape), *(gradients_of(*others) if others else ())]
    heads, whole = first.shape[1], empty(*whole.shape)
    return [whole[:, i : i + heads] for i in range(0, whole.shape[1], heads)]


def bias_of(q: Any, k: Any, mask: Any, alibi: bool) -> Any:
    """What a boolean mask and ALiBi add to the scores, or None."""
    bias = None if mask is None else np.where(mask, ZERO, MINUS_INF)
    if not alibi:
        return bias
    return alibi_bias(q, k) if bias is None else bias + alibi_bias(q, k)


def flat(x: Any) -> Any:
    """(..., H, T, d) as (B, H, T, d)"""
    return x.reshape(-1, *x.shape[-3:])


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
    if mask is not None and (not isinstance(mask, np.ndarray) or mask.dtype.kind != "b"):
        return Declined("a mask of numbers")
    if not q.ndim == k.ndim == v.ndim >= 3 or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        return Declined("not (B, H, T, d)")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2] or not (q.size and v.size):
        return Declined("shapes")
    *lead, queries, keys, e = *q.shape[:-1], *v.shape[-2:]
    shape = *lead, queries, keys
    check_mask(mask, shape)
    bias, at = bias_of(q, k, mask, alibi), (0, 0, 0, 0)
    if bias is not None:
        bias = flat(np.broadcast_to(bias, shape))
        bias = bias if bias.strides[-1] == ITEM else np.ascontiguousarray(bias)
        at = bias.ctypes.data, *bias.strides[:3]
    q, k, v = (with_rows(flat(x)) for x in (q, k, v))
    batch, heads, _, d = q.shape
    scale = scale_of(q) if scale is None else scale
    p = np.empty((batch, heads, queries, keys), np.float32)
    y = empty(batch, heads, queries, e)
    parts = min(parts_for(q.size + v.size + p.size), batch * heads)
    inputs = layout(q), layout(k), layout(v)
    heads_forward(*inputs, at, layout(y), d, e, scale, bias is not None, causal, p, parts)

    def pull(g: Any) -> tuple[Any, ...]:
        g, g_p = g if return_weights else (g, NOTHING)
        g = with_rows(flat(g))
        grads = gradients_of(q, k, v)
        g_p = rows_of(g_p.reshape(p.shape)) if g_p.size else g_p
        heads_backward(*inputs, layout(g), *map(layout, grads), d, e, scale, p, g_p, parts)
        return *(x.reshape(*lead, *x.shape[2:]) for x in grads), None

    y = y.reshape(*lead, queries, e)
    return ((y, p.reshape(shape)) if return_weights else y), pull
