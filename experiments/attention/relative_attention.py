"""Relative attention as a convolution and as max-pooling, section 1.3 of seed 004, by measurement.

    python -m experiments.attention.relative_attention

RelAttnLayer(x)_i = Σ_j softmax_j(W_Q x_i W_K x_j + p_(i-j)) W_V x_j, for x_i >= 0: attention with p
as its mask. For each of the two functions: parameters that come as near to it as one likes, with
their error as the free number grows, and the seed's parameters with theirs. Nothing is trained.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from experiments.attention.gradients import Options, rounded
from experiments.results.claims import Says, decide, fact
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials
from experiments.sweep.experiment import Experiment, main

Floats = np.ndarray[Any, np.dtype[np.float64]]

LENGTH, SEQUENCES = 20, 200
KERNEL = (2.0, 0.0, 1.0)  # of x_(i-1), x_i and x_(i+1)
WINDOW = 2  # of max-pooling: k
FREE = (1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5)  # the number that grows
EXACT = 1e-13  # less is an error of rounding: sums of few numbers near 1 in float64


class Layer(NamedTuple):
    """Parameters of RelAttnLayer.

    p:         by i - j.
    elsewhere: p at the distances that it does not have.
    """

    p: Mapping[int, float]
    elsewhere: float = -math.inf
    w_q: float = 0.0
    w_k: float = 0.0
    w_v: float = 1.0

    def __call__(self, x: Floats) -> Floats:
        """(B, n) -> (B, n)"""
        places = np.arange(x.shape[-1])
        distance = places[:, None] - places
        bias = np.vectorize(lambda d: self.p.get(d, self.elsewhere), otypes=[float])(distance)
        q, k, v = (mg.tensor(w * x[..., None]) for w in (self.w_q, self.w_k, self.w_v))
        y = mg.scaled_dot_product_attention(q, k, v, mg.tensor(bias))  # 1/√d is 1
        return y.numpy()[..., 0]


def inputs(scale: float = 1.0) -> Floats:
    """Sequences of random numbers in [0, scale)."""
    return np.random.default_rng(13).uniform(0.0, scale, (SEQUENCES, LENGTH))


def convolved(x: Floats) -> Floats:
    """Σ_j w_j x_(i+j) for j = -1, 0, 1, without the two ends, (B, n) -> (B, n - 2)."""
    return sum(w * x[:, j : x.shape[1] - 2 + j] for j, w in enumerate(KERNEL))  # type: ignore[return-value]


def pooled(x: Floats) -> Floats:
    """The maximum of windows of 2k + 1, without k numbers at each end."""
    return np.lib.stride_tricks.sliding_window_view(x, 2 * WINDOW + 1, axis=1).max(axis=-1)


def error(layer: Layer, x: Floats, wanted: Floats) -> float:
    """The largest distance, without the ends."""
    ends = (x.shape[1] - wanted.shape[1]) // 2
    return float(np.abs(layer(x)[:, ends : x.shape[1] - ends] - wanted).max())


# --- convolution ----------------------------------------------------------------------------------
def convolution(free: float) -> Layer:
    """x_(i-1) is at distance i - j = 1: p_1 - p_(-1) = ln 2, all else lower by `free`; W_V = 3."""
    return Layer({1: math.log(2.0), -1: 0.0}, elsewhere=-free, w_v=3.0)


SEED_CONVOLUTION = Layer({-1: math.log(2.0), 0: -math.inf, 1: -math.log(2.0)}, w_v=3.0)
MIRRORED = Layer({1: math.log(2.0), 0: -math.inf, -1: -math.log(2.0)}, w_v=3.0)
OPEN = SEED_CONVOLUTION._replace(elsewhere=0.0)


# --- max-pooling ----------------------------------------------------------------------------------
def pooling(free: float) -> Layer:
    """W_Q = `free`: the scores of a window are free x_i x_j."""
    return Layer(dict.fromkeys(range(-WINDOW, WINDOW + 1), 0.0), w_q=free, w_k=1.0)


def weights_of(layer: Layer) -> tuple[float, float]:
    """The weights, times W_V, that a layer without queries gives x_(i-1) and x_(i+1)."""
    unit = np.zeros((1, 7))
    unit[0, 3] = 1.0
    y = layer(unit)[0]
    return float(y[4]), float(y[2])  # x_3 is x_(i-1) of i = 4, and x_(i+1) of i = 2


# --- results --------------------------------------------------------------------------------------
def results(trials: Trials) -> Results:
    from experiments.attention import relative_figures  # matplotlib takes a second to import

    x, small = inputs(), inputs(0.1)
    apart = inputs()
    apart[:, ::5] = 0.0  # a query of 0 reads its window evenly, whatever W_Q is
    by_free = {
        "convolution": [error(convolution(f), x, convolved(x)) for f in FREE],
        "max-pooling, x in [0, 1)": [error(pooling(f), x, pooled(x)) for f in FREE],
        "max-pooling, x in [0, 0.1)": [error(pooling(f), small, pooled(small)) for f in FREE],
        "max-pooling, every fifth x is 0": [error(pooling(f), apart, pooled(apart)) for f in FREE],
    }
    caption = (
        f"The largest error over {SEQUENCES} random sequences as the free number grows: the "
        "distance of all other p for the convolution, W_Q for max-pooling. Triangles: the seed's "
        "parameters."
    )
    seeds = {
        "convolution": error(SEED_CONVOLUTION, x, convolved(x)),
        "max-pooling, x in [0, 1)": error(pooling(1.0), x, pooled(x)),
    }
    return Results(
        [growing(by_free), kernels(x), examples()],
        [Drawing("errors", caption, relative_figures.errors(FREE, by_free, seeds))],
        decide(claims(x), ()),
        Answer(
            "The seed's convolution weighs x_(i-1) and x_(i+1) with "
            f"{'{:.2f} and {:.2f}'.format(*weights_of(SEED_CONVOLUTION))}, not 2 and 1; its "
            f"max-pooling of (1, 2, 3) is {middle(pooling(1.0), (1, 2, 3)):.2f}",
            "kernels",
        ),
    )


def shown(error: float) -> str:
    return f"{error:.2g}" if error > EXACT else f"less than {EXACT:.0e}"


def growing(by_free: Mapping[str, Sequence[float]]) -> Table:
    heads = ["free number", *by_free]
    rows = [[f"{f:g}", *(shown(of[i]) for of in by_free.values())] for i, f in enumerate(FREE)]
    data = {name: [rounded(e) if e > EXACT else 0.0 for e in of] for name, of in by_free.items()}
    note = (
        f"Largest error over {SEQUENCES} random sequences of {LENGTH}, without the ends. "
        "Convolution: p_1 = ln 2, p_(-1) = 0, all others minus the free number, W_Q = W_K = 0, "
        f"W_V = 3. Max-pooling, k = {WINDOW}: p = 0 within k, -∞ beyond, W_Q = the free number, "
        "W_K = W_V = 1."
    )
    return Table("growing", "Errors as the free number grows", heads, rows, note, data)


def kernels(x: Floats) -> Table:
    """The weights of each choice of parameters for the convolution."""
    choices = {
        "wanted": None,
        "p_1 = ln 2, p_(-1) = 0, all others -∞": convolution(math.inf),
        "the seed's: p_(-1) = ln 2, p_0 = -∞, p_1 = -ln 2, others -∞": SEED_CONVOLUTION,
        "the same with p_1 and p_(-1) exchanged": MIRRORED,
        "the seed's, others 0, of which it says nothing": OPEN,
    }
    rows, data = [], {}
    for name, layer in choices.items():
        before, after = (KERNEL[0], KERNEL[2]) if layer is None else weights_of(layer)
        off = "" if layer is None else shown(error(layer, x, convolved(x)))
        rows.append([name, f"{before:.3f}", f"{after:.3f}", off])
        data[name] = {"weights": (rounded(before), rounded(after))}
    heads = ["", "weight of x_(i-1)", "weight of x_(i+1)", "largest error"]
    note = "W_Q = W_K = 0, W_V = 3, so the weights are those of the softmax times 3."
    return Table("kernels", "The convolution with the kernel [2, 0, 1]", heads, rows, note, data)


def middle(layer: Layer, values: Sequence[float]) -> float:
    """What the layer gives in the middle of three numbers, with a window of one at each side."""
    narrow = layer._replace(p=dict.fromkeys((-1, 0, 1), 0.0))
    return float(narrow(np.array([values], dtype=np.float64))[0, 1])


def examples() -> Table:
    rows, data = [], {}
    for values in ((1.0, 2.0, 3.0), (0.1, 0.2, 0.3), (3.0, 0.0, 1.0)):
        found = [middle(pooling(w), values) for w in (1.0, 10.0, 1e3)]
        name = ", ".join(f"{v:g}" for v in values)
        rows.append([name, f"{max(values):g}", *(f"{y:.3f}" for y in found)])
        data[name] = [rounded(y) for y in found]
    heads = ["x", "maximum", "W_Q = 1, the seed's", "W_Q = 10", "W_Q = 1000"]
    note = "In the middle of three numbers, k = 1. A query of 0 reads its window evenly."
    return Table("examples", "Max-pooling of three numbers", heads, rows, note, data)


def claims(x: Floats) -> list[Says]:
    before, after = weights_of(SEED_CONVOLUTION)
    softmax = sorted((before / 3.0, after / 3.0), reverse=True)
    off, best = (
        error(layer, x, convolved(x)) for layer in (SEED_CONVOLUTION, convolution(math.inf))
    )
    of_three = middle(pooling(1.0), (0.1, 0.2, 0.3))
    pool = error(pooling(1.0), x, pooled(x))
    return [
        Says("004, 1.3.1", "Its parameters give the weights 2/3 and 1/3",
             fact(f"the softmax gives {softmax[0]:.3f} and {softmax[1]:.3f}",
                  abs(softmax[0] - 2 / 3) < EXACT), "004.1"),
        Says("004, 1.3.1", "They are the convolution",
             fact(f"off by up to {off:.2f}; with p_1 = ln 2, p_(-1) = 0 and all others -∞ by "
                  f"{shown(best)}", off < EXACT), "004.1"),
        Says("004, 1.3.1", "W_V = 3 is right",
             fact(f"with it the right p is off by {shown(best)}", best < EXACT)),
        Says("004, 1.3.2", "W_Q = W_K = 1 approximate max-pooling",
             fact(f"off by up to {pool:.2f} for x in [0, 1); (0.1, 0.2, 0.3) gives {of_three:.3f}",
                  pool < 0.05), "004.2"),
    ]  # fmt: skip


TITLE = "Relative attention as a convolution and as max-pooling"
EXPERIMENT = Experiment("relative_attention", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
