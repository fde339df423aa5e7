"""Chapter 2: an op is one function."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises.exercise import Chapter, Exercise
from exercises.probes import OpProbe

Generator = np.random.Generator


def positive(rng: Generator, *shape: int) -> Any:
    return np.exp(rng.standard_normal(shape))


def with_ties(rng: Generator) -> tuple[Any, Any]:
    a, b = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    b[1] = a[1]
    return a, b


CHAPTER = Chapter(
    "An op is one function",
    (
        Exercise(
            source="minigrad/ops/elementwise.py: div",
            says="y = a / b, elementwise; the arguments broadcast.",
            cuts=["pullback"],
            task="""
            Derive dy/da and dy/db, and write both pullbacks: a tuple of two functions of g, the
            gradient of y. The op declares that it broadcasts, so the sums over repeated axes are
            made by the walk.

            Only what a pullback names is kept in memory. Can dy/db be written so that a is not
            kept?
            """,
            hints=(
                "dy/da = 1 / b. dy/db = -a / b².",
                "a / b is y, so dy/db = -y / b: a can be freed.",
                "_quiet_div divides without a warning where b is 0.",
            ),
            probe=OpProbe(
                lambda rng: (rng.standard_normal((4, 3)), positive(rng, 3)),
                lambda rng: (rng.standard_normal((300, 300)), positive(rng, 300, 300)),
            ),
            mistakes={
                "dy/db = -a / b², but it was divided by b once only": [("-g * y, b", "-g * a, b")],
                "dy/db = -y / b, but it was divided by b twice": [("-g * y, b", "-g * y, b * b")],
                "dy/da = 1 / b, but it was multiplied by b": [("_quiet_div(g, b)", "g * b")],
            },
        ),
        Exercise(
            source="minigrad/ops/elementwise.py: sigmoid",
            says="y = σ(x) = 1 / (1 + e⁻ˣ).",
            cuts=["pullback"],
            task="""
            Derive dy/dx, and write it in y where you can, so that the op keeps what the next one
            keeps anyway.

            1 - y has no digits left where y is nearly 1. `logistic(x)` is σ(x) with all its digits:
            how do you write 1 - σ(x) with it?
            """,
            hints=(
                "d/dx (1 + e⁻ˣ)⁻¹ = e⁻ˣ (1 + e⁻ˣ)⁻².",
                "That is y (1 - y).",
                "1 - σ(x) = σ(-x) = logistic(-x).",
            ),
            probe=OpProbe(
                lambda rng: (3.0 * rng.standard_normal((4, 3)),),
                lambda rng: (rng.standard_normal((300, 300)),),
            ),
            mistakes={
                "dσ/dx = y (1 - y); the factor 1 - y is missing": [
                    ("g * y * logistic(-x)", "g * y")
                ],
                "dσ/dx = y (1 - y); the factor y is missing": [
                    ("g * y * logistic(-x)", "g * logistic(-x)")
                ],
                "this is the derivative of tanh, 1 - y², for a y that is σ(x)": [
                    ("g * y * logistic(-x)", "g * (1.0 - y * y)")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/elementwise.py: maximum",
            says="y = the larger of a and b, elementwise; the arguments broadcast.",
            cuts=["pullback"],
            task="""
            Which of the two gets the gradient, and where? Where a equals b the derivative does not
            exist; the library gives each side half, as PyTorch does. What would be wrong if both
            got all of it?

            chosen_part(g, wins, ties) is g where the argument wins, and half of it at a tie.
            """,
            hints=(
                "Two pullbacks, each with comparisons of a and b.",
                "a wins where a > b. They tie where a == b.",
                "If both got all, the gradients of a and b would add up to 2 g at a tie, but "
                "moving both up by 1 "
                "moves y up by 1.",
            ),
            probe=OpProbe(
                with_ties,
                lambda rng: (rng.standard_normal((300, 300)), rng.standard_normal((300, 300))),
                second_order=False,
            ),
            mistakes={
                "at a tie both sides get the whole gradient, so it is counted twice": [
                    ("a > b, a == b", "a >= b, a != a"),
                    ("b > a, a == b", "b >= a, a != a"),
                ],
                "at a tie nobody gets a gradient": [
                    ("a > b, a == b", "a > b, a != a"),
                    ("b > a, a == b", "b > a, a != a"),
                ],
                "the smaller one gets the gradient": [
                    ("a > b, a == b", "a < b, a == b"),
                    ("b > a, a == b", "b < a, a == b"),
                ],
                "both get the gradient everywhere: only the larger one may": [
                    ("chosen_part(g, a > b, a == b)", "g"),
                    ("chosen_part(g, b > a, a == b)", "g"),
                ],
            },
        ),
    ),
)
