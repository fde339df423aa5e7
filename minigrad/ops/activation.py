"""Activation functions.

All work element by element but `glu`. gelu, which transformers spend real time in, goes through
large float32 arrays in pieces that stay in the processor's cache; the rest is plain.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.graph import Array
from minigrad.modes import is_grad_enabled
from minigrad.op import Result, op
from minigrad.ops.elementwise import SQRT_2, SQRT_2PI, erf, logistic
from minigrad.ops.index import axis_of
from minigrad.ops.special import ERF_P, chunks, erf_array, erf_into

SQRT_2_OVER_PI, CUBIC = math.sqrt(2.0 / math.pi), 0.044715
GELU_P = tuple(c / SQRT_2 / 2.0**k for k, c in enumerate(ERF_P))  # erf(x/√2) = tanh(x P(x²/2)/√2)


# --- piecewise linear ---------------------------------------------------------------------------
@op
def relu(x: Array) -> Result:
    """y = max(x, 0).    dy/dx = 1 for x > 0, else 0; seen from y, so x need not be kept"""
    y = np.maximum(x, 0)
    return y, lambda g: g * (y > 0)


@op
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Result:
    """y = x for x > 0, else s x.    dy/dx = 1 or s, s at 0"""
    s = float(negative_slope)
    y = np.maximum(x, 0.0) + s * np.minimum(x, 0.0)  # np.where is ten times slower
    return y, lambda g: g * (s + (1.0 - s) * (x > 0).astype(g.dtype))


# --- gelu -------------------------------------------------------------------------------------
def gelu_composite(x: Any, approximate: str = "none") -> Any:
    """`gelu` spelled in smaller ops."""
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)))
    return 0.5 * x * (1.0 + erf(x / SQRT_2))


@op(composite=gelu_composite)
def gelu(x: Array, approximate: str = "none") -> Result:
    """y = x Φ(x), with Φ(x) = (1 + erf(x/√2)) / 2 the normal distribution function.

    dy/dx = Φ(x) + x φ(x)        φ(x) = e^(-x²/2) / √(2π)

    approximate="tanh": Φ ≈ (1 + tanh u) / 2 with u = √(2/π) (x + 0.044715 x³), and
    dy/dx = (1 + tanh u) / 2 + x (1 - tanh² u) u' / 2.

    Kept: dy/dx, found along with y, and not x. Source: Hendrycks and Gimpel, Gaussian Error Linear
    Units (2016), section 2.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'expected approximate "none" or "tanh", got {approximate!r}')
    piece = gelu_tanh_piece if approximate == "tanh" else gelu_piece
    if x.dtype.kind != "f":
        x = x.astype(np.float32)
    y = np.empty_like(x, order="C")
    slope = np.empty_like(x, order="C") if is_grad_enabled() else None
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    flat_slope = None if slope is None else slope.reshape(-1)

    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for part in chunks(x):
            d = None if flat_slope is None else flat_slope[part]
            piece(flat_x[part], flat_y[part], d)
    return y, lambda g: g * slope


def gelu_piece(x: Array, y: Array, slope: Array | None) -> None:
    """Write y = x Φ(x) and, if asked for, its derivative."""
    u = np.empty_like(x)
    if isinstance(x, np.ndarray) and x.dtype == np.float32:
        erf_into(x, y, u, GELU_P)
    else:
        y[...] = erf_array(x * (1.0 / SQRT_2))
        np.multiply(x, x, out=u)
    y *= 0.5
    y += 0.5  # Φ
    if slope is not None:
        u *= -0.5
        np.exp(u, out=u)
        u *= x
        u *= 1.0 / SQRT_2PI
        np.add(u, y, out=slope)
    y *= x


def gelu_tanh_piece(x: Array, y: Array, slope: Array | None) -> None:
    """The same for the approximation."""
    k = SQRT_2_OVER_PI
    x2 = x * x
    t = np.tanh((x2 * (k * CUBIC) + k) * x)
    np.multiply(t + 1.0, 0.5, out=y)  # Φ
    if slope is not None:
        inner = x2 * (3.0 * k * CUBIC) + k  # u'
        np.add(y, 0.5 * x * (1.0 - t * t) * inner, out=slope)
    y *= x


# --- smooth -----------------------------------------------------------------------------------
@op
def silu(x: Array) -> Result:
    """y = x σ(x).    dy/dx = σ (1 + x (1 - σ))"""
    s = logistic(x)

    def pull(g: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return g * s * (1.0 + x * (1.0 - s))

    with np.errstate(invalid="ignore"):  # at -inf, which gives NaN
        return x * s, pull


@op
def softplus(x: Array) -> Result:
    """y = log(1 + eˣ) = max(x, 0) + log(1 + e^-|x|), where nothing overflows.    dy/dx = σ(x)"""
    y = np.maximum(x, 0.0) + np.log1p(np.exp(-np.absolute(x)))
    return y, lambda g: g * logistic(x)


@op
def logsigmoid(x: Array) -> Result:
    """y = log σ(x) = min(x, 0) - log(1 + e^-|x|).    dy/dx = σ(-x)"""
    y = np.minimum(x, 0.0) - np.log1p(np.exp(-np.absolute(x)))
    return y, lambda g: g * logistic(-x)


@op
def elu(x: Array, alpha: float = 1.0) -> Result:
    """y = x for x > 0, else α (eˣ - 1).    dy/dx = 1, or α eˣ = y + α"""
    alpha = float(alpha)
    y = np.maximum(x, 0.0) + alpha * np.expm1(np.minimum(x, 0.0))
    return y, lambda g: g * np.where(x > 0, 1.0, y + alpha)


@op
def glu(x: Array, axis: int = -1) -> Result:
    """y = a σ(b), a and b the first and the second half of x.    x (..., 2n) -> y (..., n)

    ga = g σ(b)        gb = g a σ(b) (1 - σ(b))
    """
    axis = axis_of(axis, x.ndim)
    if x.shape[axis] % 2:
        raise ValueError(f"expected an even length along axis {axis}, got {x.shape[axis]}")
    a, b = np.split(x, 2, axis)
    s = logistic(b)
    y = a * s
    return y, lambda g: np.concatenate([g * s, g * y * (1.0 - s)], axis)
