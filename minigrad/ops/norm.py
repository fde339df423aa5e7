"""Normalizations: subtract a mean, divide by a spread, scale and shift.

All share one derivation. With x̂ = (x - μ) r, r = 1/√(σ² + ε) over n elements, both μ and σ depend
on every element:

    dx̂_i/dx_j = r (δ_ij - 1/n - x̂_i x̂_j / n)        so, with ĝ the gradient of x̂,
    gx = r (ĝ - mean(ĝ) - x̂ mean(ĝ x̂))

With y = x̂ w + b:  ĝ = g w,  gw = Σ g x̂,  gb = Σ g  over all normalized groups.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.graph import Array
from minigrad.modes import no_grad
from minigrad.op import Result, op
from minigrad.ops.elementwise import maximum, mul, rsqrt, square
from minigrad.ops.products import column_dot, column_sum, row_dot, row_sum
from minigrad.ops.reduce import mean, norm, var
from minigrad.ops.shape import reshape
from minigrad.wide import wide, wide_function


def check_affine(x: Array, weight: Array, bias: Array, axis: int) -> None:
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and p.shape != (x.shape[axis],):
            raise ValueError(f"expected {name} ({x.shape[axis]},)")


def as_rows(x: Array) -> Array:
    """x (..., D) as (N, D)"""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def inverse_root(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """1 / √(mean(x²) + ε) over the axes, which are kept with length 1.

    In float64 if float32 cannot hold the squares. On a GPU always, for the host would have to wait
    to know.
    """
    n = max(1, math.prod(x.shape[i] for i in axes))

    def inverse(z: Array) -> Array:
        return np.divide(1.0, np.sqrt(z / n + eps), dtype=x.dtype)

    def exact() -> Array:
        return inverse(np.sum(np.multiply(x, x, dtype=np.float64), axis=axes, keepdims=True))

    if not isinstance(x, np.ndarray):
        return exact()
    with np.errstate(over="ignore"):
        r = inverse(row_dot(x, x) if axes == (-1,) else np.sum(x * x, axis=axes, keepdims=True))
    return r if r.all() else np.where(r == 0.0, exact(), r)


# --- layer_norm -------------------------------------------------------------------------------
def layer_norm_composite(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """`layer_norm` in smaller ops."""
    centered = x - mean(x, axis=-1, keepdims=True)
    y = centered * rsqrt(mean(square(centered), axis=-1, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@op(composite=layer_norm_composite, stacked=("weight", 1))
@wide
def layer_norm(x: Array, weight: Array = None, bias: Array = None, eps: float = 1e-5) -> Result:
    """y = (x - μ) / √(σ² + ε) w + b, over the last axis.    x, y (..., D), w, b (D,)

    σ² is the biased variance. Kept: x̂ and r.
    Source: Ba et al., Layer Normalization (2016), eq. 4.
    """
    check_affine(x, weight, bias, axis=-1)
    x2, size = as_rows(x), max(1, x.shape[-1])
    xhat = x2 - row_sum(x2) / size
    r = inverse_root(xhat, (-1,), eps)
    xhat *= r
    y = xhat.copy() if weight is None else xhat * weight
    if bias is not None:
        y += bias

    def pull(g: Array) -> tuple[Any, ...]:
        g = g.reshape(xhat.shape)
        ghat = g.copy() if weight is None else g * weight
        inner = row_dot(ghat, xhat) / size
        ghat -= row_sum(ghat) / size
        ghat -= xhat * inner
        ghat *= r
        gw = None if weight is None else column_dot(g, xhat)
        return ghat.reshape(x.shape), gw, None if bias is None else column_sum(g)

    return y.reshape(x.shape), pull


# --- rms_norm ---------------------------------------------------------------------------------
def rms_norm_composite(x: Any, weight: Any = None, eps: float = 1e-6) -> Any:
    """`rms_norm` in smaller ops."""
    y = x * rsqrt(mean(square(x), axis=-1, keepdims=True) + eps)
    return y if weight is None else y * weight


@op(composite=rms_norm_composite, stacked=("weight", 1))
@wide
def rms_norm(x: Array, weight: Array = None, eps: float = 1e-6) -> Result:
    """y = x / √(mean(x²) + ε) w, over the last axis.    x, y (..., D), w (D,)

    Like layer_norm without the mean: gx = r (ĝ - x̂ mean(ĝ x̂)).
    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), eq. 4.
    """
    check_affine(x, weight, None, axis=-1)
    x2, size = as_rows(x), max(1, x.shape[-1])
    r = inverse_root(x2, (-1,), eps)
    xhat = x2 * r

    def pull(g: Array) -> tuple[Any, ...]:
        g = g.reshape(xhat.shape)
        ghat = g if weight is None else g * weight
        gx = (ghat - xhat * (row_dot(ghat, xhat) / size)) * r
        gw = None if weight is None else column_dot(g, xhat)
        return gx.reshape(x.shape), gw

    return (xhat if weight is None else xhat * weight).reshape(x.shape), pull


# --- batch_norm -------------------------------------------------------------------------------
def channel_shape(x: Any) -> tuple[int, ...]:
    """The shape in which a (C,) array broadcasts over x (N, C) or (N, C, L)."""
    return (1, x.shape[1], *(1,) * (x.ndim - 2))


def standardize_composite(x: Any, eps: float = 1e-5) -> Any:
    """`standardize` in smaller ops."""
    axes = (0, *range(2, x.ndim))
    centered = x - mean(x, axis=axes, keepdims=True)
    return centered * rsqrt(mean(square(centered), axis=axes, keepdims=True) + eps)


@op(composite=standardize_composite)
@wide
def standardize(x: Array, eps: float = 1e-5) -> Result:
    """x̂ = (x - μ) / √(σ² + ε) with the statistics of each channel.    x (N, C) or (N, C, L)"""
    axes = (0, *range(2, x.ndim))
    xhat = x - x.mean(axis=axes, keepdims=True)
    r = inverse_root(xhat, axes, eps)
    xhat *= r

    def pull(g: Array) -> Array:
        inner = (g * xhat).mean(axis=axes, keepdims=True)
        return r * (g - g.mean(axis=axes, keepdims=True) - xhat * inner)

    return xhat, pull


def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalize each channel of x (N, C) or (N, C, L) over the batch; other arguments are (C,).

    training: use the statistics of this batch, and update the running statistics in place,
              `running += momentum (batch - running)`, with the unbiased variance as PyTorch does.
    Otherwise the running statistics are used. ValueError for one value per channel in training.
    Source: Ioffe and Szegedy, Batch Normalization (2015), algorithm 1.
    """
    if x.ndim not in (2, 3):
        raise ValueError(f"batch_norm: expected x (N, C) or (N, C, L), got {x.shape}")
    check_affine(x, weight, bias, 1)
    shape = channel_shape(x)
    if training:
        count = x.shape[0] * math.prod(x.shape[2:])
        if count < 2:
            raise ValueError(f"batch_norm: expected more than one value a channel, got {x.shape}")
        y = standardize(x, eps=eps)
        if running_mean is not None:
            axes = (0, *range(2, x.ndim))
            with no_grad():
                batch_mean, batch_var = mean(x, axes), var(x, axes, correction=1)
                for running, batch in ((running_mean, batch_mean), (running_var, batch_var)):
                    running.assign_(running + momentum * (batch - running))
    else:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: evaluation needs running_mean and running_var")
        y = (x - reshape(running_mean, shape)) * rsqrt(reshape(running_var, shape) + eps)
    y = y if weight is None else mul(y, reshape(weight, shape))
    return y if bias is None else y + reshape(bias, shape)


@wide_function
def normalize(x: Any, p: float = 2.0, axis: int = -1, eps: float = 1e-12) -> Any:
    """x / max(‖x‖_p, ε) along an axis."""
    return x / maximum(norm(x, p, axis=axis, keepdims=True), eps)
