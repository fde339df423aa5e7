"""Linear layer and cross-entropy, tile by tile, with the equations of the plain op.

A chunk of rows meets the vocabulary tile by tile, and the cores divide the tiles. So each core
packs only its part of W for BLAS, and all of them share the logits of one chunk.

A core makes exponentials as soon as it has a tile, relative to a number a_i for each row: the
maximum in its first tile, raised where a later one has more than e^RISE times as much, which is
rare; what it made before is then multiplied (Milakov and Gimelshein, Online normalizer calculation
for softmax, 2018). From the sums of all cores follows f_i, so that of all tiles of a core

    gz_ic = f_i e^(z_ic - a_i) - q_i w_c - h_i onehot_ic
    f_i = (h_i + q_i Σ_c w_c) e^(a_i - lse_i)

The exponentials need not be touched again: f multiplies their product with W, and for gW the rows
of x. What is subtracted has products of a few rows: Σ_c w_c W_c, Σ_i q_i x_i, W_t and h x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.blas import AS_IS, ROW_MAJOR, TRANSPOSED, sgemm
from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.functions import exp, greatest
from kernels.cpu.linear import NO_BIAS
from kernels.cpu.rows import add_multiple, dot, exponentials, multiple, multiplied
from minigrad.kernel import Declined, kernel
from minigrad.ops.linear_cross_entropy import BYTES, ROWS, Terms, _linear_cross_entropy, swept

ZERO, ONE, MINUS_INF = map(np.float32, (0.0, 1.0, -np.inf))
TILE = 512  # classes
RISE = np.float32(20.0)  # e^20 = 5e8: sums of such numbers are far from what float32 holds


# --- one row of a tile --------------------------------------------------------------------------
@inner
def without_top(z):
    """The exponentials where all logits are -inf, or NaN: 0, or NaN. Returns the sum."""
    total = ZERO
    for j in range(z.size):
        z[j] = ZERO if z[j] == MINUS_INF else z[j]
        total += z[j]
    return total


@inner
def matrix(e, k, rows, n):
    """Tile k (rows, n); if there is memory for one tile of a core only, e has only that."""
    return e[k, : rows * n].reshape(rows, n)


@inner
def raised(e, first, k, i, rows, tile, factor):
    """Row i of the tiles of a core before tile k, multiplied."""
    for before in range(first, k):
        multiplied(matrix(e, before, rows, tile)[i], factor)


# --- all tiles ----------------------------------------------------------------------------------
@compiled(
    "void(f4[:, ::1], f4[:, ::1], f4[::1], i8[::1], f4[::1], i8,"
    "f4[:, ::1], f4[:, ::1], f8[:, ::1], f8[:, ::1], f4[::1], i8, i8)"
)
def tiles_forward(
    x, weight, bias, at, class_weight, tile, e, tops, sums, spreads, picked, tiles, parts
):
    """Fills e (tiles, rows × tile), and of each core and row tops, sums and spreads; and picked.

    e (parts, rows × tile) serves all tiles of a core, where it is not needed again. bias may be
    empty; so may class_weight, and spreads, Σ w z, are then 0.
    """
    (rows, width), classes = x.shape, weight.shape[0]
    kept = e.shape[0] == tiles
    for part in prange(parts):
        first, last = share(tiles, parts, part)
        tops[part, :], sums[part, :], spreads[part, :] = MINUS_INF, 0.0, 0.0
        for k in range(first, last):
            low, high = k * tile, min(classes, (k + 1) * tile)
            n = high - low
            z = matrix(e, k if kept else np.int64(part), rows, n)  # part is unsigned
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
                    spreads[part, i] += dot(z[i], class_weight[low:high])
                top, old = greatest(z[i]), tops[part, i]
                if k == first or top > old + RISE:
                    tops[part, i] = top
                    if k > first:
                        factor = exp(old - top)
                        sums[part, i] *= factor
                        if kept:
                            raised(e, first, k, i, rows, tile, factor)
                if tops[part, i] == MINUS_INF:
                    sums[part, i] += without_top(z[i])
                else:
                    sums[part, i] += exponentials(z[i], tops[part, i])


@compiled(
    "void(f4[:, ::1], f4[:, ::1], i8[::1], f4[::1], f4[:, ::1], i8,"
    "f4[:, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, ::1], f4[::1], i8)"
)
def tiles_backward(x, weight, at, hit, factors, tile, e, scaled, gx, gw, gb, parts):
    """Fills gx (parts, rows, D), Σ_c e_c W_c of each core, and adds to gw and gb, if not empty.

    scaled (parts, rows, D): memory for the rows of x multiplied by the factors of a core.
    """
    (rows, width), classes = x.shape, weight.shape[0]
    for part in prange(parts):
        first, last = share(e.shape[0], parts, part)
        if gw.size:
            for i in range(rows):
                multiple(factors[part, i], x[i], scaled[part, i])
        for k in range(first, last):
            low, high = k * tile, min(classes, (k + 1) * tile)
            n = high - low
            z = matrix(e, k, rows, n)
            if gx.size:
                sgemm(
                    ROW_MAJOR, AS_IS, AS_IS, rows, width, n,
                    ONE, z.ctypes, n, weight[low:high].ctypes, width,
                    ZERO if k == first else ONE, gx[part].ctypes, width,
                )  # fmt: skip
            if gw.size:
                sgemm(
                    ROW_MAJOR, TRANSPOSED, AS_IS, n, width, rows,
                    ONE, z.ctypes, n, scaled[part].ctypes, width,
                    ONE, gw[low:high].ctypes, width,
                )  # fmt: skip
            for i in range(rows):
                if gb.size:
                    add_multiple(factors[part, i], z[i], gb[low:high])
                if low <= at[i] < high:
                    if gw.size:
                        add_multiple(-hit[i], x[i], gw[at[i]])
                    if gb.size:
                        gb[at[i]] -= hit[i]


@compiled(
    "void(f4[:, :, ::1], f4[:, ::1], f4[:, ::1], i8[::1], f4[::1], f4[::1], f4[::1],f4[:, ::1], i8)"
)
def add_parts(of_cores, factors, weight, at, hit, smooth, mean, gx, parts):
    """gx = Σ_core factors of_cores - hit W_t - smooth mean, row by row; mean may be empty."""
    for part in prange(parts):
        low, high = share(gx.shape[0], parts, part)
        for i in range(low, high):
            multiple(-hit[i], weight[at[i]], gx[i])
            if mean.size:
                add_multiple(-smooth[i], mean, gx[i])
            for core in range(of_cores.shape[0]):
                add_multiple(factors[core, i], of_cores[core, i], gx[i])


# --- the op -------------------------------------------------------------------------------------
def sweep(
    rows: Any, weight: Any, bias: Any, terms: Terms, wanted: Sequence[str]
) -> tuple[Any, Any, Any, Any]:
    """As the plain op's: losses and gradients, chunk by chunk."""
    (classes, width), count = weight.shape, len(rows)
    rows, weight, at = rows_of(rows), rows_of(weight), rows_of(terms.at.astype(np.int64))
    bias = NO_BIAS if bias is None else rows_of(bias)
    parts = parts_for(count * classes * width)
    tile = min(TILE, -(-classes // parts))
    tiles = -(-classes // tile)
    parts = min(parts, tiles)
    size = min(count, max(ROWS, BYTES // (4 * max(classes, 2 * parts * width))))
    loss = np.empty(count, np.float32)
    gx = np.empty(rows.shape, np.float32) if "x" in wanted else None
    gw, gb, mean, class_weight = np.empty((0, 0), np.float32), NO_BIAS, NO_BIAS, NO_BIAS
    if terms.smooth:
        class_weight = np.ones(classes, np.float32) if terms.weight is None else terms.weight
        mean = class_weight @ weight
    if "weight" in wanted:
        gw = (
            np.outer(class_weight, -(terms.share @ rows)) if terms.smooth else np.zeros_like(weight)
        )
    if "bias" in wanted:
        gb = class_weight * -terms.share.sum() if terms.smooth else np.zeros(classes, np.float32)
    e = np.empty((tiles if wanted else parts, size * tile), np.float32)
    for low in range(0, count, max(1, size)):
        part = slice(low, low + size)
        x, some = rows[part], terms.of(part)
        n = len(x)
        tops, picked = np.empty((parts, n), np.float32), np.empty(n, np.float32)
        sums, spreads = (np.empty((parts, n)) for _ in range(2))
        tiles_forward(
            x, weight, bias, at[part], class_weight, tile,
            e, tops, sums, spreads, picked, tiles, parts,
        )  # fmt: skip
        with np.errstate(invalid="ignore", divide="ignore"):
            top = tops.max(axis=0)
            scale = np.exp(tops - top)
            total = (scale * sums).sum(axis=0)
            log_total = np.log(total)
            loss[part] = some.hit * (log_total - (picked - top))
            if terms.smooth:
                uniform = terms.total * (log_total + top) - spreads.sum(axis=0)
                loss[part] += some.share * uniform
            factors = scale * ((some.hit + some.share * terms.total) / total)
        if not wanted:
            continue
        factors = factors.astype(np.float32)
        scaled = np.empty((parts if gw.size else 0, n, width), np.float32)
        of_cores = np.empty((0 if gx is None else parts, n, width), np.float32)
        tiles_backward(
            x, weight, at[part], some.hit, factors, tile, e, scaled, of_cores, gw, gb, parts
        )
        if gx is not None:
            add_parts(
                of_cores, factors, weight, at[part], some.hit, some.share, mean, gx[part], parts
            )
    return loss, gx, gw if "weight" in wanted else None, gb if "bias" in wanted else None


@kernel(_linear_cross_entropy, device="cpu")
def linear_cross_entropy(
    x: Any,
    weight: Any,
    target: Any,
    bias: Any = None,
    *,
    class_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    wanted: tuple[str, ...] = (),
) -> Any:
    if why := unfit(x, weight, bias):
        return why
    if not weight.size:
        return Declined("no weight")
    options = class_weight, ignore_index, label_smoothing, reduction, wanted
    return swept(sweep, x, weight, target, bias, *options)
