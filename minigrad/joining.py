"""Arrays joined like np.concatenate and np.stack, on a GPU a few at a time.

CuPy joins a few arrays in one launch. For more it copies a table from the host, which a recording
(`mg.capture`) does not allow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array

MOST = 8  # arrays that CuPy joins without a table
FEW = 1 << 12  # elements; fewer are copied before it is known where they are


def concatenated(parts: Sequence[Array], axis: int) -> Array:
    """np.concatenate."""
    while len(parts) > MOST and on_gpu(parts[0]):
        groups = [parts[i : i + MOST] for i in range(0, len(parts), MOST)]
        parts = [np.concatenate(group, axis) for group in groups]
    return np.concatenate(parts, axis)


def stacked(parts: Sequence[Array], axis: int = 0) -> Array:
    """np.stack."""
    if len(parts) > MOST and on_gpu(parts[0]):
        return concatenated([np.expand_dims(part, axis) for part in parts], axis)
    return np.stack(parts, axis)


def neighbours(parts: Sequence[Array], axis: int) -> Array | None:
    """The array of NumPy whose consecutive slices the parts are, as a view; None if they are not.

    So the gradients of the parts of a split need no copy where a kernel has put them side by side.
    """
    first = parts[0]
    if not isinstance(first, np.ndarray) or not isinstance(first.base, np.ndarray):
        return None
    base, shape, strides = first.base, list(first.shape), first.strides
    if not base.flags.c_contiguous or base.dtype != first.dtype or first.size < FEW:
        return None
    start = end = first.ctypes.data
    shape[axis] = 0
    for part in parts:
        other = list(part.shape)
        if part.base is not base or part.strides != strides or part.ctypes.data != end:
            return None
        length, other[axis] = other[axis], shape[axis]
        if other != shape:
            return None
        shape[axis] += length
        end += length * strides[axis]
    return np.ndarray(shape, base.dtype, base, start - base.ctypes.data, strides)


def on_gpu(a: Array) -> bool:
    return devices.is_array(a) and not isinstance(a, np.ndarray)
