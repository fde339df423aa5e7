"""The error function: how far from the truth, over everything that float32 can say."""

import math

import numpy as np

import minigrad as mg
from minigrad.ops.special import CHUNK, erf_array

exact = np.vectorize(math.erf, otypes=[np.float64])


def test_float64_is_the_c_library(rng):
    x = np.concatenate([np.linspace(-7, 7, 2001), rng.standard_normal(500) * 1e-8, [0.0, -0.0]])
    assert np.array_equal(erf_array(x), exact(x))


def test_float32_is_within_three_units_in_the_last_place():
    """Relative error below 2.7e-7 = 2.3 ulp everywhere; see the comment in `ops/special.py`.

    A dense grid: 400,001 points in [-4.2, 4.2], and every exponent with 32 mantissas.
    """
    grid = np.linspace(-4.2, 4.2, 400_001, dtype=np.float32)
    powers = np.ldexp(np.linspace(1, 2, 32, endpoint=False), np.arange(-100, 3)[:, None])
    x = np.concatenate([grid, powers.ravel().astype(np.float32)])
    x = x[x != 0]
    truth = exact(x.astype(np.float64))
    error = np.abs(erf_array(x).astype(np.float64) - truth) / np.abs(truth)
    assert error.max() < 2.7e-7


def test_odd_saturating_and_exact_at_the_ends():
    x = np.array([0.0, 4.5, 6.0, 1e30, np.inf], np.float32)
    assert np.array_equal(erf_array(x), np.array([0.0, 1.0, 1.0, 1.0, 1.0], np.float32))
    assert np.array_equal(erf_array(-x), -erf_array(x))
    assert np.isnan(erf_array(np.array([np.nan], np.float32)))[0]
    assert erf_array(np.float32([1e-42]))[0] > 0  # denormal numbers too


def test_arrays_longer_than_a_chunk_and_any_layout(rng):
    x = rng.standard_normal((3, CHUNK // 2)).astype(np.float32)
    whole = erf_array(x)
    assert np.array_equal(whole[2, 1::2], erf_array(x[2, 1::2]))
    assert np.array_equal(whole.T, erf_array(x.T))
    assert erf_array(np.float32(0.5).reshape(())).shape == ()


def test_second_derivative_is_minus_2x_times_the_first():
    slope = mg.grad(mg.erf)
    for x in (-1.3, 0.0, 0.4):
        x = mg.tensor(x, dtype=np.float64)
        assert math.isclose(mg.grad(slope)(x).item(), -2 * x.item() * slope(x).item())
