"""The GPT of seeds 000 and 001 (IFT6135 W2025, assignment 2, Problem 2): a post-norm decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import minigrad as mg
from minigrad import nn
from models.prefix import PrefixTree


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a `GPT`. Defaults: the seeds' experiments, 36 tokens for p = 31."""

    vocabulary_size: int = 36
    d: int = 128
    layers: int = 2
    heads: int = 4
    multiplier: int = 4  # the feed-forward part is multiplier * d wide
    dropout: float = 0.0  # after the feed-forward part
    max_length: int = 64
    padding_id: int | None = None  # the token whose embedding is zero and stays so
    # Position t of dimension pair k turns by t / 10000^e. Vaswani et al. (2017) have e = 2k/d, the
    # handout prints k/d ("halved"); the seeds do not say which they ran, other solutions use 2k/d.
    exponent: Literal["vaswani", "halved"] = "vaswani"

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "d", "layers", "heads", "multiplier", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.d % self.heads:
            raise ValueError(f"d: {self.d} cannot be divided among {self.heads} heads")
        if self.d % 2:
            raise ValueError(f"d: sinusoidal positions need an even number, got {self.d}")


class Block(nn.Module):
    """y = LN(x + attention(x)), then z = LN(y + dropout(ffn(y))).    x (B, S, d) -> (B, T, d)

    The feed-forward part has no biases. Every linear map starts as PyTorch's Linear does, uniform
    in ± 1/√fan_in, weights and biases alike.
    """

    def __init__(self, config: GPTConfig) -> None:
        d, wide = config.d, config.multiplier * config.d
        self.attention = nn.MultiHeadAttention(d, config.heads)
        self.attention_norm = nn.LayerNorm(d)
        self.ffn = nn.Sequential(
            nn.Linear(d, wide, bias=False), nn.GELU(), nn.Linear(wide, d, bias=False)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.ffn_norm = nn.LayerNorm(d)
        for p in self.attention.parameters():
            nn.init.uniform_(p, -1 / math.sqrt(d), 1 / math.sqrt(d))

    def forward(
        self, x: mg.Tensor, start: int = 0, *, return_weights: bool = False
    ) -> tuple[mg.Tensor, mg.Tensor | None]:
        """Outputs of the T = S - start positions from `start` on.

        return_weights: also the attention (B, heads, T, S), else None.
        """
        keys, x = (None, x) if start == 0 else (x, x[..., start:, :])
        a = self.attention(x, keys, causal=True, return_weights=return_weights)
        a, weights = a if return_weights else (a, None)
        return self.after_attention(x, a), weights

    def on_tree(
        self, x: mg.Tensor, tree: PrefixTree, start: int = 0, inputs: bool = False
    ) -> mg.Tensor:
        """The same for the nodes of a tree.    x (N, d) -> (M, d), the nodes from depth start on

        inputs: x (U, d) is of the tree's inputs, and each of them is projected once.
        """
        first = tree.first(start)
        if inputs:
            late, paths = tree.inputs.rows[first:], tree.inputs.paths[first:]
            a = self.attention.gathered(x, x, paths, late)
            return self.after_attention(mg.take(x, late, axis=0), a)
        late = x[first:] if first else x
        return self.after_attention(late, self.attention.gathered(late, x, tree.paths[first:]))

    def after_attention(self, x: mg.Tensor, a: mg.Tensor) -> mg.Tensor:
        y = self.attention_norm(x + a)
        return self.ffn_norm(y + self.dropout(self.ffn(y)))


class GPT(nn.Module):
    """Embedding plus fixed positions, L blocks, one linear layer at every position.

    No dropout on the embedding, no padding mask, no last layer norm (the last block ends in one).
    `count_parameters()` agrees with `models.count`.
    """

    def __init__(self, config: GPTConfig) -> None:
        c = config
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary_size, c.d, padding_idx=c.padding_id)
        self.positions = nn.SinusoidalPositions(c.max_length, c.d, exponent=c.exponent)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.classifier = nn.Linear(c.d, c.vocabulary_size)

    def forward(
        self, ids: mg.Tensor | PrefixTree, start: int = 0, *, return_hidden: bool = False
    ) -> Any:
        """Logits of the next token after positions start..S-1.    ids (B, S) -> (B, S - start, V)

        A `PrefixTree` of the ids gives the same to rounding. ValueError with return_hidden, with
        dropout in training, whose masks sequences would share, or for a stacked model. That takes
        ids (R, B, S), or (B, S) for all replicas, and every result has the axis R before these.

        Positions before `start` are computed as far as later ones look at them: the last block
        needs their keys and values alone.

        return_hidden: (logits, hidden, attentions) instead, for all positions: a list of the L + 1
        hidden states (B, S, d), of the embedding and of each block, and the attention weights
        (B, L, heads, S, S).
        """
        if isinstance(ids, PrefixTree):
            ids.check_use(self, start, return_hidden)
            return self._on_tree(ids, start)
        ids = ids if ids.ndim == 3 else nn.for_replicas(ids, self.replicas)
        x = self.positions(self.embedding(ids))
        if not return_hidden:
            for i, block in enumerate(self.blocks):
                x, _ = block(x, start if i == len(self.blocks) - 1 else 0)
            return self.classifier(x)
        hidden: list[mg.Tensor] = [x]
        attentions: list[mg.Tensor] = []
        for block in self.blocks:
            x, weights = block(x, return_weights=True)
            hidden.append(x)
            attentions.append(weights)
        return self.classifier(x[..., start:, :]), hidden, mg.stack(attentions, axis=-4)

    def _on_tree(self, tree: PrefixTree, start: int) -> mg.Tensor:
        """All nodes as rows; they meet in attention alone.

        The first block reads few different vectors: a token in one place is the same everywhere.
        """
        x = self.positions(self.embedding(tree.inputs.tokens), tree.inputs.depths)
        for i, block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            x = block.on_tree(x, tree, start if last else 0, inputs=i == 0)
        return tree.expand(self.classifier(x), start)
