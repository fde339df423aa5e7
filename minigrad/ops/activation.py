"""Activation functions.

All except `glu` work element by element.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minigrad.graph import Array
from minigrad.op import Result, op
from minigrad.ops.elementwise import SQRT_2PI, logistic
from minigrad.ops.index import axis_of
from minigrad.ops.special import normal_distribution
from minigrad.wide import wide

SQRT_2_OVER_PI, CUBIC = math.sqrt(2.0 / math.pi), 0.044715
PIECE = 1 << 16  # elements: four float32 arrays of this size are a megabyte


# --- piecewise linear ---------------------------------------------------------------------------
@op
def relu(x: Array) -> Result:
    """y = max(x, 0).    dy/dx = 1 for y > 0, else 0; x is not kept"""
    y = np.maximum(x, 0)
    return y, lambda g: g * (y > 0)


@op
@wide
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Result:
    """y = x for x > 0, else s x.    dy/dx = 1 or s, s at 0"""
    s = float(negative_slope)
    y = np.maximum(x, 0.0) + s * np.minimum(x, 0.0)  # np.where is ten times slower
    return y, lambda g: g * (s + (1.0 - s) * (x > 0).astype(g.dtype))


# --- gelu -------------------------------------------------------------------------------------
@op
@wide
def gelu(x: Array, approximate: str = "none") -> Result:
    """y = x Φ(x), with Φ(x) = erfc(-x/√2) / 2 the normal distribution function.

    dy/dx = Φ(x) + x φ(x)        φ(x) = e^(-x²/2) / √(2π)

    approximate="tanh": Φ ≈ (1 + tanh u) / 2 = σ(2u) with u = √(2/π) (x + 0.044715 x³), and
    dy/dx = σ(2u) + 2 x u' σ(2u) σ(-2u).

    Kept: dy/dx, computed together with y, and not x.
    Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'expected approximate "none" or "tanh", got {approximate!r}')
    y, slope = in_pieces(gelu_of if approximate == "none" else gelu_tanh_of, x)
    return y, lambda g: g * slope


def gelu_of(x: Array) -> tuple[Array, Array]:
    """(y, dy/dx)"""
    bell = np.exp(-0.5 * x * x)
    distribution = normal_distribution(x, bell)
    return x * distribution, distribution + x * bell * (1.0 / SQRT_2PI)


def gelu_tanh_of(x: Array) -> tuple[Array, Array]:
    """The same for the approximation."""
    z = np.clip(x, -100.0, 100.0)  # where σ(2u) is 0 or 1, before 3 z² and z³ overflow
    z2 = z * z
    double_u = z * (2.0 * SQRT_2_OVER_PI) * (1.0 + CUBIC * z2)
    rise = (2.0 * SQRT_2_OVER_PI) * (1.0 + 3.0 * CUBIC * z2)
    distribution = logistic(double_u)
    return x * distribution, distribution * (1.0 + z * rise * logistic(-double_u))


def in_pieces(f: Callable[[Array], tuple[Array, Array]], x: Array) -> tuple[Array, Array]:
    """f(x), an elementwise function, computed piece by piece.

    For 6 MB gelu takes half the time so, for its thirty passes then stay in the processor's cache.
    """
    if not isinstance(x, np.ndarray):  # an array on a GPU, or a Tensor in a higher derivative
        return f(x)
    y, z = (np.empty_like(x, order="C") for _ in range(2))
    flat_x, flat_y, flat_z = (a.reshape(-1) for a in (x, y, z))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, x.size, PIECE):
            part = slice(start, start + PIECE)
            flat_y[part], flat_z[part] = f(flat_x[part])
    return y, z


# --- smooth -----------------------------------------------------------------------------------
@op
@wide
def silu(x: Array) -> Result:
    """y = x σ(x).    dy/dx = σ (1 + x (1 - σ))"""
    s = logistic(x)

    def pull(g: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return g * s * (1.0 + x * (1.0 - s))

    with np.errstate(invalid="ignore"):  # at -inf, which gives NaN
        return x * s, pull


@op
@wide
def softplus(x: Array) -> Result:
    """y = log(1 + eˣ) = max(x, 0) + log(1 + e^-|x|), where nothing overflows.    dy/dx = σ(x)"""
    y = np.maximum(x, 0.0) + np.log1p(np.exp(-np.absolute(x)))
    return y, lambda g: g * logistic(x)


@op
@wide
def logsigmoid(x: Array) -> Result:
    """y = log σ(x) = min(x, 0) - log(1 + e^-|x|).    dy/dx = σ(-x)"""
    y = np.minimum(x, 0.0) - np.log1p(np.exp(-np.absolute(x)))
    return y, lambda g: g * logistic(-x)


@op
@wide
def elu(x: Array, alpha: float = 1.0) -> Result:
    """y = x for x > 0, else α (eˣ - 1).    dy/dx = 1, or α eˣ, of which y + α loses the digits"""
    alpha = float(alpha)
    y = np.maximum(x, 0.0) + alpha * np.expm1(np.minimum(x, 0.0))
    return y, lambda g: g * np.where(x > 0, 1.0, alpha * np.exp(np.where(x > 0, 0.0, x)))


@op
@wide
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
    return y, lambda g: np.concatenate([g * s, g * y * logistic(-b)], axis)
