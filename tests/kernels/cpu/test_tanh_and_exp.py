"""tanh, sigmoid, exp and the maximum of the compiled loops: how far off they are, their ends."""

import numpy as np
import pytest

EPS = float(np.finfo(np.float32).eps)


def over(function, x):
    """The function of every element, in a compiled loop."""
    from kernels.cpu.compiled import inner

    @inner
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    y = np.empty_like(x)
    loop(x, y)
    return y


def exponents(low, high):
    """64 numbers in each power of two from 2^low to 2^high."""
    mantissas = np.linspace(1.0, 2.0, 64, endpoint=False)
    return np.ldexp(mantissas, np.arange(low, high)[:, None]).ravel().astype(np.float32)


def worst(y, truth):
    """The largest relative error."""
    return float((np.abs(y - truth) / np.abs(truth)).max())


def test_tanh_is_within_its_bound():
    """Relative error below 4e-7; 3.2e-7 was found over every float32 from 2^-14 to 12."""
    from kernels.cpu.functions import tanh

    x = np.concatenate([np.linspace(1e-6, 12, 1_000_001, dtype=np.float32), exponents(-100, 100)])
    y = over(tanh, x)
    assert worst(y, np.tanh(x.astype(np.float64))) < 4e-7
    assert y.max() == 1.0
    assert np.array_equal(over(tanh, -x), -y)
    ends = over(tanh, np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42], np.float32))
    np.testing.assert_array_equal(ends, np.array([0.0, 0.0, 1.0, -1.0, np.nan, 1e-42], np.float32))


def test_sigmoid_is_within_its_bound():
    """The error of exp, 2.4e-7, and the roundings of a sum and a quotient, eps / 2 each; relative.

    Below -87.3, where e^x is no longer a normal number, it is 0.
    """
    from kernels.cpu.functions import sigmoid

    x = np.linspace(-87.3, 87.3, 1_000_001, dtype=np.float32)[1:-1]
    y, e = over(sigmoid, x), np.exp(-np.abs(x.astype(np.float64)))
    assert worst(y, np.where(x < 0.0, e, 1.0) / (1.0 + e)) < 2.4e-7 + EPS
    ends = np.array([0.0, 1e30, np.inf, -88.0, -1e30, -np.inf, np.nan], np.float32)
    wanted = np.array([0.5, 1.0, 1.0, 0.0, 0.0, 0.0, np.nan], np.float32)
    np.testing.assert_array_equal(over(sigmoid, ends), wanted)


def test_exp_is_within_its_bound_and_what_it_is_beyond_its_ends():
    """Relative error below 2.4e-7; 2.31e-7 was found over every float32 of [-87.3, 88]."""
    from kernels.cpu.functions import exp

    x = np.linspace(-87.3, 88, 2_000_001, dtype=np.float32)
    powers = exponents(-100, 6)
    x = np.concatenate([x[(x >= -87.3) & (x <= 88)], powers, -powers])
    assert worst(over(exp, x), np.exp(x.astype(np.float64))) < 2.4e-7
    ends = over(exp, np.array([0, -0.0, -88, -1e30, -np.inf, 89, np.inf, np.nan], np.float32))
    top = over(exp, np.float32([88.0]))[0]
    np.testing.assert_array_equal(ends, np.float32([1, 1, 0, 0, 0, top, top, np.nan]))


@pytest.mark.parametrize("size", [1, 2, 7, 16, 33, 1000])
def test_the_greatest_is_that_of_numpy(size, rng):
    """Of numbers of both signs, of only negative ones, tiny and infinite ones."""
    from kernels.cpu.functions import greatest

    x = rng.standard_normal(size).astype(np.float32)
    tiny = np.float32(1e-40)
    for each in (x, -np.abs(x), x * tiny, -np.abs(x) * tiny):
        assert greatest(each) == each.max()
    for special in (np.inf, -np.inf, 3e38, -3e38):
        for place in {0, size // 2, size - 1}:
            each = x.copy()
            each[place] = special
            assert greatest(each) == each.max()
    assert greatest(np.full(size, -np.inf, np.float32)) == -np.inf
    assert np.isnan(greatest(np.where(x == x.max(), np.float32(np.nan), x)))


def test_the_greatest_of_nothing_is_minus_infinity():
    from kernels.cpu.functions import greatest

    assert greatest(np.empty(0, np.float32)) == -np.inf
