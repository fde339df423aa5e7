"""The two language models of seed 002 (IFT6135, assignment 2): an LSTM and "MiniGPT1".

Both read tokens from a table of embeddings that is not trained, and give logits by the same table:

    logits = features W_tableᵀ

At seed 002's sizes the table has 40,479 rows, and this product is most of a training step. So a
model computes `features`, and `mg.linear_cross_entropy(features, model.table, targets)` the loss,
without ever holding all logits; a call of the model gives the logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import minigrad as mg
from minigrad import nn
from models.blocks import PostNorm, PreNorm
from models.sizes import check_dropout, check_heads, check_positive


def frozen(weight: mg.Tensor) -> None:
    """Small normal numbers in the place of trained embeddings, which do not come with the model."""
    nn.init.normal_(weight, 0.0, 0.02)
    weight.requires_grad_(False)


class Tied(nn.Module):
    """What both share: the table of embeddings at both ends.    ids (B, T) -> logits (B, T, V)"""

    embedding: nn.Embedding

    @property
    def table(self) -> mg.Tensor:
        """(V, d) the embeddings of all tokens; not trained."""
        return self.embedding.weight

    def features(self, ids: mg.Tensor) -> mg.Tensor:
        """(B, T, d) whose products with the rows of `table` are the logits."""
        raise NotImplementedError

    def forward(self, ids: mg.Tensor) -> mg.Tensor:
        return mg.linear(self.features(ids), self.table)


# --- the LSTM ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TiedLSTMConfig:
    """Sizes of a `TiedLSTM`. Defaults: seed 002, experiments 1 to 4."""

    vocabulary_size: int = 40_479
    d: int = 768  # of the embeddings
    hidden: int = 512
    layers: int = 1
    dropout: float = 0.0  # of embeddings, between layers and of the last hidden states

    def __post_init__(self) -> None:
        check_positive(self, "vocabulary_size", "d", "hidden", "layers")
        check_dropout(self)


class TiedLSTM(Tied):
    """h = LSTM(embeddings), features = relu(W h + b).

    The LSTM begins with a state of zeros, and is initialized as PyTorch's, uniform in ± 1/√hidden,
    with two biases a layer.
    """

    def __init__(self, config: TiedLSTMConfig) -> None:
        c = config
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.lstm = nn.LSTM(c.d, c.hidden, c.layers, dropout=c.dropout)
        self.dropout = nn.Dropout(c.dropout)
        self.decoder = nn.Linear(c.hidden, c.d)
        frozen(self.table)

    def features(self, ids: mg.Tensor) -> mg.Tensor:
        # time first: each step of the LSTM then reads and writes one block of memory
        h, _ = self.lstm(self.dropout(self.embedding(ids.mT)))
        return mg.relu(self.decoder(self.dropout(h))).swapaxes(0, 1)


# --- the GPT -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TiedGPTConfig:
    """Sizes of a `TiedGPT`. Defaults: seed 002, experiments 5 to 8."""

    vocabulary_size: int = 40_479
    d: int = 768
    layers: int = 1
    heads: int = 12
    hidden: int = 3072  # of the feed-forward part
    length: int = 256  # positions
    dropout: float = 0.0  # of embeddings, of attention and its output, and of the feed-forward part
    pre_norm: bool = False  # instead of the seed's post-norm; with a last norm

    def __post_init__(self) -> None:
        check_positive(self, "vocabulary_size", "d", "layers", "heads", "hidden", "length")
        check_heads(self)
        check_dropout(self)


class Attention(nn.Module):
    """Causal multi-head attention, then dropout; initialized as PyTorch's Linear."""

    def __init__(self, config: TiedGPTConfig) -> None:
        self.heads = nn.MultiHeadAttention(config.d, config.heads, dropout=config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        for p in self.heads.parameters():
            nn.init.uniform_(p, -1 / math.sqrt(config.d), 1 / math.sqrt(config.d))

    def forward(self, x: mg.Tensor, *args: Any, **options: Any) -> mg.Tensor:
        return self.dropout(self.heads(x, *args, causal=True, **options))


def block(config: TiedGPTConfig) -> PostNorm | PreNorm:
    c = config
    ffn = nn.Sequential(
        nn.Linear(c.d, c.hidden), nn.GELU(), nn.Linear(c.hidden, c.d), nn.Dropout(c.dropout)
    )
    return (PreNorm if c.pre_norm else PostNorm)(c.d, Attention(c), ffn)


class TiedGPT(Tied):
    """Embeddings plus positions, neither trained, and L blocks, whose output are the features.

    Source: Radford et al., Improving Language Understanding by Generative Pre-Training (2018); in
    seed 002 with 1, 2 or 4 blocks.
    """

    def __init__(self, config: TiedGPTConfig) -> None:
        c = config
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.positions = nn.LearnedPositions(c.length, c.d)
        self.dropout = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(block(c) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.d) if c.pre_norm else None
        frozen(self.table)
        frozen(self.positions.weight)

    def features(self, ids: mg.Tensor) -> mg.Tensor:
        x = self.dropout(self.positions(self.embedding(ids)))
        for decoder_block in self.blocks:
            x, _ = decoder_block(x)
        return x if self.norm is None else self.norm(x)
