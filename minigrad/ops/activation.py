"""Activation functions.

All work element by element but `glu`. gelu, which transformers spend real time in, goes through
large float32 arrays in pieces that stay in the processor's cache; the rest is plain.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.graph import Array, is_grad_enabled
from minigrad.op import Result, op
from minigrad.ops.elementwise import SQRT_2, SQRT_2PI, erf
from minigrad.ops.index import axis_of
from minigrad.ops.special import CHUNK, erf_array, erf_into

SQRT_2_OVER_PI, CUBIC = math.sqrt(2.0 / math.pi), 0.044715


def logistic(x: Array) -> Array:
    """σ(x) = 1 / (1 + e⁻ˣ), as (1 + tanh(x/2)) / 2, which cannot overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


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
    y, slope = (
        np.empty_like(x, order="C"),
        np.empty_like(x, order="C") if is_grad_enabled() else None,
    )
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    size = CHUNK if isinstance(x, np.ndarray) else max(x.size, 1)  # a GPU takes all at once
    u, v = np.empty_like(flat_x[:size]), np.empty_like(flat_x[:size])
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, x.size, size):
            part = slice(start, start + size)
            d = None if slope is None else slope.reshape(-1)[part]
            n = flat_x[part].size
            piece(flat_x[part], flat_y[part], d, u[:n], v[:n])
    return y, lambda g: g * slope


def gelu_piece(x: Array, y: Array, slope: Array, u: Array, v: Array) -> None:
    """Write y = x Φ(x) and, if asked for, its derivative. u and v are scratch."""
    np.multiply(x, 1.0 / SQRT_2, out=v)
    if isinstance(x, np.ndarray) and x.dtype == np.float32:
        erf_into(v, y, u)
    else:
        y[...] = erf_array(v)
    np.add(y, 1.0, out=y)
    np.multiply(y, 0.5, out=y)  # Φ
    if slope is not None:
        np.multiply(v, v, out=u)
        np.negative(u, out=u)
        np.exp(u, out=u)
        np.multiply(u, x, out=u)
        np.multiply(u, 1.0 / SQRT_2PI, out=u)
        np.add(u, y, out=slope)
    np.multiply(y, x, out=y)


def gelu_tanh_piece(x: Array, y: Array, slope: Array, u: Array, v: Array) -> None:
    """The same for the approximation, with v = tanh u."""
    k = SQRT_2_OVER_PI
    np.multiply(x, x, out=u)
    np.multiply(u, k * CUBIC, out=v)
    np.add(v, k, out=v)
    np.multiply(v, x, out=v)
    np.tanh(v, out=v)
    np.add(v, 1.0, out=y)
    np.multiply(y, 0.5, out=y)  # Φ
    if slope is not None:
        np.multiply(u, 3.0 * k * CUBIC, out=u)
        np.add(u, k, out=u)  # u'
        np.multiply(u, x, out=u)
        np.multiply(v, v, out=v)
        np.subtract(1.0, v, out=v)
        np.multiply(u, v, out=u)
        np.multiply(u, 0.5, out=u)
        np.add(u, y, out=slope)
    np.multiply(y, x, out=y)


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
