"""Chapter 3: broadcasting, undone in one place; and two ops that repeat and sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exercises.exercise import Chapter, Exercise
from exercises.probes import Numbers, OpProbe, Program
from minigrad import graph

SHAPES = ((3,), (1, 3), (2, 1), (2, 3), ())


def sums_back() -> Numbers:
    """Gradients of shape (4, 2, 3) brought back to shapes that broadcast to it."""
    g = np.random.default_rng(0).standard_normal((4, 2, 3))
    return {f"(4, 2, 3) to {shape}": graph.unbroadcast(g, shape) for shape in SHAPES}


def rows(rng: np.random.Generator) -> Sequence[Any]:
    return rng.standard_normal((2, 5, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4)


CHAPTER = Chapter(
    "Broadcasting, undone in one place",
    (
        Exercise(
            source="minigrad/graph.py: unbroadcast",
            says="Sum `g` over the axes along which an array of `shape` was repeated.\n\n"
            "Returns `g` itself if nothing was repeated.",
            cuts=["axes = ... total ="],
            task="""
            NumPy repeats an array along new axes in front, and along axes of length 1. A value that
            is used in n places gets n gradients, which add up. `extra` is the number of new axes in
            front: find the axes of g along which to sum, and sum (`widen(g)` does it in float32 for
            float16).
            """,
            hints=(
                "The axes 0 to extra - 1 of g are new.",
                "Axis i of `shape` is axis extra + i of g. It was repeated if it has length 1 in "
                "`shape` and not "
                "in g.",
                "np.sum(widen(g), axis=axes); the last line of the function brings axes of length "
                "1 back.",
            ),
            probe=Program(sums_back),
            mistakes={
                "the gradients of the copies are averaged; they must be added": [
                    ("np.sum", "np.mean")
                ],
                "of the gradients of the copies only one is taken; they must be added": [
                    ("np.sum(widen(g), axis=axes)", "np.min(widen(g), axis=axes)")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/reduce.py: mean",
            says="y = Σ x / n over the axes.    NaN over an empty axis",
            cuts=["pullback"],
            task="""
            x has `shape`, y lacks the reduced axes, and n elements go into each mean. What is
            dy/dx_i? The gradient must have the shape of x again.

            expand(g, shape, axes) gives g the reduced axes back, with length 1, and
            np.broadcast_to(a, shape) repeats without a copy.
            """,
            hints=(
                "Every x_i moves its mean by 1/n.",
                "The gradient of a sum is a repetition: np.broadcast_to(..., shape).",
                "Divide g before it is repeated, not after: it is n times smaller.",
            ),
            probe=OpProbe(
                lambda rng: (rng.standard_normal((4, 3, 2)), 1),
                lambda rng: (rng.standard_normal((300, 300)), 1),
            ),
            mistakes={
                "it is divided by the number of all elements, and must be by those of one mean": [
                    ("g / builtins.max(n, 1)", "g / math.prod(shape)")
                ],
                "it is multiplied by n, and must be divided": [("g / builtins.max(n, 1)", "g * n")],
                "this is the gradient of a sum: the division by n is missing": [
                    ("g / builtins.max(n, 1)", "g")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/linalg.py: linear",
            says="y = x Wᵀ + b.    x (..., in), weight (out, in), bias (out,) -> y (..., out)",
            cuts=["return shaped(y"],
            task="""
            Everything is computed on `rows` (N, in), x with its leading axes as one; y is (N, out)
            here, `flat` is its shape, and `shape` that of x. Return y in its full shape and the
            three pullbacks.

            Derive them from y_no = Σ_i x_ni W_oi + b_o, element by element: which y does x_ni meet,
            which does W_oi, which does b_o? Then write the sums as products.
            """,
            hints=(
                "gx_ni = Σ_o g_no W_oi, which is g W. gW_oi = Σ_n g_no x_ni, which is gᵀ x. gb_o "
                "= Σ_n g_no.",
                "shaped(y, (*shape[:-1], flat[-1])) is the value; shaped(g, flat) is g as rows "
                "(N, out).",
                "product(a, b) multiplies matrices, mT(a) transposes, column_sum(g) adds the rows.",
            ),
            probe=OpProbe(
                lambda rng: tuple(rows(rng)),
                lambda rng: (
                    rng.standard_normal((300, 200)),
                    rng.standard_normal((100, 200)),
                    rng.standard_normal(100),
                ),
            ),
            mistakes={
                "the bias was added to every row, so its gradient is the sum over the rows, not "
                "their mean": [
                    ("column_sum(shaped(g, flat))", "column_sum(shaped(g, flat)) / flat[0]")
                ],
            },
        ),
    ),
)
