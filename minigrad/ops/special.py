"""The error function and its complement, which NumPy lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array

# erf(x) = tanh(x P(x²)). P is the minimax fit (Lawson's weights) of atanh(erf(√u))/√u on [0, 16]
# to the relative error that it causes in erf: 9.5e-8. In float32 arithmetic the worst relative
# error over 2.2 million points is 2.6e-7 (a little over two units in the last place). The leading
# coefficient is positive and P(u) > 1.1 everywhere, so beyond the fit the tanh is 1 in float32 and
# nothing has to be clipped. `tests/ops/test_special.py` measures it again.
ERF = (
    1.128379225730896,
    0.10276905447244644,
    -0.0001918300986289978,
    -0.0006197854527272284,
    8.763770165387541e-05,
    -5.668548055837164e-06,
    1.4185690133672324e-07,
)

# erfc(x) = e^(-x²) P(x) / Q(x) for x >= 0: 1 - erf(x) would be 0 beyond 4, where erf is 1 in
# float32. P/Q is the minimax fit (Lawson's weights) of e^(x²) erfc(x) on [0, 10.1], where
# erfc reaches the smallest float32: relative error 5.8e-9. All coefficients are positive, so that
# float32 arithmetic adds few roundings to it; those of x² reach the result x² times as large.
ERFC_P = (
    1.0000000057396277,
    1.2384270734495353,
    0.7316215925603918,
    0.22922712756470537,
    0.032798270163172806,
)
ERFC_Q = (
    1.0,
    2.3668068193500975,
    2.4022677535699257,
    1.325401176230158,
    0.40632090482314553,
    0.05813272150758046,
)
NOTHING = 11.0  # e^(-11²) is 0 in float32
SQRT_2 = math.sqrt(2)

erf_of_each, erfc_of_each = np.frompyfunc(math.erf, 1, 1), np.frompyfunc(math.erfc, 1, 1)


def erf_array(x: Array) -> Array:
    """erf of each element. float32: the fit above. float64: the C library, element by element."""
    if not on_host(x):
        return off_host("erf", x)
    if x.dtype != np.float32:
        return np.asarray(erf_of_each(x), np.float64)
    with np.errstate(over="ignore"):  # x² of a very large x
        return np.tanh(x * polynomial(ERF, x * x))


def erfc_array(x: Array) -> Array:
    """1 - erf of each element, with all its digits where it is small."""
    if not on_host(x):
        return off_host("erfc", x)
    if x.dtype != np.float32:
        return np.asarray(erfc_of_each(x), np.float64)
    z = np.minimum(np.absolute(x), NOTHING)
    tail = polynomial(ERFC_P, z) / polynomial(ERFC_Q, z) * np.exp(-z * z)
    return mirrored(tail, x < 0, 2.0)


def normal_distribution(x: Array, bell: Array) -> Array:
    """Φ(x) = erfc(-x/√2) / 2 of each element, given e^(-x²/2), with all its digits for x < 0."""
    if not on_host(x) or x.dtype != np.float32:
        return 0.5 * erfc_array(x * -(1.0 / SQRT_2))
    z = np.minimum(np.absolute(x * (1.0 / SQRT_2)), NOTHING)
    tail = polynomial(ERFC_P, z) / polynomial(ERFC_Q, z) * bell
    return mirrored(0.5 * tail, x > 0, 1.0)


def mirrored(tail: Array, far: Array, total: float) -> Array:
    """tail, or total - tail where far; np.where is ten times slower."""
    far = far.astype(tail.dtype)
    return total * far + (1.0 - 2.0 * far) * tail


def on_host(x: Array) -> bool:
    return isinstance(x, (np.ndarray, np.generic))


def off_host(name: str, x: Array) -> Array:
    """erf or erfc of an array on a GPU, or of a Tensor in a higher derivative."""
    if not devices.is_array(x):
        return getattr(x, name)()
    import cupyx.scipy.special as special  # type: ignore[reportMissingImports]

    return getattr(special, name)(x)


def polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Σ c_k x^k by Horner's rule, from the last to the first."""
    y = coefficients[-1] * x
    for c in coefficients[-2:0:-1]:
        y += c
        y *= x
    return y + coefficients[0]
