"""Random numbers stay within their bounds."""

import math

import numpy as np
import pytest

import minigrad as mg

DTYPES = [np.float16, np.float32, np.float64]


# --- uniform --------------------------------------------------------------------------------------
class Largest:
    """In the place of a generator: the largest number below 1 that it can draw, or 0."""

    def __init__(self, number):
        self.number = number

    def random(self, shape, dtype=np.float64):
        below = 1.0 - (2.0**-24 if dtype is np.float32 else 2.0**-53)
        return np.full(shape, below if self.number else 0.0, dtype)


BOUNDS = [
    (0.0, 1.0),
    (1.0, 2.0),
    (-2.0, -1.0),
    (1e3, 1e3 + 1),
    (0.1, 0.3),
    (-0.7, 0.7),
    (-1.0, 3.0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("largest", [False, True])
def test_uniform_numbers_are_below_high_and_not_below_low(bounds, dtype, largest, monkeypatch):
    """As Python compares them, which is exactly; 1 + (1 - 2^-24) is 2 in float32.

    A distance, a product and a sum are rounded, or the number is moved back by a spacing.
    """
    monkeypatch.setattr(mg.random, "generator", lambda stream: Largest(largest))
    low, high = bounds
    (number,) = mg.random.uniform((1,), low, high, dtype=dtype).tolist()
    assert low <= number < high
    spacing = float(np.spacing(np.abs(np.array(bounds, dtype)).max()))
    assert abs(number - (high if largest else low)) <= 3.0 * spacing


def test_thirty_million_uniform_numbers():
    """One in 2^24 is 2 - 2^-24 before it is rounded, and there is one of these among them."""
    numbers = np.concatenate([mg.random.uniform((1 << 20,), 1.0, 2.0).numpy() for _ in range(30)])
    assert numbers.max() == np.nextafter(np.float32(2.0), np.float32(0.0))
    assert numbers.min() >= 1.0


def test_bounds_without_a_number_between_them():
    assert mg.random.uniform((2,), 0.7, 0.7, dtype=np.float64).tolist() == [0.7, 0.7]
    assert mg.random.uniform((2,), 0.5, 0.5).tolist() == [0.5, 0.5]
    assert mg.random.uniform((2,), 1.0, 1.0 + 1e-9).tolist() == [1.0, 1.0]
    for low, high in ((1.0, 0.0), (0.0, math.inf), (math.nan, 1.0), (-3e38, 3e38)):
        with pytest.raises(ValueError, match="uniform: expected low <= high, finite in float32"):
            mg.random.uniform((2,), low, high)
    with pytest.raises(ValueError, match="expected bounds with a number of float32 between"):
        mg.random.uniform((2,), 0.7, 0.7 + 1e-9)


@pytest.mark.parametrize("draw", [mg.random.uniform, mg.random.normal])
def test_float16_is_drawn_and_integers_are_not(draw):
    numbers = draw((1000,), dtype=np.float16)
    assert numbers.dtype == np.float16
    mg.random.seed(0)
    assert np.array_equal(numbers.numpy(), draw((1000,)).numpy().astype(np.float16))
    with pytest.raises(TypeError, match=r"(uniform|normal): expected a floating .*, got int64"):
        draw((3,), dtype=np.int64)
