"""Softmax and cross-entropy, some rows per program, with the equations of `minigrad.ops.loss`.

    loss_i = w_i (log Σ_c e^(x_ic - m_i) - (x_it - m_i))        m the maximum, t the target
    mean   = Σ loss_i / Σ w_i                                   w_i = 0 where t is ignored
    gx_ic  = g w_i (p_ic - [c = t]) / Σ w_i                     0 where t is ignored

Rows may be longer than a tile. Sum and maximum are then computed in one pass: where a later part
raises the maximum from m to m', the sum so far is multiplied by e^(m - m'). Kept: m and
1 / Σ e^(x - m) of each row. The backward pass computes the probabilities from them again.
Source: Milakov and Gimelshein, Online Normalizer Calculation for Softmax (2018), algorithm 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import rows_of, tile, warps
from kernels.cuda.launch import launch, unfit
from minigrad import device as devices
from minigrad import ops
from minigrad.indices import check_ids
from minigrad.kernel import Declined, kernel

BLOCK = 4096  # losses added up in one iteration


@triton.jit
def forward_kernel(
    x, target, weight, loss, place, top, inverse, rows, classes, ignore_index,
    WEIGHT: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """x (rows, classes). All others (rows,): the loss, w, m and 1 / Σ e^(x - m)."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    start = i.to(tl.int64) * classes
    m = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    for first in range(0, classes, COLS):
        j = first + tl.arange(0, COLS)
        here = (i < rows)[:, None] & (j < classes)[None, :]
        v = tl.load(x + start[:, None] + j[None, :], mask=here, other=float("-inf"))
        raised = tl.maximum(m, tl.max(v, axis=1))
        shift = tl.where(raised == float("-inf"), 0.0, raised)  # -inf - -inf would be NaN
        total = total * tl.exp(m - shift) + tl.sum(tl.exp(v - shift[:, None]), axis=1)
        m = raised
    shift = tl.where(m == float("-inf"), 0.0, m)
    t = tl.load(target + i, mask=i < rows, other=0)
    counted = t != ignore_index
    t = tl.where(counted, t, 0)
    known = (i < rows) & (t >= 0) & (t < classes)
    picked = tl.load(x + start + t, mask=known, other=float("nan"))
    w = counted.to(tl.float32)
    if WEIGHT:
        w *= tl.load(weight + t, mask=known, other=float("nan"))
    row_loss = tl.where(counted, w * (tl.log(total) - (picked - shift)), 0.0)
    tl.store(loss + i, row_loss, mask=i < rows)
    tl.store(place + i, w, mask=i < rows)
    tl.store(top + i, shift, mask=i < rows)
    tl.store(inverse + i, 1.0 / total, mask=i < rows)


@triton.jit
def total_kernel(loss, place, y, scale, rows, MEAN: tl.constexpr, BLOCK: tl.constexpr):
    """scale = 1 / Σ w, or 1 without MEAN; y = scale Σ loss. One program, always the same order."""
    losses = tl.zeros([BLOCK], tl.float32)
    places = tl.zeros([BLOCK], tl.float32)
    for first in range(0, rows, BLOCK):
        i = first + tl.arange(0, BLOCK)
        losses += tl.load(loss + i, mask=i < rows, other=0.0)
        if MEAN:
            places += tl.load(place + i, mask=i < rows, other=0.0)
    factor = 1.0 / tl.sum(places) if MEAN else 1.0
    tl.store(y, tl.sum(losses) * factor)
    tl.store(scale, factor)


@triton.jit
def backward_kernel(
    g, x, target, place, top, inverse, scale, gx, rows, classes, ignore_index,
    EACH: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """gx (rows, classes); g (rows,) if EACH, else one number, which is multiplied by the scale."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(1) * COLS + tl.arange(0, COLS)
    here = (i < rows)[:, None] & (j < classes)[None, :]
    at = i[:, None].to(tl.int64) * classes + j[None, :]
    factor = tl.load(place + i, mask=i < rows, other=0.0)
    if EACH:
        factor *= tl.load(g + i, mask=i < rows, other=0.0)
    else:
        factor *= tl.load(g) * tl.load(scale)
    t = tl.load(target + i, mask=i < rows, other=0)
    counted = t != ignore_index
    shift = tl.load(top + i, mask=i < rows, other=0.0)
    p = tl.exp(tl.load(x + at, mask=here, other=0.0) - shift[:, None])
    p *= tl.load(inverse + i, mask=i < rows, other=0.0)[:, None]
    hit = (j[None, :] == t[:, None]).to(tl.float32)
    tl.store(gx + at, tl.where(counted[:, None], factor[:, None] * (p - hit), 0.0), mask=here)


@kernel(ops.cross_entropy, device="cuda")
def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    if why := unfit(logits, dtypes=("float32",)):
        return why
    if label_smoothing or reduction not in ("none", "mean", "sum"):
        return Declined("label smoothing" if label_smoothing else "reduction")
    if not (logits.ndim and logits.size):
        return Declined("nothing to do")
    classes = logits.shape[-1]
    if type(target) is not type(logits) or target.dtype.kind not in "iu":
        return Declined("target")
    if target.shape != logits.shape[:-1] or not -(1 << 31) <= ignore_index < 1 << 31:
        return Declined("target")
    if weight is not None and (
        type(weight) is not type(logits) or weight.shape != logits.shape[-1:]
    ):
        return Declined("weight")
    ids = rows_of(target.astype(np.int64, copy=False))
    check_ids(ids, classes, "target", ignored=ignore_index)
    x, rows = rows_of(logits), ids.size
    w = x if weight is None else rows_of(weight.astype(np.float32, copy=False))
    loss, place, top, inverse = (devices.empty(ids.shape, x) for _ in range(4))
    sides = tile(classes)
    blocks = triton.cdiv(rows, sides["ROWS"])
    args = x, ids, w, loss, place, top, inverse, rows, classes, int(ignore_index)
    constants: dict[str, Any] = {"WEIGHT": weight is not None, **sides}
    launch(forward_kernel, (blocks,), args, constants, warps=warps(sides))
    each = reduction == "none"
    y, scale = loss, place
    if not each:
        y, scale = (devices.empty((), x) for _ in range(2))
        constants = {"MEAN": reduction == "mean", "BLOCK": BLOCK}
        launch(total_kernel, (1,), (loss, place, y, scale, rows), constants, warps=8)

    def pull(g: Any) -> Any:
        gx = np.empty_like(x)
        grid = blocks, triton.cdiv(classes, sides["COLS"])
        args = rows_of(g), x, ids, place, top, inverse, scale, gx, rows, classes, int(ignore_index)
        launch(backward_kernel, grid, args, {"EACH": each, **sides}, warps=warps(sides))
        return gx

    return y, (pull, None)
