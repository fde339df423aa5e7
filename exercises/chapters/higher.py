"""Chapter 5: derivatives of derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from exercises.chapters.ops import positive
from exercises.exercise import Chapter, Exercise
from exercises.probes import Numbers, OpProbe, Program, verdict
from minigrad.tensor import raw


@mg.op
def frozen_slope(x: Any) -> Any:
    """x², whose slope is a constant to the engine: the first derivative is right, the second 0."""
    slope = 2.0 * raw(x)
    return x * x, lambda g: g * slope


@mg.op
def frozen_softmax(x: Any) -> Any:
    """A softmax held constant in its pullback, which the sum of its outputs, 1, does not show."""
    e = np.exp(raw(x) - np.max(raw(x), axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1, keepdims=True)
    e = np.exp(x - np.max(raw(x), axis=-1, keepdims=True))
    y = e / np.sum(e, axis=-1, keepdims=True)
    return y, lambda g: p * (g - np.sum(g * p, axis=-1, keepdims=True))


def second_orders() -> Numbers:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    return {
        "tanh": verdict(mg.tanh, x, order=2),
        "a product": verdict(mg.mul, x, y, order=2),
        "softmax": verdict(mg.softmax, x, order=2),
        "tanh, to third order": verdict(mg.tanh, x[0], order=3),
        "a square whose slope is held constant, first order": verdict(frozen_slope, x),
        "a square whose slope is held constant, second order": verdict(frozen_slope, x, order=2),
        "a softmax held constant in its gradient, second order": verdict(
            frozen_softmax, x, order=2
        ),
    }


CHAPTER = Chapter(
    "Derivatives of derivatives",
    (
        Exercise(
            source="minigrad/ops/elementwise.py: rsqrt",
            says="y = 1 / √x.",
            cuts=["pullback"],
            task="""
            Derive dy/dx and write it in y only. For the second derivative the engine runs this body
            again on tensors, where y is a tensor too: nothing more is to be done, if the pullback
            is plain NumPy.
            """,
            hints=(
                "y = x^(-1/2), so dy/dx = -1/2 x^(-3/2).",
                "x^(-3/2) is y³.",
                "Write y * y * y: a power of an array takes ten times as long.",
            ),
            probe=OpProbe(
                lambda rng: (positive(rng, 4, 3),),
                lambda rng: (positive(rng, 300, 300),),
            ),
            mistakes={
                "the power of y is wrong: x^(-3/2) = y³": [("y * y * y", "y * y")],
                "this is the derivative of √x": [("-0.5 * g * y * y * y", "0.5 * g * y")],
            },
        ),
        Exercise(
            source="minigrad/ops/nn.py: log_softmax",
            says="y_i = x_i - log Σ_j e^(x_j) along an axis.",
            cuts=["pullback"],
            task="""
            Derive dy_i/dx_j, multiply by g_i and sum over i. What is e^y, which you need?

            Then ask gradcheck for order=2 and explain why no second rule was needed.
            """,
            hints=(
                "dy_i/dx_j = δ_ij - e^(x_j) / Σ e^x = δ_ij - e^(y_j).",
                "gx_j = g_j - e^(y_j) Σ_i g_i.",
                "The sum keeps its axis: np.sum(g, axis=axis, keepdims=True).",
            ),
            probe=OpProbe(
                lambda rng: (rng.standard_normal((4, 5)),),
                lambda rng: (rng.standard_normal((300, 300)),),
                cases={"along axis 0": (lambda rng: (rng.standard_normal((4, 5)), 0), {})},
            ),
            mistakes={
                "the sum over g is missing: every x_j moves every y_i": [
                    (" * np.sum(g, axis=axis, keepdims=True)", " * g")
                ],
                "the softmax e^y is missing as a factor of Σ g": [("np.exp(y) * ", "")],
                "the second term is missing: g is passed on as if the normalization were "
                "constant": [("g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)", "g")],
                "this is the gradient of softmax, not of its logarithm": [
                    (
                        "g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)",
                        "np.exp(y) * (g - np.sum(g * np.exp(y), axis=axis, keepdims=True))",
                    )
                ],
            },
        ),
        Exercise(
            source="minigrad/gradcheck.py: gradient_function",
            says="(arguments, cotangents) -> gradients of `f`, recorded, so that they can be "
            "checked too.",
            cuts=["def total", "return grad"],
            task="""
            To check second derivatives, gradcheck checks the function that computes the first ones.
            Its arguments are those of f followed by the cotangents: `everything`, of which the
            first n are f's.

            `total` returns Σ c y over all outputs, as a tensor. The function to return is the
            gradient of total with respect to the `variables`, by `grad`, in such a way that the
            walk is recorded.
            """,
            hints=(
                "outputs(f, f(*everything[:n])) are the y, everything[n:] the c.",
                "functools.reduce(operator.add, terms) adds a list of tensors.",
                "grad(total, argnums=variables, create_graph=True).",
            ),
            probe=Program(second_orders),
            mistakes={
                "the gradients are not recorded (create_graph), so they have no derivative": [
                    ("create_graph=True", "create_graph=False")
                ],
                "the cotangents are missing from the sum": [("(y * c).sum()", "y.sum()")],
            },
        ),
    ),
)
