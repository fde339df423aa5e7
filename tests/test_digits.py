"""Functions that come close to 0 keep their digits there, and so do their derivatives.

σ(-20) is 2.06e-9. Written as (1 + tanh(-10)) / 2 it is 0 in float32, and as 1 - σ(20) too; the same
holds for Φ, which is in gelu, and for all that is made of these two. The right values are computed
in float64 by the formulas below, none of which subtracts two numbers that are nearly equal.
"""

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


# --- the right values -----------------------------------------------------------------------------
def sigmoid(x):
    return math.exp(min(x, 0.0)) / (1.0 + math.exp(-abs(x)))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def normal(x):
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def density(x):
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def u(x):
    return math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)


def du(x):
    return math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)


def slope_of_gelu_tanh(x):
    s = sigmoid(2.0 * u(x))
    return s * (1.0 + 2.0 * x * du(x) * sigmoid(-2.0 * u(x)))


def entropy(target):
    """Of logit x and a target of 0 or 1."""
    return lambda x: mg.binary_cross_entropy_with_logits(
        x, mg.Tensor(np.full(x.shape, target, x.dtype)), reduction="sum"
    )


def gated(x):
    """glu with x as the gate of 1."""
    return mg.glu(mg.concatenate([np.ones_like(x.data), x]))


FAR = [-85.0, -50.0, -20.0, -10.0, -3.0, -1.0, -0.1, 0.1, 1.0, 3.0, 10.0, 20.0, 50.0, 85.0]
NEAR = [-12.5, -9.0, -6.0, -5.0, -3.0, -1.0, -0.3, -1e-4, 1e-4, 0.5, 2.0, 5.0, 9.0]
EXACT = {
    # name: the function, its value, its derivative, points, and by how much a relative error of x,
    # or of what is made of x first, reaches the result
    "sigmoid": (mg.sigmoid, sigmoid, lambda x: sigmoid(x) * sigmoid(-x), FAR, lambda x: 0.0),
    "silu": (
        mg.silu,
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1.0 + x * sigmoid(-x)),
        FAR,
        abs,  # 1 + x σ(-x) changes its sign at -1.28
    ),
    "softplus": (mg.softplus, softplus, sigmoid, FAR, lambda x: 0.0),
    "logsigmoid": (
        mg.logsigmoid,
        lambda x: -softplus(-x),
        lambda x: sigmoid(-x),
        FAR,
        lambda x: 0.0,
    ),
    "logaddexp": (lambda x: mg.logaddexp(x, 0.0), softplus, sigmoid, FAR, lambda x: 0.0),
    "glu": (gated, sigmoid, lambda x: sigmoid(x) * sigmoid(-x), FAR, lambda x: 0.0),
    "entropy of 0": (entropy(0.0), softplus, sigmoid, FAR, lambda x: 0.0),
    "entropy of 1": (
        entropy(1.0),
        lambda x: softplus(-x),
        lambda x: -sigmoid(-x),
        FAR,
        lambda x: abs(x) / softplus(-x) if abs(x) < 1.0 else 0.0,  # max(x, 0) - x + log(...)
    ),
    "elu": (
        mg.elu,
        lambda x: x if x > 0 else math.expm1(x),
        lambda x: math.exp(min(x, 0)),
        FAR,
        lambda x: 0.0,
    ),
    "expm1": (mg.expm1, math.expm1, math.exp, FAR, lambda x: 0.0),
    "erfc": (
        mg.erfc,
        math.erfc,
        lambda x: -2.0 / math.sqrt(math.pi) * math.exp(-x * x),
        [x for x in NEAR if abs(x) < 9.1],
        lambda x: x * x,
    ),
    "gelu": (
        mg.gelu,
        lambda x: x * normal(x),
        lambda x: normal(x) + x * density(x),
        NEAR,
        lambda x: x * x,
    ),
    "gelu tanh": (
        lambda x: mg.gelu(x, approximate="tanh"),
        lambda x: x * sigmoid(2.0 * u(x)),
        slope_of_gelu_tanh,
        [x for x in NEAR if x > -9.0],
        lambda x: abs(2.0 * u(x)),
    ),
}


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_value_and_derivative_have_all_digits(name, dtype, on):
    """Relative error below (8 + 4 c) eps: eight roundings, four in what the factor c applies to.

    Each point by itself, so that entropies, which are summed here, have one term.
    """
    function, value, derivative, points, amplified = EXACT[name]
    for point in points:
        x = mg.tensor(np.array([point], dtype), requires_grad=True)
        exact = x.data.astype(np.float64).item()
        with mg.use_kernels(on):
            y = function(x)
            y.sum().backward()
        found = np.append(y.detach().numpy().reshape(-1)[-1:], x.grad.numpy()).astype(np.float64)
        wanted = np.array([value(exact), derivative(exact)])
        limit = (8.0 + 4.0 * amplified(exact)) * float(np.finfo(dtype).eps)
        assert (np.abs(found - wanted) <= limit * np.abs(wanted)).all(), (point, found, wanted)


# --- gates of an LSTM -----------------------------------------------------------------------------
def closed_gates():
    """Arguments of a cell whose pre-activations are its bias, so that i = σ(-20), f = σ(-30), g = 1
    and o = σ(-25); h and c; and the gradient of the bias from that of h, which is 1."""
    shapes = (1, 1), (1, 1), (1, 1), (4, 1), (4, 1)
    x, h, c, w_ih, w_hh = (np.zeros(s, np.float32) for s in shapes)
    bias = np.float32([-20.0, -30.0, 20.0, -25.0])
    i, f, o = (sigmoid(z) for z in (-20.0, -30.0, -25.0))
    new = i + 3.0 * f  # tanh(20) is 1 to 1e-17, tanh(new) is new, and 1 - i is 1 to 2e-9
    return [x, h, c + 3.0, w_ih, w_hh, bias], [o * new, new], [o * i, o * 3.0 * f, 0.0, o * new]


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
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_tanh_form_of_gelu_has_a_slope_where_x_cubed_overflows(dtype, on):
    largest = float(np.finfo(dtype).max) / 2
    x = mg.tensor(np.array([-largest, -1e3, 1e3, largest], dtype), requires_grad=True)
    with mg.use_kernels(on):
        y = mg.gelu(x, approximate="tanh")
        y.backward(np.ones(4, dtype))
    assert y.tolist() == [0.0, 0.0, *x.tolist()[2:]]
    assert x.grad.tolist() == [0.0, 0.0, 1.0, 1.0]
