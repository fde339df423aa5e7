"""Linear layer and cross-entropy, tile by tile, with the equations of the plain op.

A chunk of rows meets the vocabulary tile by tile, and the cores divide the tiles. So each core
packs its part of W for BLAS alone, all of them share the logits of one chunk, and a tile is in the
cache from its product to its exponentials, and again from its gradient to the products with it.

The exponentials are relative to the maximum of their tile, for that of the row is known when all
tiles are there. With the maximum m_k and the sum s_k = Σ e^(z - m_k) of tile k,

    m = max_k m_k        lse = m + log Σ_k s_k e^(m_k - m)        p = e^(z - m_k) e^(m_k - lse)

so the gradient multiplies each row of a tile by one number (Milakov and Gimelshein, Online
normalizer calculation for softmax, 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.attention import dot, exponentials
from kernels.cpu.blas import AS_IS, ROW_MAJOR, TRANSPOSED, sgemm
from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.functions import greatest
from kernels.cpu.linear import NO_BIAS, add_row
from minigrad.kernel import Declined, kernel
from minigrad.ops.linear_cross_entropy import BYTES, ROWS, Terms, _linear_cross_entropy, swept

ZERO, ONE, MINUS_INF = map(np.float32, (0.0, 1.0, -np.inf))
TILE = 512  # classes


# --- one row of a tile --------------------------------------------------------------------------
@inner
def to_exponentials(z, top):
    """z = e^(z - top), in place. Returns the sum. 0 for -inf also where all are."""
    if top > MINUS_INF or np.isnan(top):
        return exponentials(z, top)
    total = ZERO
    for j in range(z.size):
        z[j] = ZERO if z[j] == MINUS_INF else z[j]
        total += z[j]
    return total


@inner
def multiplied(z, factor):
    for j in range(z.size):
        z[j] *= factor


@inner
def less_multiple(z, share, weight):
    for j in range(z.size):
        z[j] -= share * weight[j]


# --- all tiles ----------------------------------------------------------------------------------
@compiled(
    "void(f4[:, ::1], f4[:, ::1], f4[::1], i8[::1], f4[::1], i8,"
    "f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[::1], i8)"
)
def tiles_forward(x, weight, bias, at, class_weight, tile, e, tops, sums, spreads, picked, parts):
    """Fills e (tiles, rows × tile), and of each row tops, sums and spreads (tiles, rows), picked.

    bias may be empty, and class_weight, without which spreads = Σ w z stay as they are.
    """
    (rows, width), classes = x.shape, weight.shape[0]
    for part in prange(parts):
        first, last = share(e.shape[0], parts, part)
        for k in range(first, last):
            low, high = k * tile, min(classes, (k + 1) * tile)
            n = high - low
            z = e[k, : rows * n].reshape(rows, n)
            if bias.size:
                for i in range(rows):
                    z[i, :] = bias[low:high]
            sgemm(
                ROW_MAJOR, AS_IS, TRANSPOSED, rows, n, width,
                ONE, x.ctypes, width, weight[low:high].ctypes, width,
                ONE if bias.size else ZERO, z.ctypes, n,
            )  # fmt: skip
            for i in range(rows):
                if low <= at[i] < high:
                    picked[i] = z[i, at[i] - low]
                if class_weight.size:
                    spreads[k, i] = dot(z[i], class_weight[low:high])
                tops[k, i] = greatest(z[i])
                sums[k, i] = to_exponentials(z[i], tops[k, i])


@compiled(
    "void(f4[:, ::1], f4[:, ::1], i8[::1], f4[::1], f4[::1], f4[::1], f4[:, ::1], i8,"
    "f4[:, ::1], f4[:, :, ::1], f4[:, ::1], f4[::1], i8)"
)
def tiles_backward(x, weight, at, hit, smooth, class_weight, factors, tile, e, gx, gw, gb, parts):
    """e becomes the gradient of the logits; fills gx (parts, rows, D), adds to gw and gb.

    Those that are empty are left out. smooth: what is subtracted for each w, with class_weight.
    """
    (rows, width), classes = x.shape, weight.shape[0]
    for part in prange(parts):
        first, last = share(e.shape[0], parts, part)
        for k in range(first, last):
            low, high = k * tile, min(classes, (k + 1) * tile)
            n = high - low
            z = e[k, : rows * n].reshape(rows, n)
            for i in range(rows):
                multiplied(z[i], factors[k, i])
                if class_weight.size:
                    less_multiple(z[i], smooth[i], class_weight[low:high])
                if low <= at[i] < high:
                    z[i, at[i] - low] -= hit[i]
                if gb.size:
                    add_row(gb[low:high], z[i])
            if gx.size:
                sgemm(
                    ROW_MAJOR, AS_IS, AS_IS, rows, width, n,
                    ONE, z.ctypes, n, weight[low:high].ctypes, width,
                    ZERO if k == first else ONE, gx[part].ctypes, width,
                )  # fmt: skip
            if gw.size:
                sgemm(
                    ROW_MAJOR, TRANSPOSED, AS_IS, n, width, rows,
                    ONE, z.ctypes, n, x.ctypes, width,
                    ONE, gw[low:high].ctypes, width,
                )  # fmt: skip


# --- the op -------------------------------------------------------------------------------------
def none(*shape: int) -> Any:
    return np.empty((0,) * len(shape), np.float32)


def sweep(
    rows: Any, weight: Any, bias: Any, terms: Terms, wanted: Sequence[str]
) -> tuple[Any, Any, Any, Any]:
    """As the plain op's: losses and gradients, chunk by chunk."""
    (classes, width), count = weight.shape, len(rows)
    rows, weight = rows_of(rows), rows_of(weight)
    bias = NO_BIAS if bias is None else rows_of(bias)
    class_weight = NO_BIAS
    if terms.smooth:
        class_weight = np.ones(classes, np.float32) if terms.weight is None else terms.weight
    at = rows_of(terms.at.astype(np.int64))
    size = max(1, min(count, max(ROWS, BYTES // (4 * classes))))
    parts = parts_for(size * classes * width)
    tile = min(TILE, -(-classes // parts))
    tiles = -(-classes // tile)
    parts = min(parts, tiles)
    e = np.empty((tiles, size * tile), np.float32)
    loss = np.empty(count, np.float32)
    gx = np.empty(rows.shape, np.float32) if "x" in wanted else None
    gw = np.zeros(weight.shape, np.float32) if "weight" in wanted else np.empty((0, 0), np.float32)
    gb = np.zeros(classes, np.float32) if "bias" in wanted else NO_BIAS
    for low in range(0, count, size):
        part = slice(low, low + size)
        x, some = rows[part], terms.of(part)
        n = len(x)
        tops, sums, spreads = (np.empty((tiles, n), np.float32) for _ in range(3))
        picked = np.empty(n, np.float32)
        tiles_forward(
            x, weight, bias, at[part], class_weight, tile, e, tops, sums, spreads, picked, parts
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            top = tops.max(axis=0)
            scale = np.exp(tops - top)
            total = (scale * sums).sum(axis=0, dtype=np.float64)
            log_total = np.log(total)
            of_part = some.hit * (log_total - (picked - top))
            if terms.smooth:
                spread = spreads.sum(axis=0, dtype=np.float64)
                of_part += some.share * (terms.total * (log_total + top) - spread)
            loss[part] = of_part
            if not wanted:
                continue
            factors = (scale * ((some.hit + some.share * terms.total) / total)).astype(np.float32)
        shared = np.empty((0 if gx is None else parts, n, width), np.float32)
        tiles_backward(
            x, weight, at[part], some.hit, some.share, class_weight, factors, tile, e, shared,
            gw, gb, parts,
        )  # fmt: skip
        if gx is not None:
            np.sum(shared, axis=0, out=gx[part])
    return loss, gx, gw if "weight" in wanted else None, gb if "bias" in wanted else None


@kernel(_linear_cross_entropy, device="cpu")
def linear_cross_entropy(x: Any, weight: Any, target: Any, bias: Any = None, **options: Any) -> Any:
    if why := unfit(x, weight, bias):
        return why
    if not weight.size:
        return Declined("no weight")
    return swept(sweep, x, weight, target, bias, **options)
