"""Chapter 6: fused ops and their composites. It ends in an LSTM that learns."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

import minigrad as mg
from exercises.exercise import Chapter, Exercise
from exercises.probes import Call, Numbers, OpProbe
from minigrad import nn, optim
from minigrad.ops.lstm import activate, gates_of


def one_step() -> Sequence[Any]:
    """gates, c', tanh c, dh, dc, and dz and tmp to be filled, for four units and three samples."""
    rng = np.random.default_rng(0)
    size, batch = 4, 3
    gates = rng.standard_normal((4 * size, batch))
    activate(gates)
    c_prev, dh, dc = (rng.standard_normal((size, batch)) for _ in range(3))
    i, f, g, _ = gates_of(gates)
    t = np.tanh(f * c_prev + i * g)
    return gates, c_prev, t, dh, dc, np.full_like(gates, np.nan), np.empty_like(c_prev)


def gradients_of_step(args: Sequence[Any], _: Any) -> Numbers:
    _, _, _, dh, dc, dz, _ = args
    names = ("dz_i", "dz_f", "dz_g", "dz_o")
    return {**dict(zip(names, gates_of(dz), strict=True)), "dc of the step before": dc, "dh": dh}


class Recall(nn.Module):
    """Says at the end of a sequence which digit came first."""

    def __init__(self, digits: int, size: int) -> None:
        self.words = nn.Embedding(digits, size)
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.out = nn.Linear(size, digits)

    def forward(self, ids: Any) -> Any:
        states, _ = self.lstm(self.words(ids))
        return self.out(states[:, -1])


def recalls() -> str:
    """Train the LSTM on sequences of eight digits."""
    mg.random.seed(0)
    rng = np.random.default_rng(0)
    model = Recall(8, 32)
    optimizer = optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.0)
    start, losses = perf_counter(), []
    for _ in range(250):
        ids = rng.integers(0, 8, (64, 8))
        optimizer.zero_grad()
        loss = mg.cross_entropy(model(ids), ids[:, 0])
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    ids = rng.integers(0, 8, (500, 8))
    with mg.no_grad():
        right = float((model(ids).numpy().argmax(axis=-1) == ids[:, 0]).mean())
    if right < 0.9:
        raise AssertionError(
            f"an LSTM with this step recalls {right:.0%} of first digits, not 90 %"
        )
    return (
        f"An LSTM with your backward step has learnt to remember: it read eight digits and named "
        f"the first one in {right:.0%} of 500 new sequences. Loss {losses[0]:.2f} -> "
        f"{losses[-1]:.3f}, {perf_counter() - start:.1f} s."
    )


