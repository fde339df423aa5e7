"""scaled_dot_product_attention in tiles of scores, so that no array of T × S numbers is needed.

A program loads BM queries and loops over the keys, BN at a time. Softmax can be computed so because
one factor corrects the sum for an old maximum m when a later tile has a greater maximum (Milakov &
Gimelshein 2018, Online normalizer calculation for softmax). With s = scale log2(e) q kᵀ, so that
2^s is e^(scale q kᵀ), a program computes for each tile of keys

    m' = max(m, max_j s_j)    a = 2^(m - m')    z' = a z + Σ_j 2^(s_j - m')
                                                o' = a o + Σ_j 2^(s_j - m') v_j

and at the end y = o / z. Kept for the backward pass are y and L = m + log2 z, one number per query;
any tile of the weights can be computed from L again: p = 2^(s - L).

    gv = pᵀ g
    gp = g vᵀ             gs = p (gp - D)       D = Σ_j p_j gp_j = Σ_j p_j v_j · g = y · g
    gq = scale gs k       gk = scale gsᵀ q

gq sums over keys, gk and gv sum over queries, so there are two kernels, each with its sums in
registers: no atomic additions, and the same bits every time. The first also writes D for the
second. If all queries and all keys fit one tile, as in short sequences, one kernel does everything.

Source: Dao, FlashAttention-2 (2023), algorithms 1 and 2. ALiBi: Press et al., Train Short, Test
Long (2022), section 3.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from kernels.cuda import tune
from kernels.cuda.launch import current_architecture, launch, unfit
from minigrad import device as devices
from minigrad import ops
from minigrad.kernel import Declined, kernel

LOG2E = tl.constexpr(math.log2(math.e))
NOTHING = tl.constexpr(float("-inf"))


# --- within a program -----------------------------------------------------------------------------
@triton.jit
def load_rows(x, rows, stride, here, ALL: tl.constexpr, D: tl.constexpr, BD: tl.constexpr):
    """Rows of a matrix with D columns as (rows, BD): 0 where not `here`, and beyond column D.

    ALL says that all rows are here.
    """
    columns = tl.arange(0, BD)[None, :]
    at = x + rows[:, None] * stride + columns
    if ALL and D >= BD:
        found = tl.load(at)
    elif D >= BD:
        found = tl.load(at, mask=here[:, None], other=0.0)
    else:
        found = tl.load(at, mask=here[:, None] & (columns < D), other=0.0)
    return found


@triton.jit
def store_rows(x, rows, stride, here, values, D: tl.constexpr, BD: tl.constexpr):
    columns = tl.arange(0, BD)[None, :]
    at = x + rows[:, None] * stride + columns
    tl.store(at, values.to(x.dtype.element_ty), mask=here[:, None] & (columns < D))


@triton.jit
def products(
    a, x, i, x_t, x_here, b, y, j, y_t, y_here,
    D: tl.constexpr, BD: tl.constexpr, CHUNK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """a bᵀ, where the tiles a and b are the rows i of x and the rows j of y.

    For exact float32 products every thread holds its rows of a and b, for which there are not
    enough registers; the rows are then loaded anew, CHUNK of their columns at a time.
    """
    if CHUNK == BD:
        found = tl.dot(a, tl.trans(b), input_precision=PRECISION)
    else:
        found = tl.zeros((a.shape[0], b.shape[0]), tl.float32)
        for first in tl.static_range(0, BD, CHUNK):
            a = load_rows(x + first, i, x_t, x_here, False, D - first, CHUNK)
            b = load_rows(y + first, j, y_t, y_here, False, D - first, CHUNK)
            found = tl.dot(a, tl.trans(b), found, input_precision=PRECISION)
    return found


@triton.jit
def load_allowed(allowed, columns, S, KEYS: tl.constexpr):
    """Which of these keys exist, and may be attended to."""
    here = columns < S
    if KEYS:
        here = here & (tl.load(allowed + columns, mask=here, other=0) != 0)
    return here


@triton.jit
def keys_seen(i, S, BM: tl.constexpr, BN: tl.constexpr, CAUSAL: tl.constexpr):
    """(full, end): all BM queries from i on see the keys before `full`, in whole tiles, and none
    sees a key from `end` on. i is counted as in `masked`.
    """
    full, end = S, S
    if CAUSAL:
        full = tl.minimum(tl.maximum(i + 1, 0), S)
        end = tl.minimum(tl.maximum(i + BM, 0), S)
    return full // BN * BN, end


@triton.jit
def alibi_slope(h, heads, scale):
    """2^(-8 (h + 1) / heads), in units of the scores before they are scaled."""
    return tl.exp2((h + 1).to(tl.float32) * (-8.0 / heads)) / scale


@triton.jit
def masked(
    s, i, j, here, slope, CAUSAL: tl.constexpr, KEYS: tl.constexpr, ALIBI: tl.constexpr,
    EDGE: tl.constexpr,
):  # fmt: skip
    """Scores with ALiBi's bias, and -inf where query i may not attend to key j.

    i is the last key that the query sees if causal, its row + S - T. Only tiles on an EDGE, the
    diagonal or the end of the keys, need to compare.
    """
    if ALIBI:
        s -= slope * tl.abs(i - j).to(tl.float32)
    if EDGE and CAUSAL:  # no query sees beyond the end of the keys
        s = tl.where(j <= i, s, NOTHING)
    if KEYS or (EDGE and not CAUSAL):
        s = tl.where(here, s, NOTHING)
    return s


# --- forward --------------------------------------------------------------------------------------
@triton.jit
def attend(
    o, z, m, query, q, rows, q_t, real, k, v, allowed, k_t, v_t, i, low, high, S, scale, slope,
    D: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr, CAUSAL: tl.constexpr,
    KEYS: tl.constexpr, ALIBI: tl.constexpr, EDGE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Take the keys from `low` to `high` into the sums o and z under the maximum m."""
    for first in range(low, high, BN):
        j = first + tl.arange(0, BN)
        here = load_allowed(allowed, j, S, KEYS)
        key = load_rows(k, j, k_t, here, not EDGE and not KEYS, D, BD)
        s = products(query, q, rows, q_t, real, key, k, j, k_t, here, D, BD, CHUNK, PRECISION)
        s = masked(s, i[:, None], j[None, :], here[None, :], slope, CAUSAL, KEYS, ALIBI, EDGE)
        top = tl.maximum(m, tl.max(s, 1) * (scale * LOG2E))
        finite = tl.where(top == NOTHING, 0.0, top)  # a query that has not seen a key yet
        p = tl.exp2(s * (scale * LOG2E) - finite[:, None])  # one instruction, and the power
        a = tl.exp2(m - finite)
        z = a * z + tl.sum(p, 1)
        value = load_rows(v, j, v_t, here, not EDGE and not KEYS, D, BD)
        o = tl.dot(p.to(value.dtype), value, o * a[:, None], input_precision=PRECISION)
        m = top
    return o, z, m


