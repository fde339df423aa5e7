"""A batch of sequences as the tree of their prefixes.

The state of a causal model after a prefix does not depend on what follows. Sequences with a common
prefix can share it: the model runs once over each distinct prefix, and gradients add up where
sequences branch. The 480 training sequences `BOS a + b = r` of the sanity experiment have 2,880
positions and 1 + 31 + 31 + 480 + 480 + 480 = 1,503 distinct prefixes.

    sequences    nodes        runs
    7 1 2 5      0 1 2 4      one chain, 7 1, nodes 0 1
    7 1 2 6      0 1 2 5      two chains, 2 and 3, nodes 2 and 3, which continue chains 0 and 0
    7 1 3 6      0 1 3 6      three chains, 5, 6 and 6, nodes 4, 5 and 6, after chains 0, 0 and 1

A node is a prefix; shorter prefixes have lower numbers. Consecutive lengths with equally many
prefixes form a run: no sequences branch in it, so it is an ordinary batch of n chains.

`logits` runs a model over a tree, with the public parts of the model. Loss and gradients equal
those of the plain batch, to rounding. For plain batches too, repeated work is done once: the first
layer of the LSTM multiplies each word of the vocabulary once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import numpy as np

import minigrad as mg
from experiments.grokking.paths import path_attention
from minigrad import device as devices
from minigrad import nn
from models import GPT, LSTMLanguageModel

Array = Any  # numpy.ndarray or cupy.ndarray


class Run(NamedTuple):
    """n chains of T tokens. Their nodes are numbered from `first` on, in the order of `tokens`.

    tokens:  (T, n)
    parents: (n,) for each chain, the chain of the run before that it continues; None in the first.
    depth:   the number of tokens before these.
    """

    tokens: mg.Tensor
    parents: mg.Tensor | None
    depth: int
    first: int


class Inputs(NamedTuple):
    """The inputs of a model's first layer: U distinct pairs of token and depth.

    tokens, depths: (U,) each.
    rows:  (N,) the index of each node's pair.
    paths: (N, S) the pairs of each node's prefix, including itself; then -1.
    """

    tokens: mg.Tensor
    depths: mg.Tensor
    rows: mg.Tensor
    paths: mg.Tensor


class PrefixTree:
    """The distinct prefixes of a batch. `logits` takes it instead of the ids.

    ids:    (B, S) the sequences, on the host; `len(tree)` is B.
    tokens: (N,) the last token of each of the N nodes.
    nodes:  (B, S) the node of the prefix that ends at each position.
    paths:  (N, S) the nodes of each node's prefix, including itself; then -1.
    inputs: the distinct pairs of token and depth of the nodes.
    runs:   the nodes as chains.
    """

    def __init__(self, ids: mg.Tensor | Array, device: str | None = None) -> None:
        """The tree of ids (B, S), on `device` or theirs. The prefixes are computed on the host.

        TypeError unless ids are integers, ValueError for another shape.
        """
        ids = ids.data if isinstance(ids, mg.Tensor) else ids
        if not devices.is_array(ids) or ids.dtype.kind not in "iu":
            raise TypeError(f"ids: expected an array of integers, got {ids!r:.60}")
        if ids.ndim != 2 or ids.shape[1] == 0:
            raise ValueError(f"ids: expected (B, S) with S >= 1, got {ids.shape}")
        self.device = devices.of(ids) if device is None else devices.parse(device)
        self.ids = np.array(devices.to_numpy(ids))

        order = np.lexsort(self.ids.T[::-1])
        levels = self.ids[order].T  # (S, B); in this order equal prefixes are neighbours
        new = np.ones(levels.shape, dtype=bool)
        new[:, 1:] = np.logical_or.accumulate(levels[:, 1:] != levels[:, :-1])
        numbers = new.cumsum().reshape(levels.shape) - 1
        nodes = np.empty_like(self.ids, dtype=np.intp)
        nodes[order] = numbers.T
        sizes = new.sum(axis=1)
        depths, columns = np.nonzero(new)
        paths = numbers.T[columns]
        paths[np.arange(len(sizes)) > depths[:, None]] = -1

        self._firsts = [0, *sizes.cumsum().tolist()]  # the first node of each level, and N
        self.tokens = self._tensor(levels[new])
        self.nodes = self._tensor(nodes)
        self.paths = self._tensor(paths)
        unique, rows = distinct(levels[new], depths)
        inputs = levels[new][unique], depths[unique], rows, np.where(paths < 0, -1, rows[paths])
        self.inputs = Inputs(*map(self._tensor, inputs))
        self.runs: list[Run] = []
        starts = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist()]
        for t, end in zip(starts, [*starts[1:], len(sizes)], strict=True):
            first, last = self._firsts[t], self._firsts[end]
            tokens = mg.Tensor(self.tokens.data[first:last].reshape(end - t, sizes[t]))
            parents = self._tensor(numbers[t - 1, new[t]] - self._firsts[t - 1]) if t else None
            self.runs.append(Run(tokens, parents, t, first))

    def _tensor(self, array: np.ndarray[Any, Any]) -> mg.Tensor:
        return mg.Tensor(devices.move(array, self.device))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int]:
        """(B, S), the shape of the ids."""
        return self.ids.shape

    def take(self, rows: Array) -> PrefixTree:
        """The tree of the sequences at an index array or a slice.

        For a permutation of all sequences, the tree is the same, and only `nodes` is permuted.
        """
        indices = np.arange(len(self))
        rows = indices[rows if isinstance(rows, slice) else devices.to_numpy(rows)]
        if not np.array_equal(np.sort(rows), indices):
            return PrefixTree(self.ids[rows], self.device)
        tree = copy.copy(self)
        tree.ids = self.ids[rows]
        tree.nodes = mg.Tensor(self.nodes.data[devices.move(rows, self.device)])
        return tree

    def first(self, depth: int) -> int:
        """The first node of a depth in 0..S-1; nodes of smaller depths come before it."""
        if not 0 <= depth < self.ids.shape[1]:
            raise ValueError(f"start: expected 0..{self.ids.shape[1] - 1}, got {depth}")
        return self._firsts[depth]

    def expand(self, values: mg.Tensor, start: int = 0) -> mg.Tensor:
        """Values of the nodes from depth `start` on, at the positions of all sequences.

        (M, ...) -> (B, S - start, ...). The gradient of a node is the sum over its positions.
        """
        first = self.first(start)
        if len(values) != self._firsts[-1] - first:
            raise ValueError(f"values: expected {self._firsts[-1] - first} rows, got {len(values)}")
        return mg.take(values, mg.Tensor(self.nodes.data[:, start:] - first), axis=0)

    def check_use(self, model: Any, start: int) -> None:
        """ValueError if the result for the tree could differ from that for the ids."""
        self.first(start)
        name = type(model).__name__
        if model.replicas is not None:
            raise ValueError(f"{name}: a stacked model expected ids (R, B, S), got a PrefixTree")
        if model.training and model.config.dropout > 0:
            raise ValueError(
                f"{name}: dropout {model.config.dropout} in training expected ids (B, S), got a "
                f"PrefixTree, whose sequences would share their masks"
            )


def distinct(tokens: Array, depths: Array) -> tuple[Array, Array]:
    """One node for each distinct pair of token and depth, and the index of each node's pair."""
    words, codes = np.unique(tokens, return_inverse=True)
    _, nodes, rows = np.unique(depths * len(words) + codes, return_index=True, return_inverse=True)
    return nodes, rows


