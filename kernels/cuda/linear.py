"""linear and matmul, with the rules of `minigrad.ops.linalg` and our call of cuBLAS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernels.cuda.products import KINDS, product
from minigrad import device as devices
from minigrad import ops
from minigrad.graph import unbroadcast
from minigrad.kernel import Declined, kernel


def unfit(a: Any, b: Any) -> Declined | None:
    for x in (a, b):
        if not devices.is_array(x) or devices.of(x) == "cpu":
            return Declined("not on the GPU")
    if a.dtype != b.dtype or a.dtype.name not in KINDS:
        return Declined("dtypes")
    return None


@kernel(ops.matmul, device="cuda")
def matmul(a: Any, b: Any) -> Any:
    if why := unfit(a, b):
        return why
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return Declined("shapes")
    if b.ndim == 2 and a.ndim > 2:
        return Declined("one matrix on the right")  # the plain body makes one product of it
    return product(a, b), (
        lambda g: unbroadcast(product(g, b.swapaxes(-1, -2)), a.shape),
        lambda g: unbroadcast(product(a.swapaxes(-1, -2), g), b.shape),
    )


@kernel(ops.linear, device="cuda")
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    if why := unfit(x, weight):
        return why
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        return Declined("shapes")
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
        return Declined("bias")
    rows = x.reshape(-1, x.shape[-1])
    y = product(rows, weight.T)
    if bias is not None:
        y += bias
    flat = (math.prod(x.shape[:-1]), len(weight))
    ones = np.ones_like(x, shape=(1, flat[0]))
    return y.reshape(*x.shape[:-1], len(weight)), (
        lambda g: product(g.reshape(flat), weight).reshape(x.shape),
        lambda g: product(g.reshape(flat).T, rows),
        None if bias is None else lambda g: product(ones, g.reshape(flat))[0],
    )
