"""Ops that combine the elements along axes into fewer.

`axis` is None for all, an int, or a tuple; negative ones count from the end. With keepdims the
reduced axes stay with length 1. In a pullback, `expand` gives the gradient g of the result these
axes of length 1, so that g broadcasts against x.

Ties in max and min share the gradient evenly, as torch.amax does.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.graph import Array
from minigrad.op import Result, inside, op
from minigrad.ops.index import along, axis_of, scatter
from minigrad.protocols import answers
from minigrad.tensor import raw
from minigrad.wide import double, sums, wide

Axis = int | Sequence[int] | None


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front. IndexError for one too large, ValueError for one twice."""
    if axis is None:
        return tuple(range(ndim))
    listed = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(axis_of(a, ndim) for a in listed)  # type: ignore[reportArgumentType]
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis {axis} names an axis twice")
    return axes


def expand(g: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """g with the reduced axes of `shape` back, of length 1."""
    return g.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape)))


def drop(y: Array, axes: tuple[int, ...]) -> Array:
    """y without the reduced axes, which have length 1."""
    return y.reshape(tuple(n for i, n in enumerate(y.shape) if i not in axes))


def count_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod(shape[a] for a in axes)


def refuse_empty(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    if count_of(shape, axes) == 0:
        raise ValueError("there is no such value over an empty axis")


# --- sums -------------------------------------------------------------------------------------
@op(numpy=np.sum)
@sums
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """y = Σ x.    dy/dx_i = 1, so gx = g repeated over the axes"""
    axes, shape = axes_of(axis, x.ndim), x.shape
    y = x.sum(axis=axes, keepdims=keepdims)
    return y, lambda g: np.broadcast_to(expand(g, shape, axes), shape)


@op(numpy=np.mean)
@wide
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """y = Σ x / n.    dy/dx_i = 1/n.    NaN over an empty axis"""
    axes, shape = axes_of(axis, x.ndim), x.shape
    n = count_of(shape, axes)
    y = x.sum(axis=axes, keepdims=keepdims) / (n or math.nan)
    return y, lambda g: np.broadcast_to(expand(g / builtins.max(n, 1), shape, axes), shape)


@op(numpy=np.var)
@wide
def var(x: Array, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Result:
    """y = Σ (x - μ)² / (n - correction).    correction=1 estimates the variance of a population

    dy/dx_i = 2 (x_i - μ) / (n - correction): the term through μ has the factor Σ (x - μ) = 0.
    Kept: x and μ. NaN where n - correction is not positive.
    """
    axes = axes_of(axis, x.ndim)
    n = builtins.max(count_of(x.shape, axes) - correction, 0)
    mu = x.mean(axis=axes, keepdims=True) if x.size else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.sum(np.square(x - mu), axis=axes, keepdims=keepdims) / n

    def pull(g: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return expand(2.0 * g, x.shape, axes) * (x - mu) / n

    return y, pull


@op(numpy=np.std)
@double
def std(x: Array, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Result:
    """y = √var(x).    dy/dx_i = (x_i - μ) / (y (n - correction)), 0 where y = 0"""
    axes = axes_of(axis, x.ndim)
    n = builtins.max(count_of(x.shape, axes) - correction, 0)
    centered = x - (x.mean(axis=axes, keepdims=True) if x.size else 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        y, inverse = root(np.sum(centered * centered, axis=axes, keepdims=True) / n, 2.0)

    def pull(g: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return expand(g, x.shape, axes) * inverse * centered / n

    return y if keepdims else drop(y, axes), pull


def root(z: Array, p: float) -> tuple[Array, Array]:
    """y = z^(1/p) and 1 / y; at z = 0, where the slope is infinite, both are 0 and constant."""
    zero = raw(z) == 0.0
    safe = np.sqrt(z + zero) if p == 2.0 else (z + zero) ** (1.0 / p)
    return safe - zero, ~zero / safe


@op(numpy=np.cumsum)
@sums
def cumsum(x: Array, axis: int | None = None) -> Result:
    """y_i = x_0 + ... + x_i; without an axis, of x flattened.

    x_j is part of every y_i with i >= j, so gx is the sum of g from the end.
    """
    shape = x.shape
    at = 0 if axis is None else axis_of(axis, x.ndim)
    y = np.cumsum(x if axis is not None else x.reshape(-1), axis=at)
    return y, lambda g: np.flip(np.cumsum(np.flip(g, at), axis=at), at).reshape(shape)


# --- products ---------------------------------------------------------------------------------
def prod_composite(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """`prod` in smaller ops: multiply the halves of the axis until one element is left."""
    axes, shape = axes_of(axis, x.ndim), x.shape
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    y = x.transpose((*rest, *axes)).reshape((*(shape[i] for i in rest), count_of(shape, axes)))
    while y.shape[-1] > 1:
        half = y.shape[-1] // 2
        odd = y[..., 2 * half :]
        y = np.concatenate([y[..., :half] * y[..., half : 2 * half], odd], axis=-1)
    y = y.reshape(tuple(shape[i] for i in rest)) if y.shape[-1] else y.sum(axis=-1) + 1.0
    return expand(y, shape, axes) if keepdims else y


@op(numpy=np.prod, composite=prod_composite)
@sums
def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """y = Π x.    dy/dx_i = Π_(j≠i) x_j

    That product is the running product up to i times the one from the end down to i, both without
    x_i; y / x_i would be wrong where x_i = 0.
    """
    axes, shape = axes_of(axis, x.ndim), x.shape
    rest = tuple(i for i in range(x.ndim) if i not in axes)

    def pull(g: Array) -> Array:
        moved = np.transpose(x, (*rest, *axes))
        flat = moved.reshape((*(shape[i] for i in rest), count_of(shape, axes)))
        with np.errstate(over="ignore", invalid="ignore"):
            others = running_product(flat) * running_product(flat[..., ::-1])[..., ::-1]
        order = (*rest, *axes)
        back = tuple(order.index(i) for i in range(len(order)))
        return np.transpose(others.reshape(moved.shape), back) * expand(g, shape, axes)

    with np.errstate(over="ignore", invalid="ignore"):
        y = np.prod(x, axis=axes, keepdims=keepdims)
    return y, pull


def running_product(x: Array) -> Array:
    """x_0 ... x_(i-1) at place i of the last axis."""
    y = np.ones_like(x)
    y[..., 1:] = np.cumprod(x[..., :-1], axis=-1)
    return y


# --- the largest, the smallest ------------------------------------------------------------------
def share(g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Array:
    """g divided evenly among the places where x = y."""
    chosen = (x == expand(y, x.shape, axes)).astype(g.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN is chosen nowhere
        return chosen * (expand(g, x.shape, axes) / np.sum(chosen, axis=axes, keepdims=True))


@op(numpy=(np.max, np.amax))
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """y = the largest.    The gradient goes to the largest, in equal shares if there are several"""
    axes = axes_of(axis, x.ndim)
    refuse_empty(x.shape, axes)
    y = x.max(axis=axes, keepdims=keepdims)
    return y, lambda g: share(g, x, y, axes)


@op(numpy=(np.min, np.amin))
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """y = the smallest.    The gradient goes to the smallest, in equal shares if several"""
    axes = axes_of(axis, x.ndim)
    refuse_empty(x.shape, axes)
    y = x.min(axis=axes, keepdims=keepdims)
    return y, lambda g: share(g, x, y, axes)


@op(numpy=np.argmax)
def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Result:
    """y = the place of the largest, the first of several; without an axis, in x flattened."""
    refuse_empty(x.shape, axes_of(axis, x.ndim))
    return np.argmax(x, axis=axis, keepdims=keepdims), None


@op(numpy=np.argmin)
def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Result:
    """y = the place of the smallest, the first of several; without an axis, in x flattened."""
    refuse_empty(x.shape, axes_of(axis, x.ndim))
    return np.argmin(x, axis=axis, keepdims=keepdims), None


# --- smooth reductions --------------------------------------------------------------------------
@op
@wide
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """y = log Σ eˣ.    dy/dx_i = e^(x_i - y), which is softmax

    Computed as m + log Σ e^(x - m) with m = max x, which cannot overflow. If several x are inf,
    they share the gradient evenly. If all are -inf, or there are none: y = -inf, with gradient 0.
    """
    axes = axes_of(axis, x.ndim)
    m = np.max(raw(x), axis=axes, keepdims=True) if x.size else -math.inf  # a constant: it cancels
    same = np.isinf(m) & (raw(x) == m)  # their difference would be NaN
    with np.errstate(divide="ignore", invalid="ignore"):
        e = np.exp(np.where(same, 0.0, x - m))
        total = np.sum(e, axis=axes, keepdims=True)
        y = np.log(total) + m
    counted = m > -math.inf
    return y if keepdims else drop(y, axes), (
        lambda g: expand(g, x.shape, axes) * e * (counted / total)
    )


@op(numpy=np.linalg.vector_norm)
@double
def norm(x: Array, ord: float = 2.0, axis: Axis = None, keepdims: bool = False) -> Result:
    """y = (Σ |x|^p)^(1/p) with p = ord >= 1, or max |x| for p = inf.

    dy/dx_i = sign(x_i) (|x_i| / y)^(p-1), 0 where y = 0.    For p = inf, sign(x_i) shared by ties
    """
    if not ord >= 1.0:
        raise ValueError(f"expected ord >= 1, got {ord}")
    axes, p = axes_of(axis, x.ndim), float(ord)
    if p == math.inf:
        refuse_empty(x.shape, axes)
        y = np.max(np.absolute(x), axis=axes, keepdims=keepdims)
        return y, lambda g: share(g, np.absolute(x), y, axes) * np.sign(x)
    with np.errstate(over="ignore"):
        powers = x * x if p == 2.0 else np.absolute(x) ** p
        y, inverse = root(np.sum(powers, axis=axes, keepdims=True), p)

    def pull(g: Array) -> Array:
        g = expand(g, x.shape, axes)
        if p == 2.0:
            return g * (x * inverse)
        part = np.where(raw(x) == 0.0, 1.0, np.absolute(x) * inverse)  # 0^(p-1) has a pole
        return g * np.sign(x) * part ** (p - 1.0)

    return y if keepdims else drop(y, axes), pull


@answers(np.linalg.norm)
def _numpy_norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    if ord is not None and len(axes_of(axis, x.ndim)) > 1:
        raise ValueError(f"norm: ord={ord} over two axes is a matrix norm, which is not an op here")
    return norm(x, 2.0 if ord is None else ord, axis, keepdims)


# --- order ------------------------------------------------------------------------------------
@op
def sort(x: Array, axis: int = -1, descending: bool = False) -> Result:
    """(x in ascending order along an axis, the places that the values had in x).

    Equal values keep their order. The values are a permutation of x, so gx = g in the places in x.
    """
    axis = axis_of(axis, x.ndim)
    order = order_of(x, axis, descending)
    index, shape = along(x, order, axis), x.shape
    return (x[index], order), lambda gs: inside(scatter, gs[0], index, shape)


def order_of(x: Any, axis: int, descending: bool) -> Array:
    """The places of the values in order; equal values keep theirs, in both directions."""
    x = raw(x)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)


@answers(np.sort)
def _numpy_sort(x: Any, axis: int | None = -1, kind: Any = None, stable: Any = None) -> Any:
    return sorted_as_numpy(x, axis, kind, stable)[0]


@answers(np.argsort)
def _numpy_argsort(x: Any, axis: int | None = -1, kind: Any = None, stable: Any = None) -> Any:
    return sorted_as_numpy(x, axis, kind, stable)[1]


def sorted_as_numpy(x: Any, axis: int | None, kind: Any, stable: Any) -> Any:
    """Values and places. Every `kind` of sorting keeps the order of equal values here."""
    np.sort([], kind=kind, stable=stable)  # an error for a wrong kind
    return sort(x.reshape(-1), 0) if axis is None else sort(x, axis)


@op
def topk(x: Array, k: int, axis: int = -1, largest: bool = True) -> Result:
    """(the k largest along an axis, in descending order, and their places).

    With largest=False the k smallest, in ascending order.

    gx = g in those places, 0 elsewhere
    """
    axis = axis_of(axis, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"expected 0 <= k <= {x.shape[axis]}, the length of the axis, got {k}")
    order = order_of(x, axis, largest)[(*(slice(None),) * axis, slice(k))]
    index, shape = along(x, order, axis), x.shape
    return (x[index], order), lambda gs: inside(scatter, gs[0], index, shape)
