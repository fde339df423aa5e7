"""The error function and its complement: how far from the truth, over everything that float32 can
say."""

import math

import fake_gpu
import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.special import erf_array, erfc_array

EPS = float(np.finfo(np.float32).eps)
exact = np.vectorize(math.erf, otypes=[np.float64])
exact_complement = np.vectorize(math.erfc, otypes=[np.float64])


def points(largest):
    """400,001 of [-largest, largest], and every exponent with 32 mantissas; none is 0."""
    grid = np.linspace(-largest, largest, 400_001, dtype=np.float32)
    powers = np.ldexp(np.linspace(1, 2, 32, endpoint=False), np.arange(-100, 3)[:, None])
    x = np.concatenate([grid, powers.ravel().astype(np.float32)])
    return x[x != 0]


def test_float64_is_the_c_library(rng):
    x = np.concatenate([np.linspace(-7, 7, 2001), rng.standard_normal(500) * 1e-8, [0.0, -0.0]])
    assert np.array_equal(erf_array(x), exact(x))
    assert np.array_equal(erfc_array(x), exact_complement(x))


def test_erf_is_within_three_units_in_the_last_place():
    """Relative error below 2.7e-7 = 2.3 ulp everywhere; see the comment in `ops/special.py`."""
    x = points(4.2)
    truth = exact(x.astype(np.float64))
    error = np.abs(erf_array(x).astype(np.float64) - truth) / np.abs(truth)
    assert error.max() < 2.7e-7


def test_erfc_keeps_its_digits_where_it_is_small():
    """Down to 2.4e-38 at 9.15; there, 1 - erf(x) has been 0 in float32 for long.

    Two polynomials of positive terms, a quotient and a product round six times by eps / 2 or less,
    exp by eps; -x² is rounded by eps x² / 2, and so is what becomes of it: (4 + 2 x²) eps is twice
    that. A negative x adds a rounding of 2 - y.
    """
    x = points(9.15)
    truth = exact_complement(x.astype(np.float64))
    error = np.abs(erfc_array(x).astype(np.float64) - truth) / truth
    small = x > 0
    assert (error[small] < (4 + 2 * x[small].astype(np.float64) ** 2) * EPS).all()
    assert error[~small].max() < 2 * EPS


def test_odd_saturating_and_exact_at_the_ends():
    x = np.array([0.0, 4.5, 6.0, 1e30, np.inf], np.float32)
    assert np.array_equal(erf_array(x), np.array([0.0, 1.0, 1.0, 1.0, 1.0], np.float32))
    assert np.array_equal(erf_array(-x), -erf_array(x))
    assert erf_array(np.float32([1e-42]))[0] > 0  # denormal numbers too
    x = np.array([0.0, -0.0, 11.0, 1e30, np.inf, -6.0, -1e30, -np.inf], np.float32)
    assert erfc_array(x).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0]
    for function in (erf_array, erfc_array):
        assert np.isnan(function(np.array([np.nan], np.float32)))[0]
        assert function(np.float32(0.5).reshape(())).shape == ()


def test_second_derivative_is_minus_2x_times_the_first():
    for function in (mg.erf, mg.erfc):
        slope = mg.grad(function)
        for x in (-1.3, 0.0, 0.4):
            x = mg.tensor(x, dtype=np.float64)
            assert math.isclose(mg.grad(slope)(x).item(), -2 * x.item() * slope(x).item())


@pytest.mark.parametrize("name", ["erf", "erfc", "gelu"])
def test_float16_on_a_gpu(name, monkeypatch):
    """CuPy's functions make float32 of it. One rounding of the value, one of the gradient."""
    fake_gpu.install(monkeypatch)
    values = [-2.5, -0.5, 0.0, 1.5]
    half = mg.tensor(np.float16(values), device="cuda", requires_grad=True)
    double = mg.tensor(np.float64(values), requires_grad=True)
    for x in (half, double):
        getattr(mg, name)(x).sum().backward()
    y, wanted = getattr(mg, name)(half), getattr(mg, name)(double)
    assert y.dtype == half.grad.dtype == np.float16
    for found, truth in ((y, wanted), (half.grad, double.grad)):
        found, truth = found.detach().cpu().numpy(), truth.detach().numpy()
        assert (np.abs(found - truth) <= 2.0**-11 * np.abs(truth) + 2.0**-25).all()
