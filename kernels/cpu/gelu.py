"""gelu: value and derivative in one pass, with the equations of `minigrad.ops.activation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.functions import exp
from kernels.cpu.rows import multiply
from minigrad import ops
from minigrad.kernel import Declined, kernel
from minigrad.modes import is_grad_enabled
from minigrad.ops.elementwise import SQRT_2PI
from minigrad.ops.special import ERFC_P, ERFC_Q, NOTHING, SQRT_2

P0, P1, P2, P3, P4 = map(np.float32, ERFC_P)
Q0, Q1, Q2, Q3, Q4, Q5 = map(np.float32, ERFC_Q)
ZERO, HALF, ONE, END = map(np.float32, (0.0, 0.5, 1.0, NOTHING))
INVERSE_SQRT_2, DENSITY = np.float32(1.0 / SQRT_2), np.float32(1.0 / SQRT_2PI)


@inner
def normal(x):
    """Φ(x) = erfc(-x/√2) / 2, and e^(-x²/2)"""
    z = min(abs(x) * INVERSE_SQRT_2, END)
    e = exp(-z * z)
    p = P0 + z * (P1 + z * (P2 + z * (P3 + z * P4)))
    q = Q0 + z * (Q1 + z * (Q2 + z * (Q3 + z * (Q4 + z * Q5))))
    tail = HALF * e * p / q
    return (tail if x < ZERO else ONE - tail), e


@inner
def values(x, y):
    for i in range(x.size):
        y[i] = x[i] * normal(x[i])[0]


@inner
def values_and_slopes(x, y, slope):
    for i in range(x.size):
        distribution, e = normal(x[i])
        y[i] = x[i] * distribution
        slope[i] = distribution + x[i] * DENSITY * e


@compiled("void(f4[::1], f4[::1], f4[::1], i8)")
def gelu_forward(x, y, slope, parts):
    """slope may be empty."""
    for part in prange(parts):
        low, high = share(x.size, parts, part)
        if slope.size:
            values_and_slopes(x[low:high], y[low:high], slope[low:high])
        else:
            values(x[low:high], y[low:high])


@compiled("void(f4[::1], f4[::1], f4[::1], i8)")
def products(a, b, y, parts):
    for part in prange(parts):
        low, high = share(y.size, parts, part)
        multiply(a[low:high], b[low:high], y[low:high])


@kernel(ops.gelu, device="cpu")
def gelu(x: Any, approximate: str = "none") -> Any:
    if why := unfit(x):
        return why
    if approximate != "none":
        return Declined("not the exact gelu")
    x = rows_of(x)
    y = np.empty(x.shape, np.float32)
    slope = np.empty(x.shape if is_grad_enabled() else 0, np.float32)
    parts = parts_for(x.size)
    gelu_forward(x.reshape(-1), y.reshape(-1), slope.reshape(-1), parts)

    def pull(g: Any) -> Any:
        gx = np.empty(slope.shape, np.float32)
        products(rows_of(g).reshape(-1), slope.reshape(-1), gx.reshape(-1), parts)
        return gx

    return y, pull
