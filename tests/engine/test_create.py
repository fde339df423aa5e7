"""New tensors: their dtype, and what is told where there can be none."""

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

FILLED = {
    "zeros": mg.zeros,
    "ones": mg.ones,
    "full": lambda *args, **kw: mg.full(args[0], 2, *args[1:], **kw),
}


def said(text):
    return re.escape(text)


# --- arange ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("bounds", [(0,), (5,), (5, 5), (5, 2), (2, 9, 3), (9, 2, -3)])
def test_integers_without_a_dtype_are_int64_also_where_there_are_none(bounds):
    y = mg.arange(*bounds)
    assert y.dtype == np.int64
    assert y.tolist() == list(range(*bounds))


@pytest.mark.parametrize("bounds", [(0.0,), (2.0, 1.0), (0.0, 1.0, 0.25), (0, 1.5)])
def test_floats_without_a_dtype_are_float32_also_where_there_are_none(bounds):
    y = mg.arange(*bounds)
    assert y.dtype == np.float32
    assert np.array_equal(y.numpy(), np.arange(*bounds).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_arange_in_a_dtype(dtype):
    for bounds in ((0,), (3,)):
        y = mg.arange(*bounds, dtype=dtype)
        assert y.dtype == dtype
        assert y.tolist() == list(range(*bounds))


def test_mistakes_in_arange():
    for bounds in ((), (1, 2, 3, 4)):
        with pytest.raises(
            TypeError,
            match=said(
                f"arange: expected stop, (start, stop) or (start, stop, step), got {bounds}"
            ),
        ):
            mg.arange(*bounds)
    with pytest.raises(ZeroDivisionError, match=said("arange: division by zero  [1, 2, 0]")):
        mg.arange(1, 2, 0)
    with pytest.raises(OverflowError, match=r"arange: 298 is out of bounds for uint8"):
        mg.arange(298, 302, dtype=np.uint8)


# --- filled ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FILLED)
def test_lengths_given_one_by_one_are_not_taken_for_a_dtype(name):
    text = f"{name}: expected a dtype, got 3; lengths are one argument, a tuple"
    with pytest.raises(TypeError, match=said(text)):
        FILLED[name](2, 3)
    for shape in (2, (2, 3), [2, 3], (), (0, 2), np.array([2, 3])):
        assert FILLED[name](shape).shape == np.zeros(shape).shape
        assert FILLED[name](shape, None).dtype == np.float32


@pytest.mark.parametrize("name", FILLED)
@pytest.mark.parametrize("dtype", ["cuda", "nope", complex, str, object, "datetime64[s]"])
def test_a_dtype_that_tensors_do_not_have(name, dtype):
    text = rf"{name}: expected a boolean, integer or floating point dtype, got .* +\[shape=\(2,\)"
    with pytest.raises(TypeError, match=text):
        FILLED[name]((2,), dtype)


@pytest.mark.parametrize(
    ("shape", "kind"), [((2, -1), ValueError), ((2.5,), TypeError), ("ab", TypeError)]
)
def test_a_shape_that_is_none(shape, kind):
    for name, f in FILLED.items():
        with pytest.raises(kind, match=said(f"[shape={shape!r}, value=")) as error:
            f(shape)
        assert str(error.value).startswith(f"{name}: ")


def test_values_that_fill_no_tensor():
    with pytest.raises(OverflowError, match="full: 300 is out of bounds for uint8"):
        mg.full((2,), 300, np.uint8)
    with pytest.raises(ValueError, match=r"full: .*value='a'"):
        mg.full((2,), "a")
    with pytest.raises(TypeError, match="full: the value carries a gradient"):
        mg.full((2,), mg.tensor(1.0, requires_grad=True))
    assert mg.full((2,), mg.tensor(1.5)).tolist() == [1.5, 1.5]


# --- dtypes, elsewhere ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("tensor", lambda dtype: mg.tensor([1.0], dtype)),
        ("astype", lambda dtype: mg.tensor([1.0]).astype(dtype)),
        ("one_hot", lambda dtype: mg.one_hot([0], 2, dtype)),
        ("uniform", lambda dtype: mg.random.uniform((2,), dtype=dtype)),
        ("normal", lambda dtype: mg.random.normal((2,), dtype=dtype)),
        ("astype", lambda dtype: nn.Linear(1, 1).astype(dtype).weight),
    ],
)
@pytest.mark.parametrize("dtype", ["nope", complex, object])
def test_every_function_that_takes_a_dtype_refuses_the_others_by_name(name, call, dtype):
    with pytest.raises(TypeError, match=rf"{name}: expected a .*floating point dtype, got "):
        call(dtype)
    for asked in (np.float64, ">f8", "<f8"):  # in whatever byte order, that of this machine comes
        found = call(asked).dtype
        assert found == np.float64
        assert found.isnative


# --- whole numbers that a dtype does not hold -----------------------------------------------------
@pytest.mark.parametrize("number", [300, -1, 10**30])
def test_a_number_is_refused_where_numpy_would_wrap_it(number):
    """np.where(m, u, 300) and np.pad(u, 1, constant_values=300) of uint8 have 44 in them."""
    u = mg.tensor([1, 2], np.uint8)
    calls = {
        "tensor": lambda: mg.tensor([1, number], np.uint8),
        "where": lambda: mg.where(u > 1, u, number),
        "where ": lambda: mg.where(u > 1, number, u),
        "masked_fill": lambda: mg.masked_fill(u, u > 1, number),
        "pad": lambda: mg.pad(u, 1, constant_values=number),
        "full": lambda: mg.full((2,), number, np.uint8),
        "t[...] = value": lambda: u.__setitem__(0, number),
    }
    for name, call in calls.items():
        with pytest.raises(
            OverflowError, match=said(name.strip()) + r": .*(out of bounds for uint8|too large)"
        ):
            call()
    assert u.tolist() == [1, 2]
    assert mg.where(u > 1, u, 255).tolist() == [255, 2]
    assert mg.pad(u, 1, constant_values=255).tolist() == [255, 1, 2, 255]
    assert mg.where(u > 1, u, 0.5).tolist() == [0.5, 2.0]


def test_an_assignment_that_fails_says_what_was_assigned_to_what():
    t = mg.tensor([1.0, 2.0])
    with pytest.raises(
        ValueError, match=r"t\[\.\.\.\] = value: .*  \[t \(2,\) float32, value \(3,\) float64\]"
    ):
        t[:] = np.zeros(3)
    with pytest.raises(
        IndexError,
        match=r"t\[\.\.\.\] = value: .*out of bounds.*  \[t \(2,\) float32, value 1\.0\]",
    ):
        t[5] = 1.0
    assert t.tolist() == [1.0, 2.0]
