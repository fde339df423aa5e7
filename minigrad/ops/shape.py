"""Ops that move, repeat or drop elements without computing anything new.

Each of them is y_j = x_p(j) for some map p of places. The gradient of x_i is the sum of the g_j
over all j with p(j) = i: for a permutation g moved back, for a repetition a sum, for a selection
zeros elsewhere. No rule keeps an array; shapes are enough.
"""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import check_fit
from minigrad.graph import Array, unbroadcast
from minigrad.joining import concatenated, neighbours, stacked
from minigrad.op import Result, inside, op
from minigrad.ops.index import axis_of, scatter
from minigrad.protocols import answers
from minigrad.tensor import raw

Axes = int | tuple[int, ...]


def listed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """f(2, 3) and f((2, 3)) mean the same."""
    if len(values) == 1 and not isinstance(values[0], (int, np.integer)):
        return () if values[0] is None else tuple(values[0])
    return values


# --- the same elements in another shape ---------------------------------------------------------
@op(numpy=np.reshape)
def reshape(x: Array, *shape: Any) -> Result:
    """y = the elements of x in row-major order in another shape; one length may be -1.

    Called as reshape(2, 3) or reshape((2, 3)).    gx = g in the shape of x
    """
    before = x.shape
    return x.reshape(listed(shape)), lambda g: g.reshape(before)


@op(numpy=np.ravel)
def flatten(x: Array, start: int = 0, end: int = -1) -> Result:
    """y = x with the axes start to end (inclusive) made one.    gx = g in the shape of x"""
    before = x.shape
    if x.ndim == 0:
        return x.reshape(1), lambda g: g.reshape(())
    first, last = axis_of(start, x.ndim), axis_of(end, x.ndim)
    if first > last:
        raise ValueError(f"expected start <= end, got axes {first} and {last}")
    shape = (*before[:first], math.prod(before[first : last + 1]), *before[last + 1 :])
    return x.reshape(shape), lambda g: g.reshape(before)


@op(numpy=np.squeeze)
def squeeze(x: Array, axis: Axes | None = None) -> Result:
    """y = x without the given axes, of length 1; by default without all such.    gx = g reshaped"""
    before = x.shape
    return np.squeeze(x, axis=axis), lambda g: g.reshape(before)


@op(numpy=np.expand_dims)
def unsqueeze(x: Array, axis: Axes) -> Result:
    """y = x with new axes of length 1, at these places of y.    gx = g reshaped"""
    before = x.shape
    return np.expand_dims(x, axis), lambda g: g.reshape(before)


@op(numpy=np.transpose)
def transpose(x: Array, *axes: Any) -> Result:
    """y = x with its axes in this order; by default reversed.    gx = g in the old order

    Called as transpose(1, 0) or transpose((1, 0)). To swap two of many axes use swapaxes.
    """
    if not (axes := listed(axes)):
        return x.transpose(), lambda g: g.transpose()
    order = tuple(axis_of(a, x.ndim) for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"expected each of the {x.ndim} axes once, got {order}")
    back = tuple(order.index(i) for i in range(x.ndim))
    return x.transpose(order), lambda g: g.transpose(back)


@op(numpy=np.swapaxes)
def swapaxes(x: Array, axis1: int, axis2: int) -> Result:
    """y = x with two axes swapped.    gx = g with the same two swapped"""
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    return x.swapaxes(i, j), lambda g: g.swapaxes(i, j)


@op(numpy=np.moveaxis)
def moveaxis(x: Array, source: Axes, destination: Axes) -> Result:
    """y = x with axes moved to other places, the rest in order.    gx = g with them moved back"""
    return np.moveaxis(x, source, destination), lambda g: np.moveaxis(g, destination, source)


@op(numpy=np.flip)
def flip(x: Array, axis: Axes | None = None) -> Result:
    """y = x backwards along the axes; by default along all.    gx = g backwards"""
    return np.flip(x, axis), lambda g: np.flip(g, axis)


