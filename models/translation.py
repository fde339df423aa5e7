"""The two translators of seed 004, section 2 (CSC413, assignment 3): an encoder-decoder and a
decoder. Both are Transformers without layer norms, with one head an attention.

    model = EncoderDecoder(TranslationConfig(d=64))
    model(source, target)                       # logits of every next character of the target
    greedy(model.reader(source), first, end)    # the most probable characters, one after the other
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import device as devices
from minigrad import nn
from models.blocks import Residual, pair
from models.sizes import check_positive

Reader = Callable[[mg.Tensor], mg.Tensor]  # the next ids (B, n) -> logits (B, n, V) after each
Cache = list[mg.Tensor]  # keys and values that an attention has computed, (B, S, d) each


@dataclass(frozen=True)
class TranslationConfig:
    """Sizes of both models. Defaults: the encoder-decoder of seed 004, hidden size 64."""

    vocabulary_size: int = 30
    d: int = 64
    layers: int = 3
    max_length: int = 1_000

    def __post_init__(self) -> None:
        check_positive(self, "vocabulary_size", "d", "layers", "max_length")
        if self.d % 2:
            raise ValueError(f"d: sinusoidal positions need an even number, got {self.d}")


class Attention(nn.MultiHeadAttention):
    """softmax(Q Kᵀ / √d) V in one head, without an output projection.

    x (B, T, d) attends to itself, or to context (B, S, d). Weights and biases are initialized as in
    PyTorch's Linear, uniform in ± 1/√d.
    """

    def __init__(self, d: int) -> None:
        super().__init__(d, 1, out_proj=False)
        for p in self.parameters():
            nn.init.uniform_(p, -1 / math.sqrt(d), 1 / math.sqrt(d))

    def forward(
        self,
        x: mg.Tensor,
        context: mg.Tensor | None = None,
        *,
        cache: Cache | None = None,
        **options: Any,
    ) -> Any:
        """y (B, T, d), or (y, weights) with return_weights=True, weights (B, 1, T, S).

        cache: a list, empty at first, that keeps keys and values from call to call. Those of x come
               after those of the calls before, which x attends to as well; those of `context` are
               computed once.
        """
        if cache is None:
            return super().forward(x, context, **options)
        if context is not None and cache:
            bias = None if self.in_proj_bias is None else self.in_proj_bias[: self.dim]
            q = mg.linear(x, self.in_proj_weight[: self.dim], bias)
        else:
            q, k, v = self.project(x, context)
            before = [mg.concatenate(pair, axis=1) for pair in zip(cache, (k, v), strict=False)]
            cache[:] = before or (k, v)
        return mg.scaled_dot_product_attention(q, *cache, **options)


def feed_forward(d: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(d, d), nn.ReLU())


class CrossBlock(nn.Module):
    """A = x + attention(x), causal;    C = A + cross(A, context);    y = C + ReLU(W C + b)

    Returns y and the weights of both attentions, or None for each without return_weights=True.
    """

    def __init__(self, d: int) -> None:
        self.attention = Attention(d)
        self.cross = Attention(d)
        self.ffn = feed_forward(d)

    def forward(
        self,
        x: mg.Tensor,
        context: mg.Tensor,
        caches: tuple[Cache, Cache] | tuple[None, None] = (None, None),
        **options: Any,
    ) -> tuple[mg.Tensor, Any, Any]:
        own, others = caches
        y, own_weights = pair(self.attention(x, causal=True, cache=own, **options))
        a = x + y
        y, cross_weights = pair(self.cross(a, context, cache=others, **options))
        c = a + y
        return c + self.ffn(c), own_weights, cross_weights


class EncoderDecoder(nn.Module):
    """Encodes a source, then predicts the target from it, id by id.

    source (B, S), target (B, T) -> logits (B, T, V) of the id after each of the target
    """

    def __init__(self, config: TranslationConfig) -> None:
        c = self.config = config
        self.source_embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.target_embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.positions = nn.SinusoidalPositions(c.max_length, c.d)
        self.encoder = nn.ModuleList(
            Residual(Attention(c.d), feed_forward(c.d)) for _ in range(c.layers)
        )
        self.decoder = nn.ModuleList(CrossBlock(c.d) for _ in range(c.layers))
        self.classifier = nn.Linear(c.d, c.vocabulary_size)

    def forward(self, source: mg.Tensor, target: mg.Tensor, *, return_weights: bool = False) -> Any:
        """logits; with return_weights (logits, attentions), by name the weights of every block:
        "encoder" (B, 1, S, S), "decoder" (B, 1, T, T) and "cross" (B, 1, T, S)."""
        options = {"return_weights": return_weights}
        encoded, attentions = self.encode(source, **options)
        logits, others = self.decode(target, encoded, **options)
        return (logits, attentions | others) if return_weights else logits

    def encode(self, source: mg.Tensor, **options: Any) -> tuple[mg.Tensor, dict[str, list[Any]]]:
        """(B, S) -> (B, S, d), and weights."""
        x, weights = self.positions(self.source_embedding(source)), []
        for block in self.encoder:
            x, of_block = block(x, **options)
            weights.append(of_block)
        return x, {"encoder": weights}

    def decode(
        self,
        target: mg.Tensor,
        encoded: mg.Tensor,
        start: int = 0,
        caches: Sequence[tuple[Cache, Cache]] | None = None,
        **options: Any,
    ) -> tuple[mg.Tensor, dict[str, list[Any]]]:
        """Logits (B, T, V) from ids (B, T) at the positions from `start` on, and weights.

        caches: two of each block, which have what came before `start`.
        """
        x = self.positions(self.target_embedding(target), start)
        attentions: dict[str, list[Any]] = {"decoder": [], "cross": []}
        for i, block in enumerate(self.decoder):
            x, *weights = block(x, encoded, caches[i] if caches else (None, None), **options)
            for of_kind, each in zip(attentions.values(), weights, strict=True):
                of_kind.append(each)
        return self.classifier(x), attentions

    def reader(self, source: mg.Tensor, *, cached: bool = True) -> Reader:
        """What reads a target piece by piece, for `greedy`."""
        with mg.no_grad():
            encoded, _ = self.encode(source)
        if not cached:
            return rereading(lambda target: self.decode(target, encoded)[0])
        caches: list[tuple[Cache, Cache]] = [([], []) for _ in self.decoder]
        return counting(lambda ids, start: self.decode(ids, encoded, start, caches)[0])


class DecoderOnly(nn.Module):
    """Predicts every next id of a sequence, such as a source, a mark and the target.

    ids (B, T) -> logits (B, T, V)
    """

    def __init__(self, config: TranslationConfig) -> None:
        c = self.config = config
        self.embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.positions = nn.SinusoidalPositions(c.max_length, c.d)
        self.blocks = nn.ModuleList(
            Residual(Attention(c.d), feed_forward(c.d)) for _ in range(c.layers)
        )
        self.classifier = nn.Linear(c.d, c.vocabulary_size)

    def forward(self, ids: mg.Tensor, *, return_weights: bool = False) -> Any:
        """logits; with return_weights (logits, attentions), (B, 1, T, T) of every block."""
        logits, attentions = self.read(ids, return_weights=return_weights)
        return (logits, attentions) if return_weights else logits

    def read(
        self, ids: mg.Tensor, start: int = 0, caches: Sequence[Cache] | None = None, **options: Any
    ) -> tuple[mg.Tensor, list[Any]]:
        """Logits and weights; start, caches: as in `EncoderDecoder.decode`, one cache a block."""
        x, attentions = self.positions(self.embedding(ids), start), []
        for i, block in enumerate(self.blocks):
            x, weights = block(x, causal=True, cache=caches[i] if caches else None, **options)
            attentions.append(weights)
        return self.classifier(x), attentions

    def reader(self, *, cached: bool = True) -> Reader:
        """What reads a sequence piece by piece, for `greedy`."""
        if not cached:
            return rereading(self)
        caches: list[Cache] = [[] for _ in self.blocks]
        return counting(lambda ids, start: self.read(ids, start, caches)[0])


# --- greedy decoding ------------------------------------------------------------------------------
def greedy(read: Reader, first: Any, end: int, limit: int = 20) -> np.ndarray[Any, Any]:
    """(B, n) the ids that follow `first` (B, m), each the most probable one, n <= limit.

    After an `end` a row has only ends. It stops when every row has one.
    """
    ids = first if isinstance(first, mg.Tensor) else mg.tensor(first)
    chosen: list[np.ndarray[Any, Any]] = []
    ended = np.zeros(len(ids), dtype=bool)
    with mg.no_grad():
        while len(chosen) < limit and not ended.all():
            best = devices.to_numpy(mg.argmax(read(ids)[:, -1], axis=-1).data)
            best = np.where(ended, end, best)
            ended |= best == end
            chosen.append(best)
            ids = mg.tensor(best[:, None], device=ids.device)
    return np.stack(chosen, axis=1)


def counting(read: Callable[[mg.Tensor, int], mg.Tensor]) -> Reader:
    """A reader of what caches allow to compute from the new ids and their first position."""
    position = 0

    def next_ids(ids: mg.Tensor) -> mg.Tensor:
        nonlocal position
        logits = read(ids, position)
        position += ids.shape[1]
        return logits

    return next_ids


def rereading(read: Callable[[mg.Tensor], mg.Tensor]) -> Reader:
    """A reader that computes everything from the start again: what caches are measured against."""
    before: list[mg.Tensor] = []

    def next_ids(ids: mg.Tensor) -> mg.Tensor:
        before.append(ids)
        return read(mg.concatenate(before, axis=1))

    return next_ids
