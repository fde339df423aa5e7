"""Norms and spreads where squares are beyond float32, and where there is no spread at all."""

import importlib.util
import math

import numpy as np
import pytest

import minigrad as mg

EPS = float(np.finfo(np.float32).eps)
NUMBA = importlib.util.find_spec("numba") and importlib.util.find_spec("threadpoolctl")
BODIES = [
    pytest.param(False, id="plain"),
    pytest.param(True, id="kernel", marks=pytest.mark.skipif(not NUMBA, reason="needs Numba")),
]


# --- squares beyond float32 -----------------------------------------------------------------------
@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("scale", [1e20, 1e38, 3e18])
def test_layer_norm_of_great_numbers(scale, on):
    """(s, -s, 0) has the mean 0 and the variance 2 s² / 3, whatever s is: x̂ = (√1.5, -√1.5, 0).

    The rows around it are what they are alone.
    """
    rows = np.float32([[1.0, 2.0, 3.0], [scale, -scale, 0.0], [-1.0, 0.5, 0.25]])
    with mg.use_kernels(on):
        y = mg.layer_norm(mg.tensor(rows))
        alone = mg.layer_norm(mg.tensor(rows[::2]))
    root = math.sqrt(1.5)
    np.testing.assert_allclose(y.numpy()[1], [root, -root, 0.0], rtol=4 * EPS)
    assert np.array_equal(y.numpy()[::2], alone.numpy())


CALLS = {
    "layer_norm": lambda x: mg.layer_norm(x),
    "rms_norm": lambda x: mg.rms_norm(x),
    "batch_norm": lambda x: mg.batch_norm(x, training=True),
    "std": lambda x: x.std(axis=1),
    "norm": lambda x: x.norm(axis=1),
    "norm of order 3": lambda x: x.norm(3.0, axis=1),
    "normalize": lambda x: mg.normalize(x),
}


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("scale", [1e20, 2e37, 1e-30])
@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients_are_those_of_float64(name, scale, on, rng):
    """Where numbers of one array are as far apart as float32 allows.

    float64 holds the squares, but of 1e-30 the normalizations see their ε alone. Gradients are of
    the size of 1 / scale, in each row: compared is what they are times the row's largest number.
    Sixteen roundings, four times as large where a mean of four times the spread is subtracted.
    """
    rows = rng.standard_normal((5, 6)).astype(np.float32)
    rows[(slice(None), 2) if name == "batch_norm" else (2,)] *= np.float32(scale)
    size = np.abs(rows).max(axis=0 if name == "batch_norm" else 1, keepdims=True).astype(np.float64)
    results = []
    for dtype in (np.float32, np.float64):
        x = mg.tensor(rows.astype(dtype), requires_grad=True)
        with mg.use_kernels(on):
            y = CALLS[name](x)
            y.backward(np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype))
        results.append([y.detach().numpy().astype(np.float64), x.grad.numpy().astype(np.float64)])
    (y, gx), (exact, slope) = results
    spread = np.abs(exact) if y.ndim == 1 else np.abs(exact).max(axis=1, keepdims=True)
    assert (np.abs(y - exact) <= 64 * EPS * spread).all()
    limit = 64 * EPS * np.maximum(1.0, np.abs(slope * size).max())
    assert (np.abs(gx - slope) * size <= limit).all()


# --- no spread ------------------------------------------------------------------------------------
def second_derivative(f, x, direction):
    slope = mg.grad(f)
    return mg.grad(lambda x: (slope(x) * direction).sum())(mg.tensor(x)).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_a_root_is_0_every_derivative_is(dtype):
    """std and norm have a kink there, and 0 is among its slopes; their first derivative says 0."""
    equal, zero = np.full(3, 2.0, dtype), np.zeros(3, dtype)
    c = np.array([1.0, -2.0, 0.5], dtype)
    for f, x in (
        (lambda x: x.std(), equal),
        (lambda x: x.std(correction=1), equal),
        (lambda x: x.norm(), zero),
        (lambda x: x.norm(3.0), zero),
        (lambda x: x.norm(1.5), zero),
        (lambda x: mg.std(x * x + x), equal),
    ):
        assert mg.grad(f)(mg.tensor(x)).tolist() == [0.0] * 3
        assert second_derivative(f, x, c).tolist() == [0.0] * 3


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_beside_a_zero_other_numbers_have_their_second_derivative(p):
    """By hand, of two other numbers: (p - 1) (δ_ij |x_i|^(p-2) y^-(p-1) - s_i s_j / y), with the
    slopes s_i = sign(x_i) (|x_i| / y)^(p-1); below p = 2 that of a 0 is infinite, and taken as 0.
    """
    x, c = np.array([0.0, 3.0, -4.0]), np.array([2.0, 1.0, -0.5])
    found = second_derivative(lambda x: x.norm(p), x, c)
    a = np.abs(x[1:])
    y = (a**p).sum() ** (1.0 / p)
    s = np.sign(x[1:]) * (a / y) ** (p - 1.0)
    hessian = (p - 1.0) * (np.diag(a ** (p - 2.0) * y ** (1.0 - p)) - np.outer(s, s) / y)
    wanted = [c[0] / y if p == 2.0 else 0.0, *(hessian @ c[1:])]
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-15)


def test_beside_a_row_without_spread_others_have_theirs():
    """By hand, of d = x - μ and y = std: the second derivative is (δ_ij - 1/n - d_i d_j / (n y²)) /
    (n y)."""
    x = np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 6.0]])
    c = np.array([[1.0, -2.0, 0.5], [1.0, -2.0, 0.5]])
    found = second_derivative(lambda x: x.std(axis=1).sum(), x, c)
    d = x[1] - 3.0
    y = math.sqrt(d @ d / 3.0)
    hessian = (np.eye(3) - 1.0 / 3.0 - np.outer(d, d) / (3.0 * y * y)) / (3.0 * y)
    assert found[0].tolist() == [0.0] * 3
    np.testing.assert_allclose(found[1], hessian @ c[1], rtol=1e-14, atol=1e-15)


def test_a_gradient_through_the_spread_of_equal_values():
    """A penalty on a gradient: what comes from elsewhere is not lost beside the 0 of std."""
    x = mg.tensor(np.full(3, 2.0))
    slope = mg.grad(lambda x: x.std() + (x**3).sum())
    penalty = mg.grad(lambda x: mg.square(slope(x)).sum())(x)
    assert penalty.tolist() == [2.0 * 12.0 * 12.0] * 3  # d/dx (3 x²)² = 2 · 3 x² · 6 x
