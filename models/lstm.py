"""The LSTM language model of seeds 000 and 001 (IFT6135 W2025, assignment 2, Problem 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import minigrad as mg
from minigrad import nn
from models.sizes import check_positive


@dataclass(frozen=True)
class LSTMConfig:
    """Sizes of an `LSTMLanguageModel`. Defaults: the seeds' experiments, 36 tokens for p = 31."""

    vocabulary_size: int = 36
    d: int = 128  # of the embedding
    d_hidden: int = 128
    layers: int = 2
    dropout: float = 0.0  # between layers only
    padding_id: int | None = None  # the token whose embedding stays zero

    def __post_init__(self) -> None:
        check_positive(self, "vocabulary_size", "d", "d_hidden", "layers")


class LSTMLanguageModel(nn.Module):
    """Embedding, stacked LSTM cells with one bias each, one linear layer at every position.

    The weights of each gate are initialized Xavier-uniform over the concatenation [x; h], with
    fan_in = d_x + d_h and fan_out = d_h. Biases and the initial h and c are zero. Parameters have
    the names of PyTorch's Embedding, LSTM and Linear; `count_parameters()` agrees with
    `models.count`.
    """

    def __init__(self, config: LSTMConfig) -> None:
        c = config
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary_size, c.d, padding_idx=c.padding_id)
        self.lstm = nn.LSTM(c.d, c.d_hidden, c.layers, dropout=c.dropout, recurrent_bias=False)
        self.classifier = nn.Linear(c.d_hidden, c.vocabulary_size)
        for layer in range(c.layers):
            weight_ih, weight_hh, bias, _ = self.lstm.layer_weights(layer)
            bound = math.sqrt(6 / (weight_ih.shape[1] + c.d_hidden + c.d_hidden))
            nn.init.uniform_(weight_ih, -bound, bound)
            nn.init.uniform_(weight_hh, -bound, bound)
            nn.init.zeros_(bias)

    def forward(self, ids: mg.Tensor, start: int = 0, *, return_hidden: bool = False) -> Any:
        """Logits of the next token after positions start..S-1.    ids (B, S) -> (B, S - start, V)

        A stacked model takes ids (R, B, S), or (B, S) for all replicas, and every result has a
        leading axis R.

        return_hidden: return (logits, hidden, (h, c)), with the hidden states of the last layer
        (B, S, d_hidden) and the state of every layer after the last token, (L, B, d_hidden) each.
        """
        ids = ids if ids.ndim == 3 else nn.for_replicas(ids, self.replicas)
        # time first: each step of the LSTM then reads and writes one block of memory
        hidden, state = self.lstm(self.embedding(ids.mT))
        logits = self.classifier(hidden[..., start:, :, :]).swapaxes(-3, -2)
        return (logits, hidden.swapaxes(-3, -2), state) if return_hidden else logits
