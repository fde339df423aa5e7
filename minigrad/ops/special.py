"""The error function, which NumPy lacks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array

# erf(x) = tanh(x P(x²)) for x² <= 16. P is the minimax fit (Lawson's weights) of atanh(erf(√u))/√u
# on [0, 16] to the relative error that it causes in erf: 7.1e-8. In float32 arithmetic the worst
# relative error over 2.2 million points is 2.4e-7 (two units in the last place).
# `tests/test_special.py` measures it again.
ERF_P = (
    1.128379225730896,
    0.1027698665857315,
    -0.00019528759003151208,
    -0.0006148390239104629,
    8.459703531116247e-05,
    -4.79472919323598e-06,
    2.7591401163817864e-08,
    5.420919269027991e-09,
)
CHUNK = 1 << 15  # elements: three float32 buffers of this size stay in the second-level cache
scalar_erf = np.frompyfunc(math.erf, 1, 1)


def erf_array(x: Array) -> Array:
    """erf of each element. float32: the fit above. float64: the C library, element by element."""
    if not isinstance(x, (np.ndarray, np.generic)):
        if not devices.is_array(x):  # a Tensor, in a higher derivative
            from minigrad.ops.elementwise import erf

            return erf(x)
        import cupyx.scipy.special as special  # type: ignore[reportMissingImports]

        return special.erf(x)  # type: ignore[reportUnknownMemberType]
    if x.dtype != np.float32:
        return np.asarray(scalar_erf(x), dtype=x.dtype if x.dtype.kind == "f" else np.float64)
    y = np.empty(x.shape, x.dtype)
    flat_x, flat_y = np.ravel(x), y.reshape(-1)
    u: Any = np.empty(min(CHUNK, flat_x.size), x.dtype)
    with np.errstate(over="ignore"):  # x² of a very large x
        for start in range(0, flat_x.size, CHUNK):
            erf_into(flat_x[start : start + CHUNK], flat_y[start : start + CHUNK], u)
    return y


def erf_into(x: Array, y: Array, scratch: Array) -> None:
    """Write erf(x) to y; all float32 and one-dimensional."""
    u = np.multiply(x, x, out=scratch[: x.size])
    np.minimum(u, 16.0, out=u)
    np.multiply(u, ERF_P[-1], out=y)
    for c in ERF_P[-2:0:-1]:
        np.add(y, c, out=y)
        np.multiply(y, u, out=y)
    np.add(y, ERF_P[0], out=y)
    np.multiply(y, x, out=y)
    np.tanh(y, out=y)
