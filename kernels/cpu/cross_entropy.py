"""Softmax and cross-entropy, row by row, with the equations of `minigrad.ops.loss`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.functions import exp, greatest
from kernels.cpu.rows import multiple, multiplied
from minigrad import ops
from minigrad.kernel import Declined, kernel
from minigrad.ops.loss import class_weights

ZERO, ONE = np.float32(0.0), np.float32(1.0)


@inner
def exponentials(x, top, p):
    """p = e^(x - top). Returns the sum."""
    total = np.float32(0.0)
    for j in range(x.size):
        p[j] = exp(x[j] - top)
        total += p[j]
    return total


@compiled("void(f4[:, ::1], i8[::1], f4[:, ::1], f4[::1], i8)")
def rows_forward(x, target, p, loss, parts):
    """p = softmax(x) and the loss -log p[target] of each row; rows with target -1 are skipped."""
    for part in prange(parts):
        low, high = share(x.shape[0], parts, part)
        for i in range(low, high):
            loss[i] = ZERO
            if target[i] < 0:
                continue
            top = greatest(x[i])
            total = exponentials(x[i], top, p[i])
            multiplied(p[i], ONE / total)
            loss[i] = np.log(total) - (x[i, target[i]] - top)


@compiled("void(f4[:, ::1], i8[::1], f4[::1], f4[:, ::1], i8)")
def rows_backward(p, target, factor, gx, parts):
    """gx = factor (p - onehot), 0 where the target is -1."""
    for part in prange(parts):
        low, high = share(p.shape[0], parts, part)
        for i in range(low, high):
            if target[i] < 0:
                gx[i, :] = ZERO
                continue
            multiple(factor[i], p[i], gx[i])
            gx[i, target[i]] -= factor[i]


@kernel(ops.cross_entropy, device="cpu")
def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    if why := unfit(logits):
        return why
    if label_smoothing or reduction not in ("none", "mean", "sum"):
        return Declined("label smoothing" if label_smoothing else "reduction")
    if not (logits.ndim and logits.size):
        return Declined("nothing to do")
    if target.dtype.kind == "f":
        return Declined("probabilities")
    if weight is not None and weight.shape != logits.shape[-1:]:
        return Declined("weight")
    weight = None if weight is None else weight.astype(np.float32)
    ids, place, counted = class_weights(logits, target, weight, ignore_index)
    x = rows_of(logits).reshape(-1, logits.shape[-1])
    flat = np.ascontiguousarray(np.where(counted, ids, -1), np.int64).reshape(-1)
    place = place.reshape(-1)
    p, loss = np.empty_like(x), np.empty(len(x), np.float32)
    parts = parts_for(x.size)
    rows_forward(x, flat, p, loss, parts)
    loss *= place
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = place / place.sum() if reduction == "mean" else place

    def pull(g: Any) -> Any:
        gx = np.empty_like(p)
        each = (g.reshape(-1) if reduction == "none" else g) * scale
        rows_backward(p, flat, each, gx, parts)
        return gx.reshape(logits.shape)

    if reduction == "none":
        return loss.reshape(ids.shape), (pull, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        return loss.sum() / (place.sum() if reduction == "mean" else 1.0), (pull, None)
