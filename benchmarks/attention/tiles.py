"""Heads of causal attention in Triton, in tiles of B queries and B keys, after FlashAttention-2.

q, k, v, g, y: (H, T, D) float32 in C order, lse: (H, T); B divides T.
"""

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.launch import launch

B = 32


@triton.jit
def at(rows, D: tl.constexpr):
    """Where these rows of D numbers are in memory."""
    return rows[:, None] * D + tl.arange(0, D)[None, :]


@triton.jit
def product(a, b):
    """With all digits of float32, and not with the three of TF32."""
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def forward_kernel(q, k, v, y, lse, T, scale, D: tl.constexpr, B: tl.constexpr):
    head = tl.program_id(1) * T
    i = tl.program_id(0) * B + tl.arange(0, B)
    query = tl.load(q + at(head + i, D))
    o = tl.zeros((B, D), tl.float32)
    z = tl.zeros((B,), tl.float32)
    top = tl.full((B,), float("-inf"), tl.float32)
    for first in range(0, (tl.program_id(0) + 1) * B, B):
        j = first + tl.arange(0, B)
        s = product(query, tl.trans(tl.load(k + at(head + j, D)))) * scale
        s = tl.where(j[None, :] <= i[:, None], s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        e = tl.exp(s - new[:, None])
        old = tl.exp(top - new)  # what the sums so far shrink by
        z = z * old + tl.sum(e, 1)
        o = o * old[:, None] + product(e, tl.load(v + at(head + j, D)))
        top = new
    tl.store(y + at(head + i, D), o / z[:, None])
    tl.store(lse + head + i, top + tl.log(z))


def forward(q, k, v):
    H, T, D = q.shape
    y, lse = np.empty_like(v), np.empty_like(q, shape=(H, T))
    launch(forward_kernel, (T // B, H), (q, k, v, y, lse, T, D**-0.5), {"D": D, "B": B})
    return y, lse


@triton.jit
def scores_backward(query, key, value, cotangent, lse, delta, i, j, scale):
    """p and gs of a tile."""
    s = product(query, tl.trans(key)) * scale
    p = tl.where(j[None, :] <= i[:, None], tl.exp(s - lse[:, None]), 0.0)
    gp = product(cotangent, tl.trans(value))
    return p, p * (gp - delta[:, None]) * scale


@triton.jit
def queries_kernel(
    q, k, v, g, lse, delta, gq, T, scale, D: tl.constexpr, B: tl.constexpr
):  # fmt: skip
    head = tl.program_id(1) * T
    i = tl.program_id(0) * B + tl.arange(0, B)
    query, cotangent = tl.load(q + at(head + i, D)), tl.load(g + at(head + i, D))
    row_lse, row_delta = tl.load(lse + head + i), tl.load(delta + head + i)
    query_sum = tl.zeros((B, D), tl.float32)
    for first in range(0, (tl.program_id(0) + 1) * B, B):
        j = first + tl.arange(0, B)
        key, value = tl.load(k + at(head + j, D)), tl.load(v + at(head + j, D))
        _, gs = scores_backward(query, key, value, cotangent, row_lse, row_delta, i, j, scale)
        query_sum += product(gs, key)
    tl.store(gq + at(head + i, D), query_sum)


@triton.jit
def keys_kernel(
    q, k, v, g, lse, delta, gk, gv, T, scale, D: tl.constexpr, B: tl.constexpr
):  # fmt: skip
    head = tl.program_id(1) * T
    j = tl.program_id(0) * B + tl.arange(0, B)
    key, value = tl.load(k + at(head + j, D)), tl.load(v + at(head + j, D))
    key_sum, value_sum = tl.zeros((B, D), tl.float32), tl.zeros((B, D), tl.float32)
    for first in range(tl.program_id(0) * B, T, B):
        i = first + tl.arange(0, B)
        query, cotangent = tl.load(q + at(head + i, D)), tl.load(g + at(head + i, D))
        row_lse, row_delta = tl.load(lse + head + i), tl.load(delta + head + i)
        p, gs = scores_backward(query, key, value, cotangent, row_lse, row_delta, i, j, scale)
        key_sum += product(tl.trans(gs), query)
        value_sum += product(tl.trans(p), cotangent)
    tl.store(gk + at(head + j, D), key_sum)
    tl.store(gv + at(head + j, D), value_sum)


def backward(q, k, v, g, y, lse):
    H, T, D = q.shape
    delta = (g * y).sum(axis=2)
    gq, gk, gv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    grid, sizes = (T // B, H), {"D": D, "B": B}
    launch(queries_kernel, grid, (q, k, v, g, lse, delta, gq, T, D**-0.5), sizes)
    launch(keys_kernel, grid, (q, k, v, g, lse, delta, gk, gv, T, D**-0.5), sizes)
    return gq, gk, gv
