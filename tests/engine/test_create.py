"""New tensors: their dtypes, and what is refused."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


@pytest.mark.parametrize(
    ("bounds", "numbers", "dtype"),
    [
        ((0,), [], np.int64),
        ((2, 2), [], np.int64),
        ((3,), [0, 1, 2], np.int64),
        ((2**62, 2**62 + 2), [2**62, 2**62 + 1], np.int64),
        ((np.int8(0),), [], np.int64),
        ((5, 0, -2), [5, 3, 1], np.int64),
        ((0.0,), [], np.float32),
        ((1, 1, 0.5), [], np.float32),
        ((0, 1, 0.25), [0.0, 0.25, 0.5, 0.75], np.float32),
        ((mg.tensor(2),), [0, 1], np.int64),
    ],
)
def test_arange_has_the_dtype_of_its_bounds_however_many_numbers_there_are(bounds, numbers, dtype):
    t = mg.arange(*bounds)
    assert t.tolist() == numbers
    assert t.dtype == dtype
    for asked in (np.int8, np.float64):
        if not numbers or max(numbers) < 100:
            assert mg.arange(*bounds, dtype=asked).dtype == asked


def test_numbers_that_fill_a_tensor_take_its_dtype():
    assert mg.full((2, 1), 3).tolist() == [[3.0], [3.0]]
    for made in (mg.full((0,), 3), mg.zeros(2), mg.ones((2, 0)), mg.full((2,), mg.tensor(7))):
        assert made.dtype == np.float32
    assert mg.zeros((2,), ">f8").dtype.isnative
    assert mg.full((), True, bool).tolist() is True
    with pytest.raises(RuntimeError, match="needs a gradient, which an array would lose"):
        mg.full((2,), mg.tensor(7.0, requires_grad=True))


MAKERS = {
    "tensor": lambda dtype: mg.tensor([1.0], dtype),
    "full": lambda dtype: mg.full((1,), 1.0, dtype),
    "zeros": lambda dtype: mg.zeros((1,), dtype),
    "ones": lambda dtype: mg.ones((1,), dtype),
    "tensor, arange": lambda dtype: mg.arange(1, dtype=dtype),
    "dtype, astype": lambda dtype: mg.tensor([1.0]).astype(dtype),
    "one_hot": lambda dtype: mg.one_hot(0, 1, dtype),
    "uniform": lambda dtype: mg.random.uniform((1,), dtype=dtype),
    "normal": lambda dtype: mg.random.normal((1,), dtype=dtype),
    "astype, Module": lambda dtype: nn.Linear(1, 1).astype(dtype).weight,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_only_dtypes_of_real_numbers_in_the_byte_order_of_this_machine(maker):
    make, name = MAKERS[maker], maker.split(",")[0]
    for dtype in (complex, "U3", object, "datetime64[s]"):
        with pytest.raises(TypeError, match=rf"{name}: expected a (floating point )?dtype.*, got"):
            make(dtype)
    for dtype in (3, "float33", [3]):
        with pytest.raises(TypeError, match=rf"{name}: expected a dtype, got"):
            make(dtype)
    for dtype in (np.float64, ">f8", "<f8"):
        found = make(dtype).dtype
        assert found == np.float64
        assert found.isnative


def test_the_axes_of_a_shape_one_by_one_are_refused_with_the_remedy():
    for make in (mg.zeros, mg.ones, lambda *axes: mg.full(2, 0.0, 3)):
        with pytest.raises(TypeError, match=r"expected a dtype, got 3; a shape .* is one tuple"):
            make(2, 3)


def test_arange_and_from_dlpack_say_what_they_expect():
    for bounds in ((), (0, 3, 1, 2)):
        with pytest.raises(TypeError, match=r"arange: expected stop.*, got \("):
            mg.arange(*bounds)
    with pytest.raises(TypeError, match="from_dlpack: expected another library's array, got int"):
        mg.from_dlpack(3)