@op(numpy=np.roll)
def roll(x: Array, shift: Axes, axis: Axes | None = None) -> Result:
    """y_i = x_(i - shift), in a circle; without an axis, of x flattened.    gx = g rolled back"""
    back = -shift if isinstance(shift, (int, np.integer)) else tuple(-s for s in shift)
    return np.roll(x, shift, axis), lambda g: np.roll(g, back, axis)


# --- repeated elements --------------------------------------------------------------------------
@op(numpy=np.broadcast_to)
def broadcast_to(x: Array, *shape: Any) -> Result:
    """y = x repeated to a larger shape, as in NumPy's broadcasting.    gx = g summed over copies

    y is a view of x, and not writeable.
    """
    before = x.shape
    return np.broadcast_to(x, listed(shape)), lambda g: unbroadcast(g, before)


@op(numpy=np.repeat)
def repeat(x: Array, repeats: int, axis: int | None = None) -> Result:
    """y = each element of x `repeats` times in a row; without an axis, of x flattened.

    gx = g summed over each run.    For a count per element: take(x, np.repeat(range, counts), axis)
    """
    if not isinstance(repeats, (int, np.integer)) or repeats < 0:
        raise ValueError("expected one count, 0 or more; for a count per element use take")
    before = x.shape
    runs = (x.size,) if axis is None else before
    place = 0 if axis is None else axis_of(axis, x.ndim)
    split_shape = (*runs[: place + 1], int(repeats), *runs[place + 1 :])
    return np.repeat(x, repeats, axis), lambda g: np.sum(
        g.reshape(split_shape), axis=place + 1
    ).reshape(before)


@op(numpy=np.tile)
def tile(x: Array, *reps: Any) -> Result:
    """y = x laid side by side, reps[i] times along axis i.    gx = g summed over the tiles

    Called as tile(2, 3) or tile((2, 3)). Ones are put before the shorter of reps and x.shape.
    """
    times = listed(reps)
    ndim = builtins.max(len(times), x.ndim)
    times = (1,) * (ndim - len(times)) + times
    before = x.shape
    lengths = (1,) * (ndim - x.ndim) + before
    pairs = tuple(n for pair in zip(times, lengths, strict=True) for n in pair)
    tiles = tuple(range(0, 2 * ndim, 2))
    return np.tile(x, times), lambda g: np.sum(g.reshape(pairs), axis=tiles).reshape(before)


# --- joining and splitting ----------------------------------------------------------------------
@answers(np.concatenate)
def concatenate(tensors: Iterable[Any], axis: int = 0) -> Any:
    """The tensors one after another along an axis; see the op of this name."""
    return _concatenate(*tensors, axis=axis)


@op
def _concatenate(*parts: Array, axis: int = 0) -> Result:
    """y = the parts one after another.    The gradient of each is its part of g

    The parts have equal shapes except along the axis.
    """
    if not parts:
        raise ValueError("expected at least one tensor")
    axis = axis_of(axis, parts[0].ndim)
    ends = list(itertools.accumulate(p.shape[axis] for p in parts))
    starts = [0, *ends[:-1]]
    before = (slice(None),) * axis

    def pull(g: Array) -> tuple[Array, ...]:
        return tuple(g[(*before, slice(i, j))] for i, j in zip(starts, ends, strict=True))

    return concatenated(uniform(parts), axis), pull


@answers(np.stack)
def stack(tensors: Iterable[Any], axis: int = 0) -> Any:
    """The tensors, of one shape, side by side along a new axis; see the op of this name."""
    return _stack(*tensors, axis=axis)


@op
def _stack(*parts: Array, axis: int = 0) -> Result:
    """y = the parts side by side along a new axis.    The gradient of each is its slice of g"""
    if not parts:
        raise ValueError("expected at least one tensor")
    before = (slice(None),) * axis_of(axis, parts[0].ndim + 1)
    count = len(parts)
    return stacked(uniform(parts), axis), lambda g: tuple(g[(*before, i)] for i in range(count))


