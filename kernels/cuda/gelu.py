"""gelu: value and derivative in one pass, with the equations of `minigrad.ops.activation`.

exact:  Φ(x) = (1 + erf(x/√2)) / 2        y = x Φ        dy/dx = Φ + x e^(-x²/2) / √(2π)
tanh:   Φ(x) ≈ (1 + tanh u) / 2, u = √(2/π) (x + 0.044715 x³)
        dy/dx = Φ + x (1 - tanh² u) u' / 2
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import TOO_LARGE, rows_of
from kernels.cuda.functions import tanh
from kernels.cuda.launch import launch, unfit
from minigrad import ops
from minigrad.kernel import Declined, kernel
from minigrad.modes import is_grad_enabled
from minigrad.ops.activation import CUBIC, SQRT_2_OVER_PI
from minigrad.ops.elementwise import SQRT_2, SQRT_2PI

BLOCK = 1024
INVERSE_SQRT_2, DENSITY = tl.constexpr(1.0 / SQRT_2), tl.constexpr(1.0 / SQRT_2PI)
LINEAR_TERM, CUBIC_TERM = tl.constexpr(SQRT_2_OVER_PI), tl.constexpr(SQRT_2_OVER_PI * CUBIC)


@triton.jit
def gelu_kernel(x, y, slope, size, EXACT: tl.constexpr, SLOPE: tl.constexpr, BLOCK: tl.constexpr):
    """y and, if SLOPE, dy/dx."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = i < size
    v = tl.load(x + i, mask=here, other=0.0).to(tl.float32)
    if EXACT:
        normal = 0.5 + 0.5 * tl.erf(v * INVERSE_SQRT_2)
    else:
        t = tanh(v * (LINEAR_TERM + CUBIC_TERM * v * v))
        normal = 0.5 + 0.5 * t
    tl.store(y + i, v * normal, mask=here)
    if SLOPE:
        if EXACT:
            rise = v * DENSITY * tl.exp(-0.5 * v * v)
        else:
            rise = 0.5 * v * (1.0 - t * t) * (LINEAR_TERM + 3.0 * CUBIC_TERM * v * v)
        tl.store(slope + i, normal + rise, mask=here)


@kernel(ops.gelu, device="cuda")
def gelu(x: Any, approximate: str = "none") -> Any:
    if why := unfit(x):
        return why
    if approximate not in ("none", "tanh") or x.size >= TOO_LARGE:
        return Declined("approximation" if x.size < TOO_LARGE else "too large")
    x = rows_of(x)
    y = np.empty_like(x)
    wanted = is_grad_enabled()
    slope = np.empty_like(x) if wanted else y
    constants = {"EXACT": approximate == "none", "SLOPE": wanted, "BLOCK": BLOCK}
    launch(gelu_kernel, (triton.cdiv(x.size, BLOCK),), (x, y, slope, x.size), constants)
    return y, lambda g: g * slope
