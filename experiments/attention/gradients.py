"""What becomes of gradients in deep chains, sections 1.1 and 1.2 of seed 004, by measurement.

    python -m experiments.attention.gradients

Chains of one ReLU unit a layer, and x -> sigmoid(W x) again and again: derivatives and Jacobians by
minigrad in float64, beside the bounds that the seed derives. Nothing is trained.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from experiments.results.claims import Says, decide, fact
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials
from experiments.sweep import experiment
from experiments.sweep.experiment import Experiment, main
from experiments.train.trial import Trial

Floats = np.ndarray[Any, np.dtype[np.float64]]

LAYERS = (1, 2, 4, 8, 16, 32)
CHAINS = 2_000  # of each number of layers
EPS = float(np.finfo(np.float64).eps)
SIZE, MATRICES, LONGEST = 8, 100, 12  # of W, how many, and the greatest n
ROUNDING = 1e-9  # of singular values, relative; far more than they have
SCALES = (0.25, 1.0, 4.0, 16.0)  # largest singular values of W


@dataclass(frozen=True)
class Options(experiment.Options):
    """Section 1: nothing is trained, so most options change nothing."""

    def trials(self) -> dict[str, Trial]:
        return {}


def rounded(value: Any) -> float:
    """In three digits, which are the same on every processor."""
    return float(f"{value:.3g}")


# --- 1.1: one unit a layer ------------------------------------------------------------------------
def chain_gradients(weights: Floats, x: Floats) -> tuple[Floats, Floats]:
    """|df/dx| of h_i = relu(w_i h_(i-1)), h_0 = x, and whether all units are on.

    weights (chains, n), x (chains,) -> (chains,), (chains,)
    """
    w = mg.tensor(weights, dtype=np.float64)

    def f(x: mg.Tensor) -> mg.Tensor:
        h = x
        for i in range(weights.shape[1]):
            h = mg.relu(w[:, i] * h)
        return h.sum()  # the chains have nothing in common

    gradient = mg.grad(f)(mg.tensor(x, dtype=np.float64)).numpy()
    on, h = np.ones(len(x), dtype=bool), x
    for column in weights.T:
        h = np.maximum(column * h, 0.0)
        on &= h > 0.0
    return np.abs(gradient), on


def chains(n: int, low: float = -0.5) -> tuple[Floats, Floats]:
    """Random weights and inputs of chains of n layers: half of the chains have positive weights
    from |low| to 2 and a positive input, and so no unit that is off."""
    random = np.random.default_rng([n, 11])
    weights = random.uniform(low, 2.0, (CHAINS, n))
    x = random.uniform(-1.0, 1.0, CHAINS)
    weights[::2], x[::2] = np.abs(weights[::2]), np.abs(x[::2])
    return weights, x


def chain_rows() -> list[dict[str, Any]]:
    """For every number of layers, how the derivatives lie to the products of the weights."""
    rows = []
    for n in LAYERS:
        weights, x = chains(n)
        gradients, on = chain_gradients(weights, x)
        products = np.prod(np.abs(weights), axis=1)
        apart = float(np.abs(gradients / products - 1.0)[on].max())
        rows.append(
            {
                "layers": n,
                "on": int(on.sum()),
                "equal": apart <= n * EPS,  # both are products of n factors
                "off": float(gradients[~on].max(initial=0.0)),
                "above": int((gradients > products * (1 + n * EPS)).sum()),
                "least": rounded(gradients[on].min()),
                "most": rounded(gradients[on].max()),
            }
        )
    return rows


def chain_table(rows: list[dict[str, Any]]) -> Table:
    heads = [
        "layers", "chains with all units on", "|df/dx| there", "equal to ∏|w| but for rounding",
        "|df/dx| of the others", "above ∏|w|",
    ]  # fmt: skip
    cells = [
        [
            str(r["layers"]), f"{r['on']:,} of {CHAINS:,}", f"{r['least']:.2g} to {r['most']:.2g}",
            "all" if r["equal"] else "not all", f"{r['off']:g}", str(r["above"]),
        ]
        for r in rows
    ]  # fmt: skip
    note = (
        "Weights are random in [-0.5, 2], and inputs in [-1, 1]; every second chain has their "
        f"absolute values. Rounding: n times {EPS:.2g}, for products of n factors."
    )
    return Table("chains", "Chains of one ReLU unit a layer", heads, cells, note, {"rows": rows})


# --- 1.2: the same matrix in every layer ----------------------------------------------------------
def jacobian_norms(weights: Floats, x: Floats, longest: int = LONGEST) -> Floats:
    """The largest singular value of ∂x_n/∂x_1 where x_(t+1) = sigmoid(W x_t).

    weights (K, d, d), x (K, d), of K independent networks -> (longest - 1, K), n = 2 ... longest
    """
    w = mg.tensor(weights, dtype=np.float64)

    def coordinate(x: mg.Tensor, n: int, i: int) -> mg.Tensor:
        for _ in range(n - 1):
            x = mg.sigmoid((w @ x[..., None])[..., 0])
        return x[:, i].sum()

    start = mg.tensor(x, dtype=np.float64)
    found = []
    for n in range(2, longest + 1):
        rows = [
            mg.grad(lambda x, n=n, i=i: coordinate(x, n, i))(start).numpy()
            for i in range(x.shape[1])
        ]
        found.append(np.linalg.svd(np.stack(rows, axis=1), compute_uv=False)[:, 0])
    return np.array(found)


def matrices(scale: float) -> tuple[Floats, Floats]:
    """Random matrices whose largest singular value is `scale`, and a start for each."""
    random = np.random.default_rng([SIZE, 12])
    w = random.normal(size=(MATRICES, SIZE, SIZE))
    w *= scale / np.linalg.svd(w, compute_uv=False)[:, :1, None]
    return w, random.uniform(0.0, 1.0, (MATRICES, SIZE))


def tight() -> tuple[Floats, Floats]:
    """A matrix for which the bound is met: W x = 0 for x with equal numbers, such as
    sigmoid(0) = ½, so all slopes are ¼; and W is symmetric."""
    return np.array([[[0.125, -0.125], [-0.125, 0.125]]]), np.array([[0.5, 0.5]])


def bound(scale: float) -> Floats:
    """(σ_max(W) / 4)^(n - 1) for n = 2 ... LONGEST: the slope of a sigmoid is at most ¼."""
    return (scale / 4.0) ** np.arange(1, LONGEST)


def jacobian_table(norms: dict[float, Floats], met: Floats) -> Table:
    shown = (2, 4, 8, LONGEST)
    rows, data = [], {}
    for scale, of in norms.items():
        limits = bound(scale)
        above = int((of > limits[:, None] * (1 + ROUNDING)).sum())
        cells = [
            f"{of[n - 2].max():.1e}, {np.median(of[n - 2]):.1e} [{limits[n - 2]:.1e}]"
            for n in shown
        ]
        rows.append([f"{scale:g}", *cells, str(above)])
        data[f"{scale:g}"] = [rounded(value) for value in of.max(axis=1)]
    tight_cells = [f"{met[n - 2]:.1e} [{bound(0.25)[n - 2]:.1e}]" for n in shown]
    rows.append(["0.25, made for it", *tight_cells, "0"])
    heads = ["σ_max(W)", *(f"n = {n}" for n in shown), "above the bound"]
    note = (
        f"The largest singular value of ∂x_n/∂x_1 over {MATRICES} random {SIZE} x {SIZE} matrices: "
        "the greatest, the median, and in brackets the bound (σ_max(W)/4)^(n-1). Made for it: "
        "W = ⅛ [1 -1; -1 1] from (½, ½), which meets the bound."
    )
    return Table("jacobians", "x -> sigmoid(W x)", heads, rows, note, data)


def powers_differ() -> float:
    """The least relative distance of W² from U Σ² Vᵀ over the random matrices, in the 2-norm."""
    w, _ = matrices(0.25)
    u, s, vt = np.linalg.svd(w)
    claimed = u @ (s[..., None] ** 2 * vt)
    square = w @ w
    distances = np.linalg.norm(square - claimed, 2, (1, 2)) / np.linalg.norm(square, 2, (1, 2))
    return float(distances.min())


# --- results --------------------------------------------------------------------------------------
def results(trials: Trials) -> Results:
    from experiments.attention import gradient_figures  # matplotlib takes a second to import

    rows = chain_rows()
    norms = {scale: jacobian_norms(*matrices(scale)) for scale in SCALES}
    met = jacobian_norms(*tight())[:, 0]
    points = {}
    for n in (2, 8, 32):
        weights, x = chains(n)
        points[n] = (*chain_gradients(weights, x), np.prod(np.abs(weights), axis=1))
    captions = (
        "|df/dx| of chains with ReLU against the product of their weights: equal to it, or 0 "
        "(drawn at the bottom).",
        "The largest singular value of ∂x_n/∂x_1 for random matrices (lines), the bound (dashed), "
        "and the matrix that meets it (circles).",
    )
    limits = {scale: (of, bound(scale)) for scale, of in norms.items()}
    last = norms[16.0][-1]
    return Results(
        [chain_table(rows), jacobian_table(norms, met)],
        [
            Drawing("chains", captions[0], gradient_figures.chains(points)),
            Drawing("jacobians", captions[1], gradient_figures.jacobians(limits, met)),
        ],
        decide(claims(rows, norms, met), ()),
        Answer(
            f"Median σ_max(∂x_{LONGEST}/∂x_1) with σ_max(W) = ¼: {np.median(norms[0.25][-1]):.1e} "
            f"(bound {bound(0.25)[-1]:.1e}); with 16: {np.median(last):.1e} "
            f"(bound {bound(16.0)[-1]:.1e})",
            "jacobians",
        ),
    )


def claims(rows: list[dict[str, Any]], norms: dict[float, Floats], met: Floats) -> list[Says]:
    above = sum(r["above"] for r in rows)
    ones, _ = chain_gradients(np.ones((CHAINS, 16)), np.linspace(-1.0, 1.0, CHAINS))
    listed = ", ".join(f"{value:g}" for value in sorted({*ones.tolist()}))
    off, on = chain_gradients(np.full((2, 16), 1.5), np.array([-1.0, 1.0]))[0]
    ratio = float((norms[0.25] / bound(0.25)[:, None]).max())
    most = float((met / bound(0.25)).max())
    apart = powers_differ()
    said = (
        ("1.1.1", "With weights of 1, |df/dx| is between 0 and 1",
         f"in {CHAINS:,} chains of 16 layers it is {listed}", set(ones) <= {0.0, 1.0}, None),
        ("1.1.2", "|df/dx| is at most ∏|w|",
         f"above it in {above} of {len(rows) * CHAINS:,} chains", above == 0, None),
        ("1.1.2", "If all weights are greater than 1, it cannot vanish",
         f"16 weights of 1.5: |df/dx| is {on:.4g} at x = 1, {off:g} at x = -1", off > 0, None),
        ("1.2.1", "σ_max(W) = ¼: that of the Jacobian is at most (1/16)^(n-1)",
         f"at most {ratio:.4f} of it with random W, {most:.6f} with one that is made for it",
         max(ratio, most) <= 1 + ROUNDING, None),
        ("1.2.1", "W^i = U Σ^i Vᵀ",
         f"over {MATRICES} random matrices W² is at least {apart:.2g} of its norm away from "
         "U Σ² Vᵀ; the bound needs only σ_max(AB) ≤ σ_max(A) σ_max(B)", apart < ROUNDING, "004.3"),
    )  # fmt: skip
    return [
        Says(f"004, {number}", text, fact(found, bool(holds)), erratum)
        for number, text, found, holds, erratum in said
    ]


TITLE = "What becomes of gradients in deep chains"
EXPERIMENT = Experiment("gradients", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
