"""New tensors: from data, from another library's memory, or filled with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import DEFAULT_DTYPE, check_fit, dtype_of
from minigrad.errors import EXPLAINED, with_text
from minigrad.tensor import Tensor, array_of, carries_gradient, raw

Shape = int | Sequence[int]


def tensor(
    data: Any,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested lists, a NumPy or CuPy array, a Tensor.

    dtype:  of the result. By default an array keeps its dtype, and Python floats become float32.
    device: "cpu", "cuda" or "cuda:N". By default an array stays where it is.
    TypeError if the data are not numbers or carry a gradient, or for integers with requires_grad.
    """
    if carries_gradient(data):
        raise TypeError(
            "tensor: the data carry a gradient, which a copy would lose; use mg.stack for "
            "tensors in a list, t.clone() to keep the gradient, t.detach() to drop it"
        )
    data = data.data if isinstance(data, Tensor) else data
    try:
        dtype = None if dtype is None else dtype_of(dtype)
        if devices.is_array(data):
            array = array_of(data)
        else:
            array = np.asarray(raw(data))
            if dtype is None and array.dtype.kind == "f":
                dtype = DEFAULT_DTYPE
            if dtype is not None:
                check_fit(array, dtype)
    except EXPLAINED as error:
        raise with_text(error, f"tensor: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"tensor: expected numbers, got {array.dtype} data")
    array = array.astype(dtype_of(array.dtype) if dtype is None else dtype, order="C", copy=True)
    array = devices.move(array, devices.parse(device)) if device is not None else array
    return Tensor(array).requires_grad_(requires_grad)


def from_dlpack(x: Any) -> Tensor:
    """A tensor that shares the memory of another library's array: both see writes by either.

    The graph cannot see writes made by the other library; `mg.tensor` makes a copy.
    """
    if not hasattr(x, "__dlpack_device__"):
        raise TypeError(f"from_dlpack: expected another library's array, got {type(x).__name__}")
    kind, _ = x.__dlpack_device__()
    array = np.from_dlpack(x) if kind == 1 else devices.cupy().from_dlpack(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"from_dlpack: dtype {array.dtype} is not supported")
    return Tensor(array)


def full(
    shape: Shape, value: float, dtype: Any = DEFAULT_DTYPE, device: str | None = None
) -> Tensor:
    """A tensor with `value` everywhere.

    shape: a length, or a tuple of them.
    TypeError if the dtype is not numeric, ValueError for a negative length, OverflowError for a
    value that the dtype cannot hold.
    """
    return filled("full", shape, value, dtype, device)


def zeros(shape: Shape, dtype: Any = DEFAULT_DTYPE, device: str | None = None) -> Tensor:
    """A tensor of zeros; see `full`."""
    return filled("zeros", shape, 0, dtype, device)


def ones(shape: Shape, dtype: Any = DEFAULT_DTYPE, device: str | None = None) -> Tensor:
    """A tensor of ones; see `full`."""
    return filled("ones", shape, 1, dtype, device)


def filled(name: str, shape: Any, value: Any, dtype: Any, device: str | None) -> Tensor:
    """A tensor filled with `value`, or an error that begins with the function's `name`."""
    if carries_gradient(value):
        raise TypeError(f"{name}: the value carries a gradient; use mg.broadcast_to to keep it")
    if isinstance(shape, int) and isinstance(dtype, int):
        raise TypeError(f"{name}: expected a dtype, got {dtype}; lengths are one argument, a tuple")
    try:
        dtype = DEFAULT_DTYPE if dtype is None else dtype_of(dtype)
        check_fit(value := raw(value), dtype)
        array = np.full(raw(shape), value, dtype)
    except EXPLAINED as error:
        raise with_text(error, f"{name}: {error}  [shape={shape!r}, value={value!r}]") from error
    return Tensor(devices.move(array, devices.parse(device)))


def arange(*bounds: float, dtype: Any = None, device: str | None = None) -> Tensor:
    """Evenly spaced numbers from `start` (0) up to but not including `stop`, as np.arange.

    Integers give int64, floats float32, unless `dtype` says otherwise.
    """
    if not 1 <= len(bounds) <= 3:
        raise TypeError(
            f"arange: expected stop, (start, stop) or (start, stop, step), got {bounds}"
        )
    try:
        values = np.arange(*map(raw, bounds))
        if dtype is None:
            dtype = DEFAULT_DTYPE if values.dtype.kind == "f" else np.int64
        check_fit(values, dtype := dtype_of(dtype))
    except EXPLAINED as error:
        raise with_text(error, f"arange: {error}  [{', '.join(map(repr, bounds))}]") from error
    return Tensor(devices.move(values.astype(dtype), devices.parse(device)))