# --- the switch ---------------------------------------------------------------------------------
class Switch:
    """Whether tasks share prefixes if possible; see `sharing`."""

    on: ClassVar[bool] = True


@contextmanager
def sharing(on: bool) -> Iterator[None]:
    """Context manager: whether tasks made inside share the prefixes of their batches."""
    before, Switch.on = Switch.on, on
    try:
        yield
    finally:
        Switch.on = before


# --- models -------------------------------------------------------------------------------------
def logits(model: Any, ids: mg.Tensor | PrefixTree, start: int = 0) -> mg.Tensor:
    """`model(ids, start=start)`, (B, S - start, V), without computing anything twice.

    ids: (B, S), or their tree; (R, B, S) for a stacked model. ValueError for a tree with dropout in
         training, since sequences would share masks, or with a stacked model.
    """
    if isinstance(ids, PrefixTree):
        ids.check_use(model, start)
        return (gpt_on_tree if isinstance(model, GPT) else lstm_on_tree)(model, ids, start)
    if not isinstance(model, LSTMLanguageModel) or (model.training and model.config.dropout > 0):
        return model(ids, start=start)
    ids = ids if ids.ndim == 3 else nn.for_replicas(ids, model.replicas)
    hidden, _ = recur(model, ids.mT, None, products_of(model))
    return model.classifier(hidden[..., start:, :, :]).swapaxes(-3, -2)