def uniform(parts: Sequence[Array]) -> list[Array]:
    """The parts with integers in the dtype of the floating ones, if there are any."""
    dtype = next((p.dtype for p in parts if p.dtype.kind == "f"), None)
    if dtype is None or all(p.dtype == dtype for p in parts):
        return list(parts)
    return [p if p.dtype.kind == "f" else p.astype(dtype) for p in parts]


@op(numpy=np.split)
def split(x: Array, sections: Any, axis: int = 0) -> Result:
    """x cut along an axis: in so many equal sections, or in front of each of the given places.

    Returns a tuple of views.    gx = the gradients of the parts, one after another
    """
    axis = axis_of(axis, x.ndim)
    if isinstance(sections, (int, np.integer)) and (sections < 1 or x.shape[axis] % sections):
        raise ValueError(f"an axis of {x.shape[axis]} has no {sections} equal sections")
    if isinstance(sections, (int, np.integer)):
        step = x.shape[axis] // sections
        cuts = [step * i for i in range(1, sections)]
    else:
        cuts = [int(i) for i in sections]
    before = (slice(None),) * axis
    bounds = zip([0, *cuts], [*cuts, x.shape[axis]], strict=True)
    parts = tuple(x[(*before, slice(i, j))] for i, j in bounds)
    if builtins.sum(p.shape[axis] for p in parts) != x.shape[axis]:
        raise ValueError(f"expected places in ascending order within the axis, got {cuts}")

    def pull(gs: Any) -> Any:
        whole = neighbours(gs, axis)
        return concatenated(gs, axis) if whole is None else whole

    return parts, pull


@op(numpy=getattr(np, "unstack", None))
def unbind(x: Array, axis: int = 0) -> Result:
    """The slices of x along an axis, as a tuple of views.    gx = the gradients stacked

    To walk over an axis, this is better than x[i] for each i: the gradient of each x[i] is as large
    as x, and zero elsewhere.
    """
    before = (slice(None),) * axis_of(axis, x.ndim)
    parts = tuple(x[(*before, i)] for i in range(x.shape[axis]))
    return parts, lambda gs: stacked(gs, axis)


# --- parts of matrices, edges -------------------------------------------------------------------
@op(numpy=np.tril)
def tril(x: Array, k: int = 0) -> Result:
    """y = x on and below the k-th diagonal, 0 above; of each matrix.    gx = tril g"""
    if x.ndim < 2:
        raise ValueError("expected at least two axes")
    return np.tril(x, k), lambda g: np.tril(g, k)


@op(numpy=np.triu)
def triu(x: Array, k: int = 0) -> Result:
    """y = x on and above the k-th diagonal, 0 below; of each matrix.    gx = triu g"""
    if x.ndim < 2:
        raise ValueError("expected at least two axes")
    return np.triu(x, k), lambda g: np.triu(g, k)


@op(numpy=np.diagonal)
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Result:
    """y = the elements x[..., i, i + offset], in a new last axis; a view.

    gx = zeros with g on that diagonal
    """
    y = np.diagonal(x, offset, axis1, axis2)
    moved = np.moveaxis(x, (axis1, axis2), (-2, -1)).shape
    length = y.shape[-1]

    def pull(g: Array) -> Array:
        i = devices.namespace(raw(g)).arange(length)
        index = (..., i + builtins.max(-offset, 0), i + builtins.max(offset, 0))
        return np.moveaxis(inside(scatter, g, index, moved), (-2, -1), (axis1, axis2))

    return y, pull


@op(numpy=np.pad)
def pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Result:
    """y = x with a constant around it.    gx = g without the edge

    pad_width: n, (before, after) for all axes, or one such pair for each axis.
    """
    if mode != "constant":
        raise ValueError(f'expected mode "constant", got {mode!r}')
    check_fit(constant_values, x.dtype)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    inner = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    return np.pad(x, pad_width, constant_values=constant_values), lambda g: g[inner]
