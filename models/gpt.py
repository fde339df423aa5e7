"""The GPT of seeds 000 and 001 (IFT6135 W2025, assignment 2, Problem 2): a post-norm decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import minigrad as mg
from minigrad import nn
from models.blocks import PostNorm
from models.sizes import check_heads, check_positive


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
    padding_id: int | None = None  # the token whose embedding stays zero
    # The angle of position t and dimension pair k is t / 10000^e. Vaswani et al. (2017) have
    # e = 2k/d, the handout prints k/d ("halved"). The seeds do not say which they ran; other
    # solutions use 2k/d.
    exponent: Literal["vaswani", "halved"] = "vaswani"

    def __post_init__(self) -> None:
        names = ("vocabulary_size", "d", "layers", "heads", "multiplier", "max_length")
        check_positive(self, *names)
        check_heads(self)
        if self.d % 2:
            raise ValueError(f"d: sinusoidal positions need an even number, got {self.d}")


def block(config: GPTConfig) -> PostNorm:
    """A block of the decoder. Its feed-forward part has no biases, and ends in dropout.

    Weights and biases of all linear layers are initialized as in PyTorch's Linear, uniform in
    ± 1/√fan_in.
    """
    d, wide = config.d, config.multiplier * config.d
    attention = nn.MultiHeadAttention(d, config.heads)
    ffn = nn.Sequential(
        nn.Linear(d, wide, bias=False), nn.GELU(), nn.Linear(wide, d, bias=False),
        nn.Dropout(config.dropout),
    )  # fmt: skip
    for p in attention.parameters():
        nn.init.uniform_(p, -1 / math.sqrt(d), 1 / math.sqrt(d))
    return PostNorm(d, attention, ffn)


class GPT(nn.Module):
    """Embedding plus fixed positions, L blocks, one linear layer at every position.

    There is no dropout on the embedding, no padding mask, and no final layer norm (the last block
    ends in one). `count_parameters()` agrees with `models.count`.
    """

    def __init__(self, config: GPTConfig) -> None:
        c = config
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary_size, c.d, padding_idx=c.padding_id)
        self.positions = nn.SinusoidalPositions(c.max_length, c.d, exponent=c.exponent)
        self.blocks = nn.ModuleList(block(c) for _ in range(c.layers))
        self.classifier = nn.Linear(c.d, c.vocabulary_size)

    def forward(self, ids: mg.Tensor, start: int = 0, *, return_hidden: bool = False) -> Any:
        """Logits of the next token after positions start..S-1.    ids (B, S) -> (B, S - start, V)

        A stacked model takes ids (R, B, S), or (B, S) for all replicas, and every result has a
        leading axis R.

        Of the positions before `start`, the last block computes only keys and values.

        return_hidden: return (logits, hidden, attentions): hidden is a list of the L + 1 hidden
        states (B, S, d) of the embedding and of each block, and attentions are the attention
        weights (B, L, heads, S, S), both for all positions.
        """
        ids = ids if ids.ndim == 3 else nn.for_replicas(ids, self.replicas)
        x = self.positions(self.embedding(ids))
        if not return_hidden:
            for i, decoder_block in enumerate(self.blocks):
                x, _ = decoder_block(x, start if i == len(self.blocks) - 1 else 0, causal=True)
            return self.classifier(x)
        hidden: list[mg.Tensor] = [x]
        attentions: list[mg.Tensor] = []
        for decoder_block in self.blocks:
            x, weights = decoder_block(x, causal=True, return_weights=True)
            hidden.append(x)
            attentions.append(weights)
        return self.classifier(x[..., start:, :]), hidden, mg.stack(attentions, axis=-4)
