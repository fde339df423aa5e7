"""BERT: an encoder of texts in which every token attends to all tokens.

Source: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers (2019).

    x0 = LN(word + position + type)            (B, T, d)
    xi = the i-th post-norm block of xi-1      i = 1 ... L, feed-forward part with gelu
    pooled = tanh(W xL[0] + b)                 (B, d), from the first token, [CLS]

`BertClassifier` maps `pooled` to classes, `BertForMaskedWords` guesses words that were hidden, by
which an encoder is pretrained. `models.hugging_face` reads weights that others have trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import minigrad as mg
from minigrad import nn
from models.blocks import PostNorm
from models.sizes import check_dropout, check_heads, check_positive
from models.speech import small_normal_


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT. Defaults: MiniLM, six layers (Wang et al., 2020)."""

    vocabulary_size: int = 30_522
    d: int = 384
    layers: int = 6
    heads: int = 12
    hidden: int = 1_536  # width of the feed-forward part
    positions: int = 512  # the greatest length of a text
    types: int = 2  # of segments, such as the two sentences of a pair
    eps: float = 1e-12  # of the layer norms
    dropout: float = 0.0  # of embeddings, attention weights, attention, feed-forward part

    def __post_init__(self) -> None:
        names = ("vocabulary_size", "d", "layers", "heads", "hidden", "positions", "types")
        check_positive(self, *names)
        check_heads(self)
        if not self.eps > 0.0:
            raise ValueError(f"eps: expected more than 0, got {self.eps}")
        check_dropout(self)


class Embeddings(nn.Module):
    """LN(word + position + type), then dropout.    ids (B, T) -> (B, T, d)"""

    def __init__(self, config: BertConfig) -> None:
        c = config
        self.words = nn.Embedding(c.vocabulary_size, c.d)
        self.positions = nn.LearnedPositions(c.positions, c.d)
        self.types = nn.Embedding(c.types, c.d)
        self.norm = nn.LayerNorm(c.d, c.eps)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, ids: mg.Tensor, types: mg.Tensor | None = None) -> mg.Tensor:
        of_types = self.types.weight[0] if types is None else self.types(types)
        return self.dropout(self.norm(self.positions(self.words(ids) + of_types)))


class Attention(nn.Module):
    """Multi-head attention, then dropout."""

    def __init__(self, config: BertConfig) -> None:
        self.heads = nn.MultiHeadAttention(config.d, config.heads, dropout=config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: mg.Tensor, *args: Any, **options: Any) -> mg.Tensor:
        return self.dropout(self.heads(x, *args, **options))


def block(config: BertConfig) -> PostNorm:
    d = config.d
    ffn = nn.Sequential(
        nn.Linear(d, config.hidden), nn.GELU(), nn.Linear(config.hidden, d),
        nn.Dropout(config.dropout),
    )  # fmt: skip
    return PostNorm(d, Attention(config), ffn, config.eps)


class BERT(nn.Module):
    """The encoder.    pooler: whether it has the map from the first token to `pooled`.

    Matrices are initialized normal with standard deviation 0.02, biases with 0, as in the paper's
    code. `count_parameters()` agrees with `models.count.bert`.
    """

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        c = config
        self.config = c
        self.embeddings = Embeddings(c)
        self.blocks = nn.ModuleList(block(c) for _ in range(c.layers))
        self.pooler = nn.Linear(c.d, c.d) if pooler else None
        small_normal_(self)

    def forward(
        self,
        ids: mg.Tensor,
        key_mask: mg.Tensor | None = None,
        types: mg.Tensor | None = None,
        *,
        first: bool = False,
    ) -> tuple[list[mg.Tensor], mg.Tensor | None]:
        """The hidden states x0 ... xL, (B, T, d) each, and pooled (B, d), None without a pooler.

        ids:      (B, T) integers, T at most `positions`.
        key_mask: (B, T) boolean, True for tokens and False for padding; None if there is none.
        types:    (B, T) integers, the segment of each token; None if all are of the first.
        first:    whether xL is wanted only of the first token, (B, 1, d): of the others the last
                  block then computes only keys and values.
        """
        x = self.embeddings(ids, types)
        states = [x]
        for i, encoder_block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            x, _ = encoder_block(x, slice(1) if first and last else 0, key_mask=key_mask)
            states.append(x)
        return states, None if self.pooler is None else mg.tanh(self.pooler(x[:, 0]))


class BertClassifier(nn.Module):
    """Predicts the class of a text.    ids (B, T), key_mask (B, T) -> logits (B, classes)"""

    def __init__(self, config: BertConfig, classes: int = 3) -> None:
        self.bert = BERT(config)
        self.classifier = nn.Linear(config.d, classes)
        small_normal_(self.classifier)

    def forward(self, ids: mg.Tensor, key_mask: mg.Tensor | None = None) -> mg.Tensor:
        _, pooled = self.bert(ids, key_mask, first=True)
        return self.classifier(pooled)


class BertForMaskedWords(nn.Module):
    """Guesses the words at some places of texts.    ids (B, T), places (n,) -> logits (n, V)

        logits = E LN(gelu(W x + b)) + c    with the table E of the word embeddings

    places: numbers of tokens among the B T of the batch, row by row.
    """

    def __init__(self, config: BertConfig) -> None:
        c = config
        self.bert = BERT(c, pooler=False)
        self.transform = nn.Linear(c.d, c.d)
        self.norm = nn.LayerNorm(c.d, c.eps)
        self.bias = nn.Parameter(mg.zeros(c.vocabulary_size))
        small_normal_(self.transform)

    def forward(
        self, ids: mg.Tensor, places: mg.Tensor, key_mask: mg.Tensor | None = None
    ) -> mg.Tensor:
        states, _ = self.bert(ids, key_mask)
        x = states[-1].reshape((-1, states[-1].shape[-1]))[places]
        x = self.norm(mg.gelu(self.transform(x)))
        return mg.linear(x, self.bert.embeddings.words.weight, self.bias)
