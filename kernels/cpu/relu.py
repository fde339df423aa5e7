"""relu and its gradient on all cores, with the equations of `minigrad.ops.activation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from minigrad import ops
from minigrad.kernel import kernel

ZERO, ONE = np.float32(0.0), np.float32(1.0)


@inner
def positive(x, y):
    for i in range(x.size):
        y[i] = ZERO if x[i] < ZERO else x[i]  # NaN stays


@inner
def passed(g, y, gx):
    for i in range(g.size):
        gx[i] = g[i] * (ONE if y[i] > ZERO else ZERO)


@compiled("void(f4[::1], f4[::1], i8)")
def relu_forward(x, y, parts):
    for part in prange(parts):
        low, high = share(x.size, parts, part)
        positive(x[low:high], y[low:high])


@compiled("void(f4[::1], f4[::1], f4[::1], i8)")
def relu_backward(g, y, gx, parts):
    for part in prange(parts):
        low, high = share(g.size, parts, part)
        passed(g[low:high], y[low:high], gx[low:high])


@kernel(ops.relu, device="cpu")
def relu(x: Any) -> Any:
    if why := unfit(x):
        return why
    y, parts = np.empty(x.shape, np.float32), parts_for(x.size)
    relu_forward(rows_of(x).reshape(-1), y.reshape(-1), parts)

    def pull(g: Any) -> Any:
        gx = np.empty(g.shape, np.float32)
        relu_backward(rows_of(g).reshape(-1), y.reshape(-1), gx.reshape(-1), parts)
        return gx

    return y, pull
