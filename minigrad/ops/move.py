"""Ops that change the device, memory or dtype of the values, and not the values."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import dtype_of
from minigrad.graph import Array
from minigrad.op import Result, op
from minigrad.tensor import Tensor


@op(numpy=np.positive)
def clone(x: Array) -> Result:
    """y = a copy of x.    gx = g"""
    return x.copy() if hasattr(x, "copy") else clone(x), lambda g: g


@op(casts=True)
def astype(x: Array, dtype: Any) -> Result:
    """y = x in another dtype.    gx = g in the dtype of x"""
    before, dtype = x.dtype, dtype_of(dtype)
    return x.astype(dtype), lambda g: g.astype(before)


@op
def to_device(x: Array, device: str) -> Result:
    """y = x on another device.    gx = g moved back"""
    if isinstance(x, Tensor):  # in a higher derivative
        before = x.device
        return x.to(device), lambda g: g.to(before)
    before = devices.of(x)
    return devices.move(x, device), lambda g: devices.move(g, before)


to_device.op.moves = True
