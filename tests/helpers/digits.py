"""Right values of functions that come close to 0, and of their derivatives, in float64.

None of the formulas subtracts two numbers that are nearly equal.
"""

import math

import numpy as np

import minigrad as mg


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
MEDIUM = [x for x in FAR if abs(x) <= 20.0]  # for e^(-2|x|)
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
    "tanh": (
        mg.tanh,
        math.tanh,
        lambda x: 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x),  # 1 - tanh²x
        [*MEDIUM, -42.0, 42.0],
        lambda x: 0.0,
    ),
    "erf": (
        mg.erf,
        math.erf,
        lambda x: 2.0 / math.sqrt(math.pi) * math.exp(-x * x),
        [x for x in NEAR if abs(x) < 9.1],
        lambda x: x * x,
    ),
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
