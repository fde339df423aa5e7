"""New tensors: from data, from another library's memory, or filled with numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.rules import as_dtype
from minigrad.tensor import DEFAULT_DTYPE, Tensor, array_of, carries_gradient, raw


def tensor(
    data: Any,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested lists, a NumPy or CuPy array, a Tensor.

    dtype:  of the result. By default an array keeps its own, and Python floats are float32.
    device: "cpu", "cuda" or "cuda:N". By default an array stays where it is.
    TypeError if the data are not numbers, or carry a gradient, or if requires_grad is asked of
    integers.
    """
    if carries_gradient(data):
        raise TypeError(
            "tensor: the data carry a gradient, which a copy would lose; use mg.stack for "
            "tensors in a list, t.clone() to keep the gradient, t.detach() to drop it"
        )
    data = data.data if isinstance(data, Tensor) else data
    if devices.is_array(data):
        array = array_of(data)
    else:
        array = np.asarray(raw(data))
        if dtype is None and array.dtype.kind == "f":
            dtype = DEFAULT_DTYPE
    if array.dtype.kind not in "biuf":
        raise TypeError(f"tensor: expected numbers, got {array.dtype} data")
    dtype = as_dtype("tensor", array.dtype if dtype is None else dtype)
    array = array.astype(dtype, order="C", copy=True)
    array = devices.move(array, devices.parse(device)) if device is not None else array
    return Tensor(array).requires_grad_(requires_grad)


def from_dlpack(x: Any) -> Tensor:
    """A tensor on the memory of another library's array, shared: writes on one side show on both.

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
    shape: tuple[int, ...], value: float, dtype: Any = DEFAULT_DTYPE, device: str | None = None
) -> Tensor:
    """A tensor with `value` everywhere."""
    value = value.numpy() if isinstance(value, Tensor) else value
    array = np.full(shape, value, as_dtype("full", dtype))
    return Tensor(devices.move(array, devices.parse(device)))


def zeros(shape: tuple[int, ...], dtype: Any = DEFAULT_DTYPE, device: str | None = None) -> Tensor:
    """A tensor of zeros."""
    return full(shape, 0, as_dtype("zeros", dtype), device)


def ones(shape: tuple[int, ...], dtype: Any = DEFAULT_DTYPE, device: str | None = None) -> Tensor:
    """A tensor of ones."""
    return full(shape, 1, as_dtype("ones", dtype), device)


def arange(*bounds: float, dtype: Any = None, device: str | None = None) -> Tensor:
    """As np.arange: evenly spaced numbers from `start` (0) up to but not including `stop`.

    Integers give int64, floats float32, unless `dtype` says otherwise.
    """
    if not 1 <= len(bounds) <= 3:
        raise TypeError(f"arange: expected stop, start and stop, or a step too, got {bounds}")
    numbers = np.arange(*bounds)
    if dtype is None:
        dtype = np.int64 if numbers.dtype.kind in "iu" else DEFAULT_DTYPE
    return tensor(numbers, dtype, device)
