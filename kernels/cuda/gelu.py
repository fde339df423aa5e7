"""gelu: value and derivative in one pass, with the equations of `minigrad.ops.activation`.

exact:  Φ(x) = erfc(-x/√2) / 2        y = x Φ        dy/dx = Φ + x e^(-x²/2) / √(2π)
tanh:   Φ(x) ≈ σ(2u), u = √(2/π) (x + 0.044715 x³)
        dy/dx = Φ (1 + 2 x u' σ(-2u))
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import TOO_LARGE, rows_of
from kernels.cuda.launch import launch, unfit
from minigrad import ops
from minigrad.kernel import Declined, kernel
from minigrad.modes import is_grad_enabled
from minigrad.ops.activation import CUBIC, SQRT_2_OVER_PI
from minigrad.ops.elementwise import SQRT_2PI
from minigrad.ops.special import ERFC_P, ERFC_Q, NOTHING, SQRT_2

BLOCK = 1024
INVERSE_SQRT_2, DENSITY = tl.constexpr(1.0 / SQRT_2), tl.constexpr(1.0 / SQRT_2PI)
LINEAR_TERM, CUBIC_TERM = tl.constexpr(2.0 * SQRT_2_OVER_PI), tl.constexpr(CUBIC)
P0, P1, P2, P3, P4 = map(tl.constexpr, ERFC_P)
Q0, Q1, Q2, Q3, Q4, Q5 = map(tl.constexpr, ERFC_Q)
END = tl.constexpr(NOTHING)


@triton.jit
def gelu_kernel(x, y, slope, size, EXACT: tl.constexpr, SLOPE: tl.constexpr, BLOCK: tl.constexpr):
    """Writes y and, if SLOPE, dy/dx."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = i < size
    v = tl.load(x + i, mask=here, other=0.0).to(tl.float32)
    if EXACT:
        z = tl.abs(v) * INVERSE_SQRT_2
        z = tl.where(z > END, END, z)  # NaN stays
        e = tl.exp(-z * z)
        p = P0 + z * (P1 + z * (P2 + z * (P3 + z * P4)))
        q = Q0 + z * (Q1 + z * (Q2 + z * (Q3 + z * (Q4 + z * Q5))))
        tail = 0.5 * e * p / q
        normal = tl.where(v < 0.0, tail, 1.0 - tail)
        derivative = normal + v * DENSITY * e
    else:
        z = tl.where(v > 100.0, 100.0, tl.where(v < -100.0, -100.0, v))  # as in the plain op
        double_u = z * LINEAR_TERM * (1.0 + CUBIC_TERM * z * z)
        normal = tl.sigmoid(double_u)
        rise = LINEAR_TERM * (1.0 + 3.0 * CUBIC_TERM * z * z)
        derivative = normal * (1.0 + z * rise * tl.sigmoid(-double_u))
    tl.store(y + i, v * normal, mask=here)
    if SLOPE:
        tl.store(slope + i, derivative, mask=here)


@kernel(ops.gelu, device="cuda")
def gelu(x: Any, approximate: str = "none") -> Any:
    if why := unfit(x):
        return why
    if approximate not in ("none", "tanh") or x.size >= TOO_LARGE:
        return Declined("approximation" if x.size < TOO_LARGE else "too large")
    x = rows_of(x)
    y = np.empty_like(x)
    with_slope = is_grad_enabled()
    slope = np.empty_like(x) if with_slope else y
    constants = {"EXACT": approximate == "none", "SLOPE": with_slope, "BLOCK": BLOCK}
    launch(gelu_kernel, (triton.cdiv(x.size, BLOCK),), (x, y, slope, x.size), constants)
    return y, lambda g: g * slope