CHAPTER = Chapter(
    "Fused ops and their composites",
    (
        Exercise(
            source="minigrad/ops/nn.py: softmax",
            says="y_i = e^(x_i) / Σ_j e^(x_j) along an axis.\n\n"
            "The maximum is subtracted first, so that no exponential overflows.",
            cuts=["pullback"],
            task="""
            Derive dy_i/dx_j for i = j and for i ≠ j, write both as one formula with δ_ij, multiply
            by g_i and sum over i. The result must not have a sum over pairs (i, j): one sum along
            the axis is enough.

            What is gx if g is 1 everywhere, and why must it be so?
            """,
            hints=(
                "For i ≠ j: -y_i y_j. For i = j: y_i - y_i².",
                "dy_i/dx_j = y_i (δ_ij - y_j), so gx_j = y_j g_j - y_j Σ_i g_i y_i.",
                "y * (g - np.sum(g * y, axis=axis, keepdims=True))",
            ),
            probe=OpProbe(
                lambda rng: (rng.standard_normal((4, 5)),),
                lambda rng: (rng.standard_normal((300, 300)),),
                cases={"along axis 0": (lambda rng: (rng.standard_normal((4, 5)), 0), {})},
            ),
            mistakes={
                "the second term is missing: raising one output lowers all others": [
                    ("y * (g - np.sum(g * y, axis=axis, keepdims=True))", "y * g")
                ],
                "the sum is over everything, and must be along the axis": [
                    ("np.sum(g * y, axis=axis, keepdims=True)", "np.sum(g * y)")
                ],
                "the sum is of g, and must be of g y": [("np.sum(g * y,", "np.sum(g,")],
                "the mean of g y is subtracted, and must be its sum": [
                    ("np.sum(g * y,", "np.mean(g * y,")
                ],
                "y (1 - y) is the diagonal only: every x_j moves every y_i": [
                    ("y * (g - np.sum(g * y, axis=axis, keepdims=True))", "g * y * (1.0 - y)")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/norm.py: layer_norm",
            says="y = (x - μ) / √(σ² + ε) w + b, over the last axis.    x, y (..., D), w, b (D,)",
            cuts=["inner = ... ghat *= r", "gw ="],
            task="""
            x̂ = (x - μ) r, and both μ and r depend on every x. Derive dx̂_i/dx_j. With ĝ = g w, the
            gradient of x̂, the result subtracts from ĝ its mean and its component along x̂, and
            multiplies by r. `ghat` may be changed in place; row_sum and row_dot(a, b) keep the last
            axis, `size` is D.

            Then gw: along which axes was w repeated? column_dot(a, b) is Σ a b over the rows;
            without a weight it is None.
            """,
            hints=(
                "dx̂_i/dx_j = r (δ_ij - 1/D - x̂_i x̂_j / D).",
                "gx = r (ĝ - mean(ĝ) - x̂ mean(ĝ x̂)). Take mean(ĝ x̂) before ĝ changes.",
                "inner = row_dot(ghat, xhat) / size; ghat -= row_sum(ghat) / size; ghat -= xhat * "
                "inner; "
                "ghat *= r. gw = column_dot(g, xhat).",
            ),
            probe=OpProbe(
                lambda rng: (
                    2.0 * rng.standard_normal((2, 3, 5)) + 1.0,
                    rng.standard_normal(5),
                    rng.standard_normal(5),
                ),
                lambda rng: (rng.standard_normal((300, 300)), np.ones(300), np.zeros(300)),
            ),
            mistakes={
                "the mean of ĝ is not subtracted: μ depends on x too": [
                    ("        ghat -= row_sum(ghat) / size\n", "")
                ],
                "the term x̂ mean(ĝ x̂) is missing: r depends on x too": [
                    ("        ghat -= xhat * inner\n", "")
                ],
                "mean and spread are taken as constants: two terms are missing": [
                    ("        ghat -= row_sum(ghat) / size\n        ghat -= xhat * inner\n", "")
                ],
                "the factor r is missing": [("        ghat *= r\n", "")],
                "a sum where a mean belongs: the division by D is missing in mean(ĝ x̂)": [
                    ("row_dot(ghat, xhat) / size", "row_dot(ghat, xhat)")
                ],
                "the gradient of w is Σ g: x̂ is missing": [
                    ("column_dot(g, xhat)", "column_sum(g)")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/lstm.py: step_backward",
            says="One step backward: fills dz (4H, B); dc becomes dc'. The rest is (H, B); "
            "dh stays.\n\n"
            "gates: i, f, g, o after their activations.    c_prev: c of the step before\n"
            "t: tanh(c)    dh, dc: what has arrived at h and c    tmp: to compute in",
            cuts=["np.multiply(dh, t ... dc *= f"],
            task="""
            The step was c = f c' + i g and h = o tanh(c), with i, f, o = σ(z) and g = tanh(z_g). c
            reaches the loss through h and through the next step, whose gradient is already in dc:
            it is the diamond of chapter 1. Add first what comes through h, and only then use dc.

            Fill dz_i, dz_f, dz_g, dz_o with the gradients of the z, and leave in dc the gradient of
            c'. All is written into arrays that are there (dz_o[...] = ..., or out=): nothing is
            allocated.
            """,
            hints=(
                "dc += dh o (1 - t²), with t = tanh(c).",
                "dz_o = dh t o (1 - o). dz_i = dc g i (1 - i). dz_f = dc c' f (1 - f). dz_g = dc "
                "i (1 - g²).",
                "Last, dc *= f: the gradient of c'.",
            ),
            probe=Call(one_step, gradients_of_step),
            mistakes={
                "what came from the next step is overwritten: dc += ..., both ways count": [
                    ("    dc += tmp\n", "    dc[...] = tmp\n")
                ],
                "what reaches c through h is not added to dc": [("    dc += tmp\n", "")],
                "dc is not multiplied by f at the end: c' was": [("    dc *= f\n", "")],
                "the derivative of tanh is missing on the way from h to c: 1 - t²": [
                    ("    np.subtract(dh, tmp, out=tmp)\n", "    tmp[...] = dh\n")
                ],
                "dz_f uses g where c of the step before belongs": [
                    ("np.multiply(dc, c_prev, out=dz_f)", "np.multiply(dc, g, out=dz_f)")
                ],
                "the derivative of the candidate's tanh is missing: 1 - g²": [
                    ("    dz_g -= tmp\n", "")
                ],
                "the derivatives of the gates are missing: a (1 - a)": [("        d -= tmp\n", "")],
            },
            run=recalls,
        ),
    ),
)
