"""Ops that pick elements, and ops that put them back.

Picking y = x[index] is linear: y_j = x_index(j). Its transpose sends every g_j back to the place
that y_j came from, so the gradient of a place is the sum over all reads of that place, and zero
without reads. Each is the gradient of the other, for any index; `scatter` below is the transpose.

Indices out of range are an IndexError on every device. Sums over duplicates always have the same
order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array
from minigrad.indices import Index, add_at, beside, check_index, indexer, prepared
from minigrad.op import Result, inside, op
from minigrad.tensor import Tensor, raw


# --- t[...] -----------------------------------------------------------------------------------
@op
def getitem(x: Array, index: Any) -> Result:
    """y = x[index]: ints, slices, Ellipsis, None, lists, integer or boolean arrays and tensors.

    gx = the elements of g in their places, added up where several reads were of one place
    """
    index, shape = prepared(raw(x), raw(index)), x.shape
    return x[index], lambda g: inside(scatter, g, index, shape)


@op
def scatter(g: Array, index: Any, shape: tuple[int, ...]) -> Result:
    """y = zeros of `shape`, with y[index] += g: the transpose of getitem.    gg = gy[index]"""
    if isinstance(g, Tensor):  # a higher derivative needs only the rule
        return None, lambda gy: gy[index]
    y = devices.namespace(g).zeros(shape, g.dtype)
    if has_duplicates(index):
        add_at(y, index, g)
    else:
        y[index] = g
    return y, lambda gy: gy[index]


def has_duplicates(index: Index) -> bool:
    """Whether the index may name a place twice: only integer arrays can."""
    return any(hasattr(item, "dtype") and item.dtype.kind in "iu" and item.ndim for item in index)


# --- along one axis -----------------------------------------------------------------------------
@op(numpy=np.take)
def take(x: Array, indices: Any, axis: int | None = None) -> Result:
    """y = x[..., indices, ...] at one axis; without an axis, of x flattened.

    indices of shape S replace the axis by S.    gx = g in its places, as in getitem
    """
    before, flat = x.shape, x if axis is not None else x.reshape(-1)
    shape = flat.shape
    axis = 0 if axis is None else axis_of(axis, x.ndim)
    index = prepared(raw(flat), (*(slice(None),) * axis, raw(indices)))
    y = np.take(flat, index[-1], axis=axis)
    return y, lambda g: inside(scatter, g, index, shape).reshape(before)


@op(numpy=np.take_along_axis)
def take_along_axis(x: Array, indices: Array, axis: int | None = -1) -> Result:
    """y[i, j, k] = x[i, indices[i, j, k], k] for axis 1, and so on; other axes broadcast.

    The indices have as many axes as x. This is torch.gather.    gx = g in its places
    """
    before, flat = x.shape, x if axis is not None else x.reshape(-1)
    shape, index = flat.shape, along(flat, indices, 0 if axis is None else axis)
    return flat[index], lambda g: inside(scatter, g, index, shape).reshape(before)


@op
def scatter_add(x: Array, indices: Array, values: Array, axis: int = -1) -> Result:
    """y = x with y[i, indices[i, j, k], k] += values[i, j, k] for axis 1, and so on.

    indices and values have one shape, that of x except along the axis.
    gx = g        gvalues = take_along_axis(g, indices)
    """
    index = along(x, indices, axis)
    axis = axis_of(axis, x.ndim)
    expected = (*x.shape[:axis], indices.shape[axis], *x.shape[axis + 1 :])
    if not indices.shape == values.shape == expected:
        raise ValueError("expected indices and values in one shape, that of x except along axis")
    if values.dtype != x.dtype:
        raise TypeError(f"expected values in the dtype of x, {x.dtype}, got {values.dtype}")
    y = x + inside(scatter, values, index, x.shape)
    return y, (lambda g: g, None, lambda g: g[index])


def along(x: Array, indices: Any, axis: int) -> Index:
    """The index that reads x[i, indices[i, j], j]: along the other axes, ranges that broadcast."""
    x = raw(x)
    indices = indexer(x, raw(indices))
    axis = axis_of(axis, x.ndim)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"expected integer indices, got {indices.dtype}")
    if indices.ndim != x.ndim:
        raise ValueError(f"expected indices with {x.ndim} axes, as x has, got {indices.ndim}")
    check_index(indices, x.shape[axis])
    indices = beside(x, indices)
    xp = devices.namespace(x)
    ranges = [xp.arange(n).reshape(-1, *(1,) * (x.ndim - i - 1)) for i, n in enumerate(x.shape)]
    return (*ranges[:axis], indices, *ranges[axis + 1 :])


def axis_of(axis: int, ndim: int) -> int:
    """The axis counted from the front. IndexError if there is no such axis."""
    if not isinstance(axis, (int, np.integer)):
        raise TypeError(f"expected an axis, a whole number, got {axis!r}")
    if not -ndim <= axis < ndim:
        valid = f"[{-ndim}, {ndim - 1}]" if ndim else "none: it has no axes"
        raise IndexError(f"axis {axis} does not exist; valid: {valid}")
    return axis % ndim
