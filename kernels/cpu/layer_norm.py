"""layer_norm, row by row, with the equations of `minigrad.ops.norm`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.rows import add_to
from minigrad import ops
from minigrad.kernel import Declined, kernel

ZERO, ONE = np.float32(0.0), np.float32(1.0)
MOST = np.float32(3e38)
SMALL = np.float32(2.0**-76)  # times the largest float32 is 4.5e15: squares of it can be summed


# --- one row ----------------------------------------------------------------------------------
@inner
def mean_of(x):
    total = ZERO
    for j in range(x.size):
        total += x[j]
    return total / np.float32(x.size)


@inner
def centered(x, mean, y):
    """y = x - mean. Returns the mean of y²."""
    total = ZERO
    for j in range(x.size):
        d = x[j] - mean
        y[j] = d
        total += d * d
    return total / np.float32(x.size)


@inner
def small_mean_square(x):
    """The mean of (SMALL x)²."""
    total = ZERO
    for j in range(x.size):
        d = x[j] * SMALL
        total += d * d
    return total / np.float32(x.size)


@inner
def scaled(x, r, weight, bias, y):
    for j in range(x.size):
        x[j] *= r
        y[j] = x[j] * weight[j] + bias[j]


@inner
def means(g, weight, xhat):
    """The means of ĝ = g w and of ĝ x̂."""
    first, second = ZERO, ZERO
    for j in range(g.size):
        ghat = g[j] * weight[j]
        first += ghat
        second += ghat * xhat[j]
    return first / np.float32(g.size), second / np.float32(g.size)


@inner
def input_gradient(g, weight, xhat, first, second, r, gx):
    for j in range(g.size):
        gx[j] = (g[j] * weight[j] - first - xhat[j] * second) * r


@inner
def add_products(a, b, y):
    for j in range(y.size):
        y[j] += a[j] * b[j]


# --- all rows ---------------------------------------------------------------------------------
@compiled("void(f4[:, ::1], f4[::1], f4[::1], f4, f4[:, ::1], f4[::1], f4[:, ::1], i8)")
def rows_forward(x, weight, bias, eps, xhat, r, y, parts):
    for part in prange(parts):
        low, high = share(x.shape[0], parts, part)
        for i in range(low, high):
            variance = centered(x[i], mean_of(x[i]), xhat[i])
            if variance > MOST:  # the squares overflow; eps is negligible beside the variance
                r[i] = SMALL / np.sqrt(small_mean_square(xhat[i]))
            else:
                r[i] = ONE / np.sqrt(variance + eps)
            scaled(xhat[i], r[i], weight, bias, y[i])


@compiled("void(f4[:, ::1], f4[::1], f4[:, ::1], f4[::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], i8)")
def rows_backward(g, weight, xhat, r, gx, gw, gb, parts):
    """gw and gb are sums, one row a part; a part adds up in memory that no other core writes to."""
    for part in prange(parts):
        low, high = share(g.shape[0], parts, part)
        for_weight, for_bias = np.zeros_like(weight), np.zeros_like(weight)
        for i in range(low, high):
            first, second = means(g[i], weight, xhat[i])
            input_gradient(g[i], weight, xhat[i], first, second, r[i], gx[i])
            add_products(g[i], xhat[i], for_weight)
            add_to(for_bias, g[i])
        gw[part, :], gb[part, :] = for_weight, for_bias


@kernel(ops.layer_norm, device="cpu")
def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    if why := unfit(x, weight, bias):
        return why
    size = x.shape[-1] if x.ndim else 0
    if not (size and x.size) or any(p is not None and p.shape != (size,) for p in (weight, bias)):
        return Declined("shapes")
    x2 = rows_of(x).reshape(-1, size)
    w = np.ones(size, np.float32) if weight is None else rows_of(weight)
    b = np.zeros(size, np.float32) if bias is None else rows_of(bias)
    xhat, y, r = np.empty_like(x2), np.empty_like(x2), np.empty(len(x2), np.float32)
    parts, shape = parts_for(x.size), x.shape
    rows_forward(x2, w, b, eps, xhat, r, y, parts)

    def pull(g: Any) -> tuple[Any, ...]:
        gx = np.empty_like(xhat)
        gw, gb = (np.empty((parts, size), np.float32) for _ in range(2))
        rows_backward(rows_of(g).reshape(xhat.shape), w, xhat, r, gx, gw, gb, parts)
        return (
            gx.reshape(shape),
            None if weight is None else gw.sum(axis=0),
            None if bias is None else gb.sum(axis=0),
        )

    return y.reshape(shape), pull
