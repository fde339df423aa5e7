"""Chapter 4: what makes a check of gradients a check."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

import minigrad as mg
from exercises.exercise import Chapter, Exercise
from exercises.probes import Numbers, OpProbe, Program, verdict

gradcheck = importlib.import_module("minigrad.gradcheck")  # minigrad.gradcheck is the function


@mg.op
def no_gradient(x: Any) -> Any:
    """Softmax with a pullback of zeros: right for a cotangent of ones."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True), lambda g: 0.0 * g


@mg.op
def wrong_sign(a: Any, b: Any) -> Any:
    return a - b, (lambda g: g, lambda g: g)


@mg.op
def rotated(x: Any) -> Any:
    return x.transpose(1, 2, 0), lambda g: g.transpose(1, 2, 0)


@mg.op
def slightly_off(x: Any) -> Any:
    return x * x, lambda g: 2.0001 * g * x


def verdicts() -> Numbers:
    """What gradcheck says of right and of wrong ops."""
    rng = np.random.default_rng(0)
    x, y, cube = (rng.standard_normal(s) for s in ((3, 4), (3, 4), (3, 3, 3)))
    return {
        "softmax, which is right": verdict(mg.softmax, x),
        "tanh, which is right": verdict(mg.tanh, x),
        "a product, which is right": verdict(mg.mul, x, y),
        "matmul, which is right": verdict(mg.matmul, x, y.T.copy()),
        "a softmax whose gradient is 0": verdict(no_gradient, x),
        "a difference with a wrong sign": verdict(wrong_sign, x, y),
        "a rotation of axes that is not undone": verdict(rotated, cube),
        "a square whose gradient is off by 5e-5 of itself": verdict(slightly_off, x),
    }


def probed() -> Numbers:
    """Σ c y of functions with one and two results, and what gradcheck makes of it."""
    rng = np.random.default_rng(0)
    x, c, d = (mg.tensor(rng.standard_normal((2, 3))) for _ in range(3))
    two = gradcheck.probe(lambda a, b: (a * b, mg.exp(b)), [x, x], 1, c, [c, d])
    return {
        "one result": gradcheck.probe(mg.tanh, [x], 0, d, [c]),
        "two results": two,
        **verdicts(),
    }


CHAPTER = Chapter(
    "Checking gradients",
    (
        Exercise(
            source="minigrad/gradcheck.py: probe",
            says="Σ c y over all outputs, with x as argument i.",
            cuts=["return sum"],
            task="""
            The check makes one number of all outputs: p = Σ c y, with random numbers c of the
            shapes of the outputs y. `ys` and `cs` are lists of tensors; `.data` is the array of
            one. Return p as a float.

            Why random numbers, and not ones? What is the gradient of the sum of a softmax?
            """,
            hints=(
                "A sum over the pairs of ys and cs.",
                "zip(ys, cs, strict=True), and for each pair the sum of the products of its "
                "elements.",
                "float((y.data * c.data).sum()) for one pair.",
            ),
            probe=Program(probed),
            mistakes={
                "the cotangent is missing: this is Σ y, all-ones cotangents": [
                    ("(y.data * c.data).sum()", "y.data.sum()")
                ],
                "only the first output is counted": [
                    ("in zip(ys, cs, strict=True)", "in [(ys[0], cs[0])]")
                ],
            },
        ),
        Exercise(
            source="minigrad/gradcheck.py: check_once",
            says="Check first derivatives; returns the cotangents of the check.",
            cuts=["cs =", "u = random_like ... up, down", "numeric = probe ... numeric, analytic"],
            task="""
            Three places. First the cotangents `cs`, one tensor of random numbers for each output in
            `ys` (random_like(y, rng)). Then, for argument x, a random direction of small numbers,
            random_like(x, rng) * eps: `up` and `down` are x moved along it and against it. Last the
            two numbers to compare: `numeric`, the difference quotient of probe(f, args, i, ...,
            cs), and `analytic`, what the gradient g says.

            Why both sides and not (p(x + u) - p(x)) / eps? Expand p to third order.
            """,
            hints=(
                "u = random_like(x, rng) * eps.",
                "numeric is probe(..., up, cs) - probe(..., down, cs); analytic is the sum of g "
                "times the step "
                "from down to up. Both are then divided by 2 eps.",
                "The step as it was rounded is up.data - down.data, which is not exactly 2 u.",
            ),
            probe=Program(verdicts),
            mistakes={
                "with cotangents of ones the gradient of a softmax is 0, and wrong ops are "
                "accepted": [
                    (
                        "[random_like(y, rng) for y in ys]",
                        "[Tensor(np.ones_like(y.data)) for y in ys]",
                    )
                ],
                "a quotient of one side is wrong by ε p''/2, so that right gradients are refused": [
                    ("up, down = x + u, x - u", "up, down = x + u, x")
                ],
                "nothing is divided by 2 eps: the two numbers are so small that the absolute "
                "tolerance lets errors pass": [
                    (
                        "numeric, analytic = numeric / (2 * eps), analytic / (2 * eps)",
                        "numeric, analytic = numeric, analytic",
                    )
                ],
                "gradient and quotient are scaled differently, by 2": [
                    ("(g * (up.data - down.data)).sum()", "(g * u.data).sum()")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/nn.py: embedding",
            says="y = weight[ids].    weight (V, D), ids integers of any shape S -> y (*S, D)\n\n"
            "`padding_idx` gets no gradient.",
            cuts=["def pull"],
            task="""
            A check is as good as its cases. Here an id may occur twice: write the pullback so that
            a row that was read in two places gets both gradients, and the row `padding_idx` none.

            add_at(a, ids, g) adds g to the rows `ids` of a, in place. What does a[ids] += g do in
            NumPy if an id occurs twice?
            """,
            hints=(
                "Start with zeros in the shape of weight.",
                "a[ids] += g reads all rows, adds, and writes: of two writes to one row the last "
                "stays.",
                "gw = np.zeros_like(weight); add_at(gw, ids, g); then the padding row is set to 0.",
            ),
            probe=OpProbe(
                lambda rng: (rng.standard_normal((5, 2)), np.array([[0, 3], [0, 2]]), 2),
                lambda rng: (rng.standard_normal((100, 32)), rng.integers(0, 100, 3000)),
                second_order=False,  # the padding row's is 0 by definition
                cases={
                    "without padding": (
                        lambda rng: (rng.standard_normal((3, 2)), np.array([1, 1])),
                        {},
                    ),
                    "with padding_idx 0": (
                        lambda rng: (rng.standard_normal((3, 2)), np.array([0, 1]), 0),
                        {},
                    ),
                },
            ),
            mistakes={
                "an id that occurs twice gets one gradient: it was assigned, not added": [
                    ("add_at(gw, ids, g)", "gw[ids] = g")
                ],
                "without a padding_idx the whole gradient is set to 0": [
                    ("if padding_idx is not None:\n            gw", "if True:\n            gw")
                ],
                "padding_idx = 0 is taken for none": [
                    (
                        "if padding_idx is not None:\n            gw",
                        "if padding_idx:\n            gw",
                    )
                ],
                "the padding row gets a gradient": [("gw[padding_idx] = 0.0", "pass")],
            },
        ),
    ),
)
