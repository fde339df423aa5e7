"""Yardsticks for language models: the perplexities of n-grams, counted in the training text.

    model = NGrams(chunks(texts["train"]), order=3)
    model.perplexity(chunks(texts["validation"]))                # 278.1

| perplexity | unigram | bigram | trigram |
|---|---|---|---|
| validation | 1378.0 | 349.8 | 278.1 |
| test | 1447.5 | 376.2 | 300.7 |
| validation, 8,000 ids, windows of 64 | 620.3 | 217.2 | 191.3 |

They predict what the models do, from what these read: targets of chunks, each from earlier tokens
of its own chunk. Before the first of a chunk stands a mark that is no token.

Interpolated Kneser-Ney, with the same discount for all n-grams of an order:

    P(w | context) = (max(c(context w) - D, 0) + D n(context) P(w | shorter context)) / c(context)

where c of the longest contexts are counts, and c of shorter ones in how many contexts that are a
token longer the n-gram occurs; n(context) is how many tokens follow it, D = n₁ / (n₁ + 2 n₂) with
n_k how many n-grams have c = k. The shortest is mixed with 1/V, so that every token has a
probability. A context that never occurred has that of the shorter one.

Source: Chen and Goodman, An Empirical Study of Smoothing Techniques for Language Modeling (1999),
section 2.7; D is that of Ney, Essen and Kneser (1994).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.data.chunks import PADDING, Chunks, Ints
from experiments.data.wikitext import VOCABULARY

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}


class Level(NamedTuple):
    """The n-grams of one order, as sorted numbers of which the last digit is the last token.

    grams, counts:         (G,) each once, and their c.
    contexts, totals, kinds: (C,) what they begin with, the sum of c, and n.
    discount:              D.
    """

    grams: Ints
    counts: Ints
    contexts: Ints
    totals: Floats
    kinds: Ints
    discount: float


class NGrams:
    """Tokens given the order - 1 before them."""

    def __init__(self, data: Chunks, order: int, vocabulary: int = VOCABULARY) -> None:
        """ValueError for an order that is not 1 to 3, whose numbers fit 64 bits, or ids outside of
        the vocabulary."""
        if order not in ORDERS.values():
            raise ValueError(f"NGrams: order: expected 1, 2 or 3, got {order}")
        self.order, self.vocabulary, self.base = order, vocabulary, vocabulary + 1
        self.levels: list[Level] = []  # the shortest first
        grams, counts = np.unique(self.grams_of(data), return_counts=True)
        for n in reversed(range(1, order + 1)):
            self.levels.insert(0, level_of(grams, counts, self.base))
            grams, counts = np.unique(grams % self.base ** (n - 1), return_counts=True)

    def grams_of(self, data: Chunks) -> Ints:
        """(M,) the n-grams that end with each target but padding, in the order of the text."""
        inputs, targets = data
        for name, ids in data._asdict().items():
            if ids.size and not 0 <= ids.min() <= ids.max() < self.vocabulary:
                expected = f"expected ids from 0 to {self.vocabulary - 1:,}"
                raise ValueError(f"NGrams: {name}: {expected}, got {ids.min():,} to {ids.max():,}")
        begin = np.full_like(inputs[:, :1], self.vocabulary)
        before = [inputs, np.concatenate([begin, inputs[:, :-1]], axis=1)][: self.order - 1]
        grams = sum((ids * self.base**n for n, ids in enumerate(before, 1)), start=targets)
        return grams[targets != PADDING]

    def probabilities(self, grams: Ints) -> Floats:
        """(M,) of the last token of each n-gram, given those before it."""
        p = np.full(len(grams), 1.0 / self.vocabulary)
        for n, level in enumerate(self.levels, 1):
            gram = grams % self.base**n
            counts = looked_up(level.grams, level.counts, gram)
            totals = looked_up(level.contexts, level.totals, gram // self.base)
            kinds = looked_up(level.contexts, level.kinds, gram // self.base)
            mixed = np.maximum(counts - level.discount, 0.0) + level.discount * kinds * p
            p = np.where(totals > 0, mixed / np.maximum(totals, 1), p)
        return p

    def perplexity(self, data: Chunks) -> float:
        """exp of the mean of -log P over all targets but padding."""
        return math.exp(-np.log(self.probabilities(self.grams_of(data))).mean())


def level_of(grams: Ints, counts: Ints, base: int) -> Level:
    once, twice = (np.count_nonzero(counts == k) for k in (1, 2))
    contexts, starts, kinds = np.unique(grams // base, return_index=True, return_counts=True)
    totals = np.add.reduceat(counts, starts).astype(np.float64)
    # where no n-gram is single, as in a very small vocabulary, there is nothing to estimate it from
    discount = once / (once + 2 * twice) if once else 0.5
    return Level(grams, counts, contexts, totals, kinds, discount)


def looked_up(keys: Ints, values: Any, wanted: Ints) -> Any:
    """The values of wanted keys, of which `keys` are the sorted ones that have any; 0 of others."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def yardsticks(
    train: Chunks, others: Mapping[str, Chunks], vocabulary: int = VOCABULARY
) -> dict[str, dict[str, float]]:
    """By name of chunks, the perplexity of each kind of n-gram of the chunks to train on."""
    models = {name: NGrams(train, order, vocabulary) for name, order in ORDERS.items()}
    return {
        split: {name: model.perplexity(data) for name, model in models.items()}
        for split, data in others.items()
    }
