"""Chapter 8: the run that groks. It ends in an attention that groks sums modulo 23."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

import minigrad as mg
from exercises.exercise import Chapter, Exercise
from exercises.probes import Numbers, OpProbe, Program
from experiments.data import modular
from experiments.grokking import objective
from minigrad import nn, optim
from minigrad.ops import attention

P = 23


def losses() -> Numbers:
    """Loss of random logits, on equations of two and of three operands, and its gradient."""
    equations = modular.make(p=5, orders=(2, 3), mask="handout").take(slice(0, 40))
    batch = objective.batch_of(equations, dtype=np.float64)
    rng = np.random.default_rng(0)
    shape = (*batch.targets.shape, len(equations.vocabulary))
    logits = mg.tensor(rng.standard_normal(shape), requires_grad=True)
    mean = objective.loss(logits, batch)
    mean.backward()
    with mg.no_grad():
        each = objective.loss(logits, batch, "none")
    return {
        "loss of each sample": each.numpy(),
        "loss": mean.item(),
        "gradient": logits.grad.numpy(),
    }


def seen_by_queries() -> Numbers:
    """Masks for as many queries as keys, and for queries that continue a cache of keys."""
    masks = {}
    for queries, keys in ((4, 4), (2, 5), (1, 3)):
        q, k = np.zeros((queries, 2)), np.zeros((keys, 2))
        visible = np.arange(keys) != 1
        masks |= {
            f"{queries} queries × {keys} keys": attention.allowed_keys(q, k, None, True),
            f"{queries} × {keys}, key 1 masked": attention.allowed_keys(q, k, visible, True),
        }
    return masks


class Adder(nn.Module):
    """One block without norms: the token "=" attends to a and b. ids (B, 2) -> logits (B, P)"""

    def __init__(self, d: int, heads: int) -> None:
        self.heads = heads
        self.numbers, self.places = nn.Embedding(P + 1, d), nn.Embedding(3, d)
        self.query, self.key, self.value, self.mix = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.up, self.down, self.out = nn.Linear(d, 4 * d), nn.Linear(4 * d, d), nn.Linear(d, P)

    def forward(self, ids: Any) -> mg.Tensor:
        equals = np.full((len(ids), 1), P)
        h = self.numbers(np.concatenate([ids, equals], axis=1)) + self.places(np.arange(3))
        last = h[:, -1:]
        q, k, v = (self.split(x) for x in (self.query(last), self.key(h), self.value(h)))
        y = mg.scaled_dot_product_attention(q, k, v).transpose(0, 2, 1, 3).reshape(len(ids), -1)
        z = last[:, 0] + self.mix(y)
        return self.out(z + self.down(mg.relu(self.up(z))))

    def split(self, x: mg.Tensor) -> mg.Tensor:
        """(B, T, d) -> (B, heads, T, d / heads)"""
        return x.reshape(len(x), x.shape[1], self.heads, -1).transpose(0, 2, 1, 3)


def groks() -> str:
    """Train on 70 % of all sums until the others are right too."""
    mg.random.seed(0)
    pairs = np.array([(a, b) for a in range(P) for b in range(P)])
    pairs = pairs[np.random.default_rng(0).permutation(len(pairs))]
    sums, n = pairs.sum(axis=1) % P, int(0.7 * len(pairs))
    model = Adder(32, 4)
    optimizer = optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.98), weight_decay=2.0)

    def accuracy(rows: slice) -> float:
        with mg.no_grad():
            return float((model(pairs[rows]).numpy().argmax(axis=-1) == sums[rows]).mean())

    start, memorized, by_then = perf_counter(), None, 0.0
    for step in range(1, 2001):
        optimizer.zero_grad()
        mg.cross_entropy(model(pairs[:n]), sums[:n]).backward()
        optimizer.step()
        if step % 25 == 0:
            others = accuracy(slice(n, None))
            if memorized is None and accuracy(slice(n)) == 1.0:
                memorized, by_then = step, others
            if memorized and others >= 0.95:
                return (
                    f"An attention with your pullback groks sums modulo {P}: after {memorized} "
                    f"steps it knew all {n} equations of the training set and {by_then:.0%} of "
                    f"the others, after {step} steps {others:.0%} of the others "
                    f"({perf_counter() - start:.1f} s)."
                )
    raise AssertionError(f"after 2,000 steps {others:.1%} of the held-out sums are right, not 95 %")


CHAPTER = Chapter(
    "The run that groks",
    (
        Exercise(
            source="experiments/grokking/objective.py: loss",
            says='-log p of the right-hand sides.    logits (B, k, V) -> () or, with "none", '
            "(B,)\n\n"
            "batch.targets (B, k): the next tokens    batch.rhs (B, k): whether one counts\n"
            "batch.weights (B, k): rhs divided by the number that count in the row",
            cuts=["nll = ... samples ="],
            task="""
            Only the tokens after "=" count. The loss of a sample is the mean of -log p over these
            tokens, and samples have different numbers of them. Compute -log p of every target
            without reducing it, then the loss `samples` (B,) of each sample.

            Why is this not the mean over all tokens that count?
            """,
            hints=(
                'mg.cross_entropy(logits, batch.targets, reduction="none") is (B, k).',
                "A weighted sum over the last axis: batch.weights add up to 1 in each row.",
                "samples = (nll * batch.weights).sum(axis=-1)",
            ),
            probe=Program(losses),
            mistakes={
                "the tokens of a sample are added up, and must be averaged": [
                    ("batch.weights", "batch.rhs")
                ],
                "all positions are averaged: only the tokens after = may count": [
                    ("(nll * batch.weights).sum(axis=-1)", "nll.mean(axis=-1)")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/attention.py: allowed_keys",
            says="What may be attended to, as a boolean array that broadcasts to the scores; "
            "None for all.",
            cuts=["triangle = ... allowed = triangle"],
            task="""
            With `causal`, query i sees key j only if j is not later. There may be more keys than
            queries: then the queries are the last ones of the sequence, and the last query sees all
            keys (a cache). Make the triangle of True and False, and combine it with the boolean
            mask, if there is one.

            devices.ones((rows, columns), q, bool) makes ones; np.tril(a, k) keeps a[i, j] with j <=
            i + k.
            """,
            hints=(
                "With as many keys as queries, j <= i: k is 0.",
                "Query i is token i + columns - rows of the sequence.",
                "allowed = triangle if allowed is None else allowed & triangle",
            ),
            probe=Program(seen_by_queries),
            mistakes={
                "a query does not see its own token: j <= i, and not j < i": [
                    ("columns - rows)", "columns - rows - 1)")
                ],
                "a query sees the next token, which it is to predict": [
                    ("columns - rows)", "columns - rows + 1)")
                ],
                "earlier keys of a cache are forgotten: with more keys than queries the last "
                "query sees all": [(", columns - rows)", ", 0)")],
                "queries see the keys after them, and not those before": [("np.tril", "np.triu")],
                "either mask is enough here: a key must be allowed by both": [
                    ("allowed & triangle", "allowed | triangle")
                ],
            },
        ),
        Exercise(
            source="minigrad/ops/attention.py: scaled_dot_product_attention",
            says="Attention of q (..., T, d) over k (..., S, d), v (..., S, e) -> "
            "y (..., T, e).\n\n"
            "p = softmax(scale q kᵀ), y = p v. Kept: q, k, v and p.",
            cuts=["gs = gp * p ... gs -=", "gq, gk = ... gv ="],
            task="""
            gp = g vᵀ is there. First gs, the gradient of the scores s: p is a softmax of s, so it
            is the rule of exercise 16, along the last axis (row_sum keeps the axis). The lines
            after it multiply gs by the scale, once. Then gq, gk from s = scale q kᵀ, and gv from y
            = p v.

            product(a, b) multiplies matrices, mT(a) exchanges the last two axes.
            """,
            hints=(
                "gs = p (gp - Σ gp p), the sum along the last axis.",
                "gs = gp * p, then gs -= p * row_sum(gs).",
                "y_i = Σ_j p_ij v_j, so gv = pᵀ g; s = q kᵀ, so gq = gs k and gk = gsᵀ q.",
            ),
            probe=OpProbe(
                lambda rng: (
                    rng.standard_normal((2, 4, 3)),
                    rng.standard_normal((2, 4, 3)),
                    rng.standard_normal((2, 4, 3)),
                ),
                lambda rng: tuple(rng.standard_normal((8, 64, 16)) for _ in range(3)),
                options={"causal": True},
                cases={
                    "unmasked": (
                        lambda rng: tuple(rng.standard_normal((2, n, 3)) for n in (4, 4, 4)),
                        {},
                    )
                },
            ),
            mistakes={
                "the softmax lacks its second term: Σ gp p is not subtracted": [
                    ("        gs -= p * row_sum(gs)\n", "")
                ],
                "the softmax lacks its factor p": [("gs = gp * p", "gs = gp + 0.0")],
                "gv = pᵀ g, but p is not transposed": [("product(mT(p), g)", "product(p, g)")],
                "gk = gsᵀ q, but gs is not transposed": [("product(mT(gs), q)", "product(gs, q)")],
                "the scale is applied twice: gs has it already": [
                    (
                        "product(gs, k), product(mT(gs), q)",
                        "product(gs, k) * scale, product(mT(gs), q)",
                    )
                ],
                "gq and gk are exchanged": [
                    ("product(gs, k), product(mT(gs), q)", "product(mT(gs), q), product(gs, k)")
                ],
            },
            run=groks,
        ),
    ),
)
