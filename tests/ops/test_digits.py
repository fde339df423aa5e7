"""Functions that come close to 0 keep their digits there, and so do their derivatives.

σ(-20) is 2.06e-9. Written as (1 + tanh(-10)) / 2 it is 0 in float32, and as 1 - σ(20) too; the same
holds for Φ, which is in gelu, and for all that is made of these two. `digits` has the right values.
"""

import importlib.util

import numpy as np
import pytest
from digits import EXACT, closed_gates

import minigrad as mg

EPS = float(np.finfo(np.float32).eps)
DTYPES = [np.float16, np.float32, np.float64]
NUMBA = importlib.util.find_spec("numba") and importlib.util.find_spec("threadpoolctl")
BODIES = [
    pytest.param(False, id="plain"),
    pytest.param(True, id="kernel", marks=pytest.mark.skipif(not NUMBA, reason="needs Numba")),
]


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_value_and_derivative_have_all_digits(name, dtype, on):
    """Relative error below (8 + 4 c) eps: eight roundings, four in what the factor c applies to.

    Each point by itself, so that entropies, which are summed here, have one term. float16 is that
    of float32, rounded once: by 2^-11, or 2^-25 where it has no more digits; beyond it, infinite.
    """
    function, value, derivative, points, amplified = EXACT[name]
    half = dtype is np.float16
    eps = float(np.finfo(np.float32 if half else dtype).eps)
    for point in points:
        x = mg.tensor(np.array([point], dtype), requires_grad=True)
        exact = x.data.astype(np.float64).item()
        with mg.use_kernels(on):
            y = function(x)
            y.sum().backward()
        found = np.append(y.detach().numpy().reshape(-1)[-1:], x.grad.numpy()).astype(np.float64)
        wanted = np.array([value(exact), derivative(exact)])
        limit = (8.0 + 4.0 * amplified(exact)) * eps * np.abs(wanted)
        if half:
            limit += 2.0**-11 * np.abs(wanted) + 2.0**-25
            wanted[np.abs(wanted) > 65504.0] = np.inf
        with np.errstate(invalid="ignore"):
            close = (found == wanted) | (np.abs(found - wanted) <= limit)
        assert close.all(), (point, found, wanted)


# --- gates of an LSTM -----------------------------------------------------------------------------
@pytest.mark.parametrize("on", BODIES)
def test_gates_that_are_nearly_closed(on):
    """Fourteen roundings a number."""
    arrays, values, gradients = closed_gates()
    tensors = [mg.tensor(a, requires_grad=True) for a in arrays]
    with mg.use_kernels(on):
        h, c = mg.lstm_cell(*tensors)
        h.sum().backward()
    found = [h.item(), c.item(), *tensors[-1].grad.tolist()]
    np.testing.assert_allclose(found, [*values, *gradients], rtol=14 * EPS, atol=1e-25)


# --- far out --------------------------------------------------------------------------------------
@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_tanh_form_of_gelu_has_a_slope_where_x_cubed_overflows(dtype, on):
    largest = float(np.finfo(dtype).max) / 2
    x = mg.tensor(np.array([-largest, -1e3, 1e3, largest], dtype), requires_grad=True)
    with mg.use_kernels(on):
        y = mg.gelu(x, approximate="tanh")
        y.backward(np.ones(4, dtype))
    assert y.tolist() == [0.0, 0.0, *x.tolist()[2:]]
    assert x.grad.tolist() == [0.0, 0.0, 1.0, 1.0]
