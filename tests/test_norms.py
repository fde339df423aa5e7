"""Norms and spreads where there is nothing, or no spread."""

import math

import numpy as np
import pytest

import minigrad as mg


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
        (lambda x: mg.std(x * x + x), equal),
    ):
        assert mg.grad(f)(mg.tensor(x)).tolist() == [0.0] * 3
        assert second_derivative(f, x, c).tolist() == [0.0] * 3


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