def gpt_on_tree(model: GPT, tree: PrefixTree, start: int) -> mg.Tensor:
    """The GPT over all nodes, as rows (N, d), which interact only in attention.

    The first block computes distinct pairs of token and position only. The last block computes the
    nodes from depth `start` on.
    """
    positions = mg.take(model.positions.table, tree.inputs.depths, axis=0)
    x = model.embedding(tree.inputs.tokens) + positions
    for i, block in enumerate(model.blocks):
        first = tree.first(start if i == len(model.blocks) - 1 else 0)
        if i == 0:
            rows, paths = tree.inputs.rows[first:], tree.inputs.paths[first:]
            a = attend(block.attention, x, x, paths, rows)
            x = mg.take(x, rows, axis=0)
        else:
            late = x[first:] if first else x
            a, x = attend(block.attention, late, x, tree.paths[first:]), late
        y = block.attention_norm(x + a)
        x = block.ffn_norm(y + block.ffn(y))
    return tree.expand(model.classifier(x), start)


def attend(
    attention: nn.MultiHeadAttention,
    x: mg.Tensor,
    memory: mg.Tensor,
    paths: mg.Tensor,
    rows: mg.Tensor | None = None,
) -> mg.Tensor:
    """Attention of x (M, d) over memory (N, d), query m over memory[paths[m]].

    rows: (M,) integers: the queries are then x[rows], and each row of x is projected once.
    """
    heads, dim = attention.num_heads, attention.dim
    projected = attention.project(x[None], None if memory is x else memory[None])
    q, k, v = (t.reshape(-1, heads, dim // heads) for t in projected)
    q = q if rows is None else mg.take(q, rows, axis=0)
    return attention.out_proj(path_attention(q, k, v, paths).reshape(-1, attention.dim))


def lstm_on_tree(model: LSTMLanguageModel, tree: PrefixTree, start: int) -> mg.Tensor:
    """The LSTM, run by run: chains start from the last states of the chains they continue."""
    state, products = None, products_of(model)
    parts: list[mg.Tensor] = []
    for run in tree.runs:
        if run.parents is not None:
            state = tuple(mg.take(s, run.parents, axis=1) for s in state)
        hidden, state = recur(model, run.tokens, state, products)
        if run.depth + len(hidden) > start:
            y = model.classifier(hidden[max(0, start - run.depth) :])
            parts.append(y.reshape(-1, y.shape[-1]))
    return tree.expand(mg.concatenate(parts), start)


def products_of(model: LSTMLanguageModel) -> mg.Tensor:
    """E W_ihᵀ (V, 4H): the term of each word in the gates of the first layer."""
    words = devices.namespace(model.embedding.weight.data).arange(model.config.vocabulary_size)
    embeddings = model.embedding(nn.for_replicas(mg.Tensor(words), model.replicas))
    return mg.linear(embeddings, model.lstm.weight_ih_l0)


def recur(model: LSTMLanguageModel, ids: mg.Tensor, state: Any, products: mg.Tensor) -> Any:
    """The LSTM over ids (T, B). Its first layer takes the words' `products` as input."""
    weights = [w for n in range(model.config.layers) for w in model.lstm.layer_weights(n)]
    h, c = state or (None, None)
    hidden, h, c = mg.lstm(mg.embedding(products, ids), h, c, [None, *weights[1:]])
    return hidden, (h, c)