@triton.jit
def forward_kernel(
    q, k, v, allowed, y, lse,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, allowed_b, heads, T, S, scale,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr,
    CAUSAL: tl.constexpr, KEYS: tl.constexpr, ALIBI: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y (B, T, heads, D) and lse, L of the text above, (B heads, T)."""
    blocks = tl.cdiv(T, BM)
    block = blocks - 1 - tl.program_id(0) % blocks  # causal: the longest ones begin first
    item = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = item // heads, item % heads
    q += b * q_b + h * q_h
    k += b * k_b + h * k_h
    v += b * v_b + h * v_h
    allowed += b * allowed_b
    rows = block * BM + tl.arange(0, BM)
    i, real = rows + (S - T), rows < T
    query = load_rows(q, rows, q_t, real, False, D, BD)
    slope = alibi_slope(h, heads, scale)
    full, end = keys_seen(block * BM + S - T, S, BM, BN, CAUSAL)
    o = tl.zeros((BM, BD), tl.float32)
    z = tl.zeros((BM,), tl.float32)
    m = tl.full((BM,), NOTHING, tl.float32)
    o, z, m = attend(
        o, z, m, query, q, rows, q_t, real, k, v, allowed, k_t, v_t, i, 0, full, S, scale,
        slope, D, BD, BN, CHUNK, CAUSAL, KEYS, ALIBI, False, PRECISION,
    )  # fmt: skip
    o, z, m = attend(
        o, z, m, query, q, rows, q_t, real, k, v, allowed, k_t, v_t, i, full, end, S, scale,
        slope, D, BD, BN, CHUNK, CAUSAL, KEYS, ALIBI, True, PRECISION,
    )  # fmt: skip
    empty = z == 0.0  # y is 0, and L such that every p is 0
    y += b * T * heads * D + h * D
    store_rows(y, rows, heads * D, real, o / tl.where(empty, 1.0, z)[:, None], D, BD)
    tl.store(lse + item * T + rows, tl.where(empty, -NOTHING, m + tl.log2(z)), mask=real)


# --- backward -------------------------------------------------------------------------------------
@triton.jit
def add_keys(
    total, query, q, q_t, cotangent, g, g_t, rows, real, row_lse, row_delta, k, k_t, v, v_t,
    allowed, i, low, high, S, scale, slope,
    D: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr, CAUSAL: tl.constexpr,
    KEYS: tl.constexpr, ALIBI: tl.constexpr, EDGE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add gs k of the keys from `low` to `high` to `total`."""
    for first in range(low, high, BN):
        j = first + tl.arange(0, BN)
        here = load_allowed(allowed, j, S, KEYS)
        key = load_rows(k, j, k_t, here, not EDGE and not KEYS, D, BD)
        value = load_rows(v, j, v_t, here, not EDGE and not KEYS, D, BD)
        s = products(query, q, rows, q_t, real, key, k, j, k_t, here, D, BD, CHUNK, PRECISION)
        s = masked(s, i[:, None], j[None, :], here[None, :], slope, CAUSAL, KEYS, ALIBI, EDGE)
        p = tl.exp2(s * (scale * LOG2E) - row_lse[:, None])
        gp = products(
            cotangent, g, rows, g_t, real, value, v, j, v_t, here, D, BD, CHUNK, PRECISION
        )
        gs = p * (gp - row_delta[:, None])
        total = tl.dot(gs.to(key.dtype), key, total, input_precision=PRECISION)
    return total


@triton.jit
def queries_kernel(
    q, k, v, allowed, y, lse, g, delta, gq,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, g_b, g_h, g_t, allowed_b, heads, T, S, scale,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr,
    CAUSAL: tl.constexpr, KEYS: tl.constexpr, ALIBI: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """gq (B, T, heads, D), and D of the text above in delta (B heads, T)."""
    blocks = tl.cdiv(T, BM)
    block = blocks - 1 - tl.program_id(0) % blocks
    item = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = item // heads, item % heads
    q += b * q_b + h * q_h
    k += b * k_b + h * k_h
    v += b * v_b + h * v_h
    g += b * g_b + h * g_h
    allowed += b * allowed_b
    head = b * T * heads * D + h * D  # in y and gq
    rows = block * BM + tl.arange(0, BM)
    i, real = rows + (S - T), rows < T
    query = load_rows(q, rows, q_t, real, False, D, BD)
    cotangent = load_rows(g, rows, g_t, real, False, D, BD)
    answer = load_rows(y + head, rows, heads * D, real, False, D, BD)
    row_lse = tl.load(lse + item * T + rows, mask=real, other=-NOTHING)
    row_delta = tl.sum(cotangent.to(tl.float32) * answer.to(tl.float32), 1)
    tl.store(delta + item * T + rows, row_delta, mask=real)
    slope = alibi_slope(h, heads, scale)
    full, end = keys_seen(block * BM + S - T, S, BM, BN, CAUSAL)
    total = tl.zeros((BM, BD), tl.float32)
    total = add_keys(
        total, query, q, q_t, cotangent, g, g_t, rows, real, row_lse, row_delta, k, k_t, v, v_t,
        allowed, i, 0, full, S, scale, slope,
        D, BD, BN, CHUNK, CAUSAL, KEYS, ALIBI, False, PRECISION,
    )  # fmt: skip
    total = add_keys(
        total, query, q, q_t, cotangent, g, g_t, rows, real, row_lse, row_delta, k, k_t, v, v_t,
        allowed, i, full, end, S, scale, slope,
        D, BD, BN, CHUNK, CAUSAL, KEYS, ALIBI, True, PRECISION,
    )  # fmt: skip
    store_rows(gq + head, rows, heads * D, real, total * scale, D, BD)


@triton.jit
def add_queries(
    key_sum, value_sum, key, k, k_t, value, v, v_t, j, here, q, q_t, g, g_t, lse, delta,
    low, high, T, S, scale, slope,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, CHUNK: tl.constexpr,
    KEYS: tl.constexpr, ALIBI: tl.constexpr, DIAGONAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add gsᵀ q and pᵀ g of the queries from `low` to `high` to the sums.

    On the DIAGONAL, some of them do not see some of the keys.
    """
    # counted in tiles: LLVM would count rows in 64 bits, as in addresses, which costs registers
    for n in range(low // BM, tl.cdiv(high, BM)):
        rows = n * BM + tl.arange(0, BM)  # tiles are keys × queries, to enter the sums as they are
        i, real = rows + (S - T), rows < T
        query = load_rows(q, rows, q_t, real, False, D, BD)
        cotangent = load_rows(g, rows, g_t, real, False, D, BD)
        row_lse = tl.load(lse + rows, mask=real, other=-NOTHING)
        row_delta = tl.load(delta + rows, mask=real, other=0.0)
        s = products(key, k, j, k_t, here, query, q, rows, q_t, real, D, BD, CHUNK, PRECISION)
        s = masked(s, i[None, :], j[:, None], here[:, None], slope, DIAGONAL, KEYS, ALIBI, DIAGONAL)
        p = tl.exp2(s * (scale * LOG2E) - row_lse[None, :])
        value_sum = tl.dot(p.to(cotangent.dtype), cotangent, value_sum, input_precision=PRECISION)
        gp = products(
            value, v, j, v_t, here, cotangent, g, rows, g_t, real, D, BD, CHUNK, PRECISION
        )
        gs = p * (gp - row_delta[None, :])
        key_sum = tl.dot(gs.to(query.dtype), query, key_sum, input_precision=PRECISION)
    return key_sum, value_sum


@triton.jit
def keys_kernel(
    q, k, v, allowed, lse, g, delta, gk, gv,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, g_b, g_h, g_t, allowed_b, heads, T, S, scale,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr,
    CAUSAL: tl.constexpr, KEYS: tl.constexpr, ALIBI: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """gk and gv (B, S, heads, D), after `queries_kernel`."""
    blocks = tl.cdiv(S, BN)
    block = tl.program_id(0) % blocks  # causal: the first keys have the most queries
    item = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = item // heads, item % heads
    q += b * q_b + h * q_h
    k += b * k_b + h * k_h
    v += b * v_b + h * v_h
    g += b * g_b + h * g_h
    lse += item * T
    delta += item * T
    j = block * BN + tl.arange(0, BN)
    here = load_allowed(allowed + b * allowed_b, j, S, KEYS)
    key = load_rows(k, j, k_t, here, False, D, BD)
    value = load_rows(v, j, v_t, here, False, D, BD)
    slope = alibi_slope(h, heads, scale)
    key_sum = tl.zeros((BN, BD), tl.float32)
    value_sum = tl.zeros((BN, BD), tl.float32)
    full = 0
    if CAUSAL:  # from the first query that sees some key of the tile to those that see all
        start = tl.maximum(block * BN - (S - T), 0) // BM * BM
        full = tl.cdiv(tl.maximum(block * BN + BN - 1 - (S - T), 0), BM) * BM
        key_sum, value_sum = add_queries(
            key_sum, value_sum, key, k, k_t, value, v, v_t, j, here, q, q_t, g, g_t, lse, delta,
            start, tl.minimum(full, T), T, S, scale, slope,
            D, BD, BM, CHUNK, KEYS, ALIBI, True, PRECISION,
        )  # fmt: skip
    key_sum, value_sum = add_queries(
        key_sum, value_sum, key, k, k_t, value, v, v_t, j, here, q, q_t, g, g_t, lse, delta,
        full, T, T, S, scale, slope,
        D, BD, BM, CHUNK, KEYS, ALIBI, False, PRECISION,
    )  # fmt: skip
    head, exists = b * S * heads * D + h * D, j < S
    store_rows(gk + head, j, heads * D, exists, key_sum * scale, D, BD)
    store_rows(gv + head, j, heads * D, exists, value_sum, D, BD)


@triton.jit
def one_tile_kernel(
    q, k, v, allowed, lse, g, gq, gk, gv,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, g_b, g_h, g_t, allowed_b, heads, T, S, scale,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CHUNK: tl.constexpr,
    CAUSAL: tl.constexpr, KEYS: tl.constexpr, ALIBI: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """gq (B, T, heads, D), gk and gv (B, S, heads, D), for T <= BM and S <= BN."""
    item = tl.program_id(0).to(tl.int64)
    b, h = item // heads, item % heads
    rows, j = tl.arange(0, BM), tl.arange(0, BN)
    i, real, exists = rows + (S - T), rows < T, j < S
    here = load_allowed(allowed + b * allowed_b, j, S, KEYS)
    q += b * q_b + h * q_h
    k += b * k_b + h * k_h
    v += b * v_b + h * v_h
    g += b * g_b + h * g_h
    query = load_rows(q, rows, q_t, real, False, D, BD)
    key = load_rows(k, j, k_t, here, False, D, BD)
    s = products(query, q, rows, q_t, real, key, k, j, k_t, here, D, BD, CHUNK, PRECISION)
    slope = alibi_slope(h, heads, scale)
    s = masked(s, i[:, None], j[None, :], here[None, :], slope, CAUSAL, KEYS, ALIBI, True)
    row_lse = tl.load(lse + item * T + rows, mask=real, other=-NOTHING)
    p = tl.exp2(s * (scale * LOG2E) - row_lse[:, None])
    cotangent = load_rows(g, rows, g_t, real, False, D, BD)
    value = load_rows(v, j, v_t, here, False, D, BD)
    gp = products(cotangent, g, rows, g_t, real, value, v, j, v_t, here, D, BD, CHUNK, PRECISION)
    gs = (p * (gp - tl.sum(p * gp, 1)[:, None])).to(query.dtype)
    p = p.to(cotangent.dtype)
    value_sum = tl.dot(tl.trans(p), cotangent, input_precision=PRECISION)
    store_rows(gv + b * S * heads * D + h * D, j, heads * D, exists, value_sum, D, BD)
    key_sum = tl.dot(tl.trans(gs), query, input_precision=PRECISION) * scale
    store_rows(gk + b * S * heads * D + h * D, j, heads * D, exists, key_sum, D, BD)
    total = tl.dot(gs, key, input_precision=PRECISION) * scale
    store_rows(gq + b * T * heads * D + h * D, rows, heads * D, real, total, D, BD)


# --- tiles ----------------------------------------------------------------------------------------
class Tile(NamedTuple):
    """Queries and keys of a tile, warps of a program, and how many tiles its loop loads ahead."""

    queries: int
    keys: int
    warps: int
    stages: int = 1


# By kernel, kind of product (see `kind_of`) and largest head size. The first tile that is not
# larger than the data is the default; `tune` may try the others. In the options that
# `benchmarks.gpu_resources` compiles, no tile spills registers or needs more shared memory than its
# GPUs have.
#
# wgmma works on 64 rows for each 4 warps (queries; keys in "keys"), and with fewer rows 8 warps
# would compute the same twice. With smaller tiles two or three programs run on one processor, and
# the products of one overlap with the exponentials of another.
LARGER: dict[str, dict[str, dict[int, tuple[Tile, ...]]]] = {
    "forward": {
        "wgmma": {
            64: (Tile(128, 64, 8, 3), Tile(64, 64, 4, 3), Tile(64, 128, 4, 2), Tile(32, 32, 4, 2)),
            128: (Tile(128, 64, 8, 3), Tile(64, 64, 4, 2), Tile(32, 32, 4)),
        },
        "half": {
            64: (Tile(64, 64, 4, 3), Tile(128, 64, 8, 3), Tile(64, 32, 4, 3), Tile(32, 32, 4)),
            128: (Tile(64, 64, 8, 3), Tile(64, 32, 4, 3), Tile(32, 32, 4)),
        },
        "tf32": {
            64: (Tile(64, 32, 4, 2), Tile(32, 32, 4)),
            128: (Tile(32, 32, 4, 2), Tile(32, 32, 4)),
        },
        "ieee": {
            16: (Tile(32, 32, 4),),
            32: (Tile(32, 32, 4, 2),),
            64: (Tile(32, 32, 8, 2),),
            128: (),
        },
    },
    "queries": {
        "wgmma": {
            64: (Tile(128, 64, 8, 3), Tile(64, 64, 4, 3), Tile(64, 128, 4, 2), Tile(32, 32, 4)),
            128: (Tile(64, 64, 4, 2), Tile(128, 64, 8, 2), Tile(64, 64, 4, 3), Tile(32, 32, 4)),
        },
        "half": {
            64: (Tile(64, 64, 4, 3), Tile(128, 64, 8, 3), Tile(64, 32, 4, 3), Tile(32, 32, 4)),
            128: (Tile(64, 64, 8, 2), Tile(64, 32, 4, 3), Tile(128, 32, 8, 3), Tile(32, 32, 4)),
        },
        "tf32": {
            64: (Tile(64, 32, 4, 2), Tile(32, 32, 4)),
            128: (Tile(32, 32, 4, 2), Tile(32, 32, 4)),
        },
        "ieee": {16: (Tile(32, 32, 4),), 64: (Tile(32, 32, 4, 2),), 128: ()},
    },
    "keys": {
        "wgmma": {
            64: (Tile(64, 64, 4, 3), Tile(64, 128, 8, 3), Tile(32, 128, 8, 3), Tile(32, 32, 4)),
            128: (Tile(32, 64, 4, 3), Tile(32, 128, 8, 3), Tile(32, 32, 4)),
        },
        "half": {
            64: (Tile(32, 64, 8, 3), Tile(32, 64, 8, 2), Tile(32, 32, 4, 2), Tile(32, 32, 4)),
            128: (Tile(32, 64, 8, 2), Tile(32, 64, 8, 3), Tile(32, 32, 4, 2), Tile(32, 32, 4)),
        },
        "tf32": {
            32: (Tile(32, 32, 4),),
            64: (Tile(32, 32, 4, 2), Tile(32, 32, 4)),
            128: (Tile(32, 32, 8, 2), Tile(32, 32, 4, 2)),
        },
        "ieee": {16: (Tile(32, 32, 4, 2),), 128: ()},
    },
    "one tile": {
        "wgmma": {128: (Tile(64, 64, 4), Tile(32, 32, 4))},
        "half": {128: (Tile(64, 64, 4), Tile(32, 32, 4))},
        "tf32": {64: (Tile(64, 64, 8), Tile(32, 32, 4)), 128: (Tile(32, 32, 4),)},
        "ieee": {32: (Tile(32, 32, 4),), 64: (Tile(32, 32, 8),), 128: ()},
    },
}
KERNELS = {
    "forward": forward_kernel,
    "queries": queries_kernel,
    "keys": keys_kernel,
    "one tile": one_tile_kernel,
}


def tiles(name: str, kind: str, d: int) -> list[Tile]:
    """The tiles of a kernel for heads of size d, the smallest last.

    Only the smallest if d is no multiple of 16: rows then do not begin at multiples of 16 bytes,
    and the addresses of larger tiles do not fit in the registers of a thread.
    """
    known = LARGER[name][kind]
    return [
        *(() if d % 16 else known[min(n for n in known if d <= n)]),
        smallest(name, kind, d),
    ]


def smallest(name: str, kind: str, d: int) -> Tile:
    warps = min(4, padded(d) // 16)
    if kind != "ieee" or (name == "keys" and d <= 64):
        return Tile(16, 16, warps)
    if name == "keys":
        return Tile(16, 16, 8, 2)
    return Tile(16, 16, 4 if d > 16 else 1, 2)


# CuPy's switch for products of float32 arrays: 10 bits of mantissa, on the tensor cores
TF32 = os.environ.get("CUPY_TF32") == "1"


def kind_of(dtype: Any, architecture: int) -> str:
    """The kind of product for a dtype on an architecture (90 is compute capability 9.0).

    16 bits: "wgmma" if tensor cores read their operands from shared memory (9.0, and the successor
    of wgmma on 10.0), of which a program can use 227 KB, so that registers are free for larger
    tiles; else "half". float32: "tf32" or "ieee".
    """
    if dtype.itemsize == 2:
        return "wgmma" if 90 <= architecture < 120 else "half"  # 12.0 has 99 KB and no wgmma
    return "tf32" if TF32 else "ieee"


def numbers(kind: str, d: int) -> dict[str, Any]:
    """The constants that say how products of rows of d numbers are made."""
    chunk = 16 if kind == "ieee" else padded(d)
    precision = "tf32" if kind == "tf32" else "ieee"
    return {"D": d, "BD": padded(d), "CHUNK": chunk, "PRECISION": precision}


def padded(n: int) -> int:
    """The power of two, 16 at least, that n numbers are padded to."""
    return max(16, 1 << (n - 1).bit_length())


# --- the op ---------------------------------------------------------------------------------------
LARGEST_HEAD = 128
LIMIT = 1 << 31  # within one sequence, indices have 32 bits


def declined(q: Any, k: Any, v: Any, mask: Any, alibi: bool, scale: float) -> Declined | None:
    if why := unfit(q, k, v):
        return why
    if not q.dtype == k.dtype == v.dtype:
        return Declined("dtypes")
    if not 2 <= q.ndim == k.ndim == v.ndim or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        return Declined("leading axes that broadcast")
    if not q.shape[-1] == k.shape[-1] == v.shape[-1] or k.shape[-2] != v.shape[-2]:
        return Declined("shapes")
    if not (q.size and k.size):
        return Declined("empty")
    if alibi and q.ndim < 3:
        return Declined("no axis of heads")
    if q.shape[-1] > LARGEST_HEAD:
        return Declined(f"head size {q.shape[-1]}")
    if scale <= 0.0:
        return Declined("a scale that is not positive")
    if max(reach(x) for x in (q, k, v)) >= LIMIT:
        return Declined("too large")
    if mask is not None and mask.dtype.kind != "b":
        return Declined("a floating point mask")
    if mask is not None and not over_keys(mask, q, k):
        return Declined("a mask that differs between queries or heads")
    return None


def over_keys(mask: Any, q: Any, k: Any) -> bool:
    """Whether a mask broadcasts to (..., 1, 1, S)."""
    sizes = (*q.shape[:-3], 1, 1, k.shape[-2])[-q.ndim :]
    pairs = zip(reversed(mask.shape), reversed(sizes), strict=False)
    return 1 <= mask.ndim <= q.ndim and all(n in (1, size) for n, size in pairs)


def reach(x: Any) -> int:
    """The largest offset in one sequence of x, in elements, or of an array made by `empty`."""
    strides = [abs(n) // x.itemsize for n in x.strides]
    heads = x.shape[-3] if x.ndim > 2 else 1
    return max(*strides, strides[-2] * x.shape[-2], heads * x.shape[-2] * x.shape[-1])


def batched(x: Any) -> Any:
    """(..., heads, T, d) as (B, heads, T, d) with contiguous rows.

    A copy if rows are not contiguous, or if d is a multiple of 16 and some stride is not.
    """
    x = x if x.ndim == 4 else x.reshape(-1, *(1, *x.shape)[-3:])
    odd = not x.shape[-1] % 16 and any(n % (16 * x.itemsize) for n in x.strides[:-1])
    return x.copy(order="C") if odd or x.strides[-1] != x.itemsize else x


def empty(x: Any) -> Any:
    """An array of the shape of x (B, heads, T, d) whose memory is ordered as (B, T, heads, d)."""
    batch, heads, length, d = x.shape
    return devices.empty((batch, length, heads, d), x).swapaxes(1, 2)


def steps(*arrays: Any) -> list[int]:
    """The strides of the first three axes of each array, in elements."""
    return [n // x.itemsize for x in arrays for n in x.strides[:3]]


@kernel(ops.scaled_dot_product_attention, device="cuda")
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
    """The op, for q (..., H, T, d) and k, v (..., H, S, d) with d <= 128 and equal leading axes.

    mask: boolean, only over keys. Dtypes: float32, float16 and bfloat16. Sums and softmax are
    float32. Products of float32 are exact, or TF32 if CUPY_TF32=1 was set at the start, as for
    CuPy's products. Rows of k and v at masked keys are not read; they may contain NaN.
    Kept: q, k, v, y, and one float32 number per query.
    """
    scale = 1.0 / math.sqrt(max(1, q.shape[-1])) if scale is None else scale
    if return_weights:
        return Declined("weights asked for")
    if why := declined(q, k, v, mask, alibi, scale):
        return why
    shapes = q.shape, k.shape, v.shape
    allowed = None
    if mask is not None:
        allowed = devices.ones((*q.shape[:-3], k.shape[-2]), mask)
        allowed &= mask.reshape(*mask.shape[:-3], mask.shape[-1])
    q, k, v = (batched(x) for x in (q, k, v))
    call = Call(q, k, v, allowed, causal, alibi, float(scale))
    y, lse = call.forward()

    def pull(g: Any) -> tuple[Any, ...]:
        grads = call.backward(y, lse, batched(g))
        return *(x.reshape(shape) for x, shape in zip(grads, shapes, strict=True)), None

    return y.reshape(shapes[0]), pull


class Call(NamedTuple):
    """The arguments that all launches of one call have in common.

    A tuple, because the engine looks into tuples for arrays that a pullback keeps.
    """

    q: Any  # (B, heads, T, d)
    k: Any  # (B, heads, S, d)
    v: Any
    allowed: Any  # (..., S) boolean, in C order, or None
    causal: bool
    alibi: bool
    scale: float

    def forward(self) -> tuple[Any, Any]:
        """y (B, heads, T, d), and L of the text above, (B, heads, T)."""
        y, lse = empty(self.q), self.one_per_query()
        self.start("forward", (y, lse), steps(self.q, self.k, self.v))
        return y, lse

    def backward(self, y: Any, lse: Any, g: Any) -> tuple[Any, Any, Any]:
        """gq, gk and gv, of the shapes of q, k and v."""
        gq, gk, gv = empty(self.q), empty(self.k), empty(self.v)
        strides = steps(self.q, self.k, self.v, g)
        if self.tiles("one tile"):
            self.start("one tile", (lse, g, gq, gk, gv), strides)
        else:
            delta = self.one_per_query()
            self.start("queries", (y, lse, g, delta, gq), strides)
            self.start("keys", (lse, g, delta, gk, gv), strides)
        return gq, gk, gv

    def one_per_query(self) -> Any:
        return devices.empty(self.q.shape[:3], self.q, np.float32)

    def start(self, name: str, arrays: tuple[Any, ...], strides: list[int]) -> None:
        """Launch a kernel on q, k, v, the mask and these arrays."""
        (batch, heads, queries, _), keys = self.q.shape, self.k.shape[2]
        masked = self.allowed is not None
        args = (
            *(self.q, self.k, self.v, self.allowed if masked else self.q, *arrays, *strides),
            *(keys if masked else 0, heads, queries, keys, self.scale),
        )

        def run(tile: Tile) -> None:
            size, length = (tile.keys, keys) if name == "keys" else (tile.queries, queries)
            constants = {**self.constants, "BM": tile.queries, "BN": tile.keys}
            grid = (triton.cdiv(length, size) * batch * heads,)
            launch(KERNELS[name], grid, args, constants, warps=tile.warps, stages=tile.stages)

        sizes = padded(queries), padded(keys), padded(batch * heads)
        key = (name, str(self.q.dtype), *sizes, *self.constants.values())
        run(tune.choose(key, self.tiles(name), run))

    @property
    def kind(self) -> str:
        return kind_of(self.q.dtype, current_architecture())

    @property
    def constants(self) -> dict[str, Any]:
        return {
            **numbers(self.kind, self.q.shape[3]),
            "CAUSAL": self.causal,
            "ALIBI": self.alibi,
            "KEYS": self.allowed is not None,
        }

    def tiles(self, name: str) -> list[Tile]:
        """The tiles that fit these sizes, the default first. "one tile" may have none."""
        known = tiles(name, self.kind, self.q.shape[3])
        queries, keys = padded(self.q.shape[2]), padded(self.k.shape[2])
        if name == "one tile":
            return [t for t in reversed(known) if queries <= t.queries and keys <= t.keys][:1]
        return [t for t in known if t.queries <= queries and t.keys <= keys] or known[-1:]
