"""layer_norm, some rows per program, with the equations of `minigrad.ops.norm`.

    x̂ = (x - μ) r        r = 1 / √(σ² + ε)        y = x̂ w + b
    ĝ = g w              gx = r (ĝ - mean(ĝ) - x̂ mean(ĝ x̂))        gw = Σ g x̂        gb = Σ g

Kept: μ and r of each row; the backward pass computes x̂ from them again. The sums over rows are
computed in two steps, always in the same order: each of at most `PROGRAMS` programs adds up its
rows, and a second kernel adds up these sums.

For stacked models, x (R, ..., D) with w, b (R, D), the programs have an axis of replicas too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import rows_of, tile, warps
from kernels.cuda.launch import launch, unfit
from minigrad import device as devices
from minigrad import ops
from minigrad.kernel import Declined, kernel
from minigrad.stacked import stack_of

WIDEST = 4096  # columns: a row must fit in registers
PROGRAMS = 256
SUM_ROWS, SUM_COLS = 32, 32  # the tile of the second step
# Above LARGE, the sum of the squares of a row could overflow. Times SMALL, the largest float32 is
# 4.5e15, whose squares can be summed; SMALL is a power of two, so that nothing is rounded.
LARGE, SMALL = tl.constexpr(2.0**50), tl.constexpr(2.0**-76)


@triton.jit
def forward_kernel(
    x, weight, bias, y, mean, scale, rows, size, eps,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """x, y (R, rows, size); weight, bias (R, size); mean, scale (R, rows): μ and r."""
    replica = tl.program_id(1).to(tl.int64)
    x, y = x + replica * rows * size, y + replica * rows * size
    weight, bias = weight + replica * size, bias + replica * size
    mean, scale = mean + replica * rows, scale + replica * rows
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    j = tl.arange(0, COLS)
    here = (i < rows)[:, None] & (j < size)[None, :]
    at = i[:, None].to(tl.int64) * size + j[None, :]
    v = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
    mu = tl.sum(v, axis=1) / size
    centered = tl.where(here, v - mu[:, None], 0.0)
    large = tl.max(tl.abs(centered), axis=1) > LARGE  # then eps is negligible
    factor = tl.where(large, SMALL, 1.0)
    part = centered * factor[:, None]
    r = factor / tl.sqrt(tl.sum(part * part, axis=1) / size + tl.where(large, 0.0, eps))
    out = centered * r[:, None]
    if WEIGHT:
        out *= tl.load(weight + j, mask=j < size, other=0.0).to(tl.float32)[None, :]
    if BIAS:
        out += tl.load(bias + j, mask=j < size, other=0.0).to(tl.float32)[None, :]
    tl.store(y + at, out, mask=here)
    tl.store(mean + i, mu, mask=i < rows)
    tl.store(scale + i, r, mask=i < rows)


@triton.jit
def backward_kernel(
    g, x, weight, mean, scale, gx, gw_parts, gb_parts, rows, size,
    WEIGHT: tl.constexpr, SUMS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """gx (R, rows, size); if SUMS also one row of gw_parts and gb_parts (R, programs, size)."""
    part = tl.program_id(0)
    replica = tl.program_id(1).to(tl.int64)
    before = replica * rows * size
    g, x, gx, weight = g + before, x + before, gx + before, weight + replica * size
    mean, scale = mean + replica * rows, scale + replica * rows
    j = tl.arange(0, COLS)
    gw = tl.zeros([ROWS, COLS], tl.float32)
    gb = tl.zeros([ROWS, COLS], tl.float32)
    if WEIGHT:
        w = tl.load(weight + j, mask=j < size, other=0.0).to(tl.float32)[None, :]
    for first in range(part * ROWS, rows, tl.num_programs(0) * ROWS):
        i = first + tl.arange(0, ROWS)
        here = (i < rows)[:, None] & (j < size)[None, :]
        at = i[:, None].to(tl.int64) * size + j[None, :]
        mu = tl.load(mean + i, mask=i < rows, other=0.0)[:, None]
        r = tl.load(scale + i, mask=i < rows, other=0.0)[:, None]
        v = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
        xhat = tl.where(here, (v - mu) * r, 0.0)
        ghat = tl.load(g + at, mask=here, other=0.0).to(tl.float32)
        if SUMS:
            gw += ghat * xhat
            gb += ghat
        if WEIGHT:
            ghat *= w
        inner = tl.sum(ghat * xhat, axis=1) / size
        ghat -= (tl.sum(ghat, axis=1) / size)[:, None]
        tl.store(gx + at, (ghat - xhat * inner[:, None]) * r, mask=here)
    if SUMS:
        at = (replica * tl.num_programs(0) + part) * size + j
        tl.store(gw_parts + at, tl.sum(gw, axis=0), mask=j < size)
        tl.store(gb_parts + at, tl.sum(gb, axis=0), mask=j < size)


@triton.jit
def sum_kernel(gw_parts, gb_parts, gw, gb, parts, size, ROWS: tl.constexpr, COLS: tl.constexpr):
    """gw = Σ rows of gw_parts in programs (·, 0, ·); gb = Σ rows of gb_parts in (·, 1, ·)."""
    replica = tl.program_id(2).to(tl.int64)
    before = replica * parts * size
    gw_parts, gb_parts = gw_parts + before, gb_parts + before
    gw, gb = gw + replica * size, gb + replica * size
    j = tl.program_id(0) * COLS + tl.arange(0, COLS)
    total = tl.zeros([ROWS, COLS], tl.float32)
    for first in range(0, parts, ROWS):
        i = first + tl.arange(0, ROWS)
        here = (i < parts)[:, None] & (j < size)[None, :]
        at = i[:, None] * size + j[None, :]
        if tl.program_id(1) == 0:
            total += tl.load(gw_parts + at, mask=here, other=0.0)
        else:
            total += tl.load(gb_parts + at, mask=here, other=0.0)
    if tl.program_id(1) == 0:
        tl.store(gw + j, tl.sum(total, axis=0), mask=j < size)
    else:
        tl.store(gb + j, tl.sum(total, axis=0), mask=j < size)


@kernel(ops.layer_norm, device="cuda")
@kernel(stack_of(ops.layer_norm), device="cuda")
def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    if why := unfit(x, weight, bias):
        return why
    size = x.shape[-1] if x.ndim else 0
    lead = weight.shape[:-1] if weight is not None else ()  # () or (R,)
    fits = all(p is None or p.shape == (*lead, size) for p in (weight, bias))
    if not (size and x.size and fits) or len(lead) >= min(x.ndim, 2):
        return Declined("shapes")
    if size > WIDEST:
        return Declined("long rows")
    count = math.prod(lead)
    rows = x.size // size // count
    x = rows_of(x)
    w = x if weight is None else rows_of(weight)  # x is not read as a weight
    b = x if bias is None else rows_of(bias)
    y = np.empty_like(x)
    mean, scale = (devices.empty((count, rows), x, np.float32) for _ in range(2))
    sides = tile(size, widest=WIDEST)
    blocks = triton.cdiv(rows, sides["ROWS"])
    constants = {"WEIGHT": weight is not None, **sides}
    args = x, w, b, y, mean, scale, rows, size, float(eps)
    settings = {**constants, "BIAS": bias is not None}
    launch(forward_kernel, (blocks, count), args, settings, warps=warps(sides))

    def pull(g: Any) -> tuple[Any, ...]:
        gx = np.empty_like(x)
        parts = min(blocks, PROGRAMS)
        sums = weight is not None or bias is not None
        partial = [devices.empty((count, parts, size), mean) for _ in range(2 if sums else 0)]
        args = rows_of(g), x, w, mean, scale, gx, *(partial or (mean, mean)), rows, size
        settings = {**constants, "SUMS": sums}
        launch(backward_kernel, (parts, count), args, settings, warps=warps(sides))
        if not sums:
            return gx, None, None
        gw, gb = (devices.empty((*lead, size), x) for _ in range(2))
        grid = triton.cdiv(size, SUM_COLS), 2, count
        sides_of_sum = {"ROWS": SUM_ROWS, "COLS": SUM_COLS}
        launch(sum_kernel, grid, (*partial, gw, gb, parts, size), sides_of_sum)
        return gx, None if weight is None else gw, None if bias is None else gb

    return y, pull
