"""The two models of seed 003 (CSE256, assignment 2), a sentence classifier and a language model,
and a linear baseline of the first.

Both have embeddings, positions and pre-norm blocks without a final norm (`Trunk`). In the
classifier every position attends to all positions, in the language model only to earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import minigrad as mg
from minigrad import nn
from models.blocks import PreNorm
from models.sizes import check_dropout, check_heads, check_positive

# ALiBi subtracts the distance times the slope of a head from every score. "signed": the distance to
# a later token is negative, so its score is raised; for a language model this is the same as ALiBi.
Positions = Literal["learned", "alibi", "signed", "none"]
# where attention has dropout; the feed-forward part, the block and the head have it always
Dropped = Literal["weights and output", "weights", "output"]


@dataclass(frozen=True)
class SpeechConfig:
    """Sizes of both models. Defaults: seed 003."""

    vocabulary_size: int = 5755
    d: int = 64
    layers: int = 4
    heads: int = 2
    hidden: int = 256  # width of the feed-forward part
    block: int = 32  # the maximal length of texts if positions are learned
    positions: Positions = "learned"
    # in attention, after the feed-forward part, after the block, and in the head
    dropout: float = 0.0
    attention_drops: Dropped = "weights and output"
    head: int = 100  # hidden features of the classifier's head
    classes: int = 3
    batch_norm: bool = False  # after the head's first layer
    # whether a classifier's attention, and its mean over positions, include padding; the seed does
    # not say
    attend_to_padding: bool = True
    pool_padding: bool = True

    def __post_init__(self) -> None:
        names = ("vocabulary_size", "d", "layers", "heads", "hidden", "block", "head", "classes")
        check_positive(self, *names)
        check_heads(self)
        for name, choices in (("positions", Positions), ("attention_drops", Dropped)):
            if (value := getattr(self, name)) not in get_args(choices):
                expected = " or ".join(map(repr, get_args(choices)))
                raise ValueError(f"{name}: expected {expected}, got {value!r}")
        check_dropout(self)


class Attention(nn.Module):
    """Multi-head attention without biases of queries, keys and values; then dropout."""

    def __init__(self, config: SpeechConfig) -> None:
        c = config
        of_weights, of_output = (
            c.dropout if part in c.attention_drops else 0.0 for part in ("weights", "output")
        )
        self.heads = nn.MultiHeadAttention(
            c.d, c.heads, bias=False, out_bias=True, dropout=of_weights
        )
        self.dropout = nn.Dropout(of_output)
        self.positions = c.positions

    def forward(self, x: mg.Tensor, *args: Any, **options: Any) -> Any:
        if self.positions == "signed":
            options["mask"] = signed_bias(x, self.heads.num_heads)
        result = self.heads(x, *args, alibi=self.positions == "alibi", **options)
        if options.get("return_weights"):
            return self.dropout(result[0]), result[1]
        return self.dropout(result)


def signed_bias(x: mg.Tensor, heads: int) -> mg.Tensor:
    """slope (j - i) for query i and key j, (B, heads, T, T); slopes as in `ops.attention`."""
    (batch, length, _), device = x.shape, x.device
    places = mg.arange(length, device=device, dtype=x.dtype)
    slopes = 2.0 ** (-8.0 / heads * mg.arange(1, heads + 1, device=device, dtype=x.dtype))
    bias = slopes.reshape((-1, 1, 1)) * (places - places[:, None])
    return mg.broadcast_to(bias, (batch, heads, length, length))


def block(config: SpeechConfig) -> PreNorm:
    d = config.d
    ffn = nn.Sequential(
        nn.Linear(d, config.hidden), nn.ReLU(), nn.Linear(config.hidden, d),
        nn.Dropout(config.dropout),
    )  # fmt: skip
    return PreNorm(d, Attention(config), ffn)


class Trunk(nn.Module):
    """Embeddings plus positions, then L pre-norm blocks.    ids (B, T) -> x (B, T, d)

    ALiBi changes the scores of every attention and adds nothing to the embeddings. With ALiBi, and
    without positions, texts may have any length.
    """

    def __init__(self, config: SpeechConfig) -> None:
        c = config
        self.embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.positions: nn.LearnedPositions | None = None
        if c.positions == "learned":
            self.positions = nn.LearnedPositions(c.block, c.d)
        self.blocks = nn.ModuleList(block(c) for _ in range(c.layers))
        self.dropout = nn.Dropout(c.dropout)

    def forward(
        self, ids: mg.Tensor, places: mg.Tensor | None = None, **options: Any
    ) -> tuple[mg.Tensor, list[mg.Tensor | None]]:
        """x, and for each block its attention weights (B, heads, T, T), or None.

        places:  (T,) the position of each token, if positions are learned; 0, 1, ... if None.
        options: arguments of attention; return_weights=True asks for the weights.
        """
        x = self.embedding(ids)
        if self.positions is not None:
            x = self.positions(x, places)
        attentions: list[mg.Tensor | None] = []
        for trunk_block in self.blocks:
            x, weights = trunk_block(x, **options)
            x = self.dropout(x)
            attentions.append(weights)
        return x, attentions


class SpeechClassifier(nn.Module):
    """Predicts the speaker of a sentence.    ids (B, T), lengths (B,) -> logits (B, classes)

    The mean over positions is the input of d -> head (batch norm, ReLU, dropout) -> classes.
    """

    def __init__(self, config: SpeechConfig) -> None:
        c = config
        self.config = c
        self.trunk = Trunk(c)
        self.head = nn.Linear(c.d, c.head)
        self.norm = nn.BatchNorm1d(c.head) if c.batch_norm else None
        self.dropout = nn.Dropout(c.dropout)
        self.classifier = nn.Linear(c.head, c.classes)
        small_normal_(self)

    def forward(self, ids: mg.Tensor, lengths: mg.Tensor, *, return_weights: bool = False) -> Any:
        """logits; with return_weights (logits, attentions), one (B, heads, T, T) for each block."""
        c = self.config
        real = mg.arange(ids.shape[1], device=ids.device) < lengths.reshape((-1, 1))  # (B, T)
        key_mask = None if c.attend_to_padding else real
        x, attentions = self.trunk(ids, key_mask=key_mask, return_weights=return_weights)
        if c.pool_padding:
            pooled = x.mean(axis=1)
        else:
            inside = real.astype(x.dtype)[..., None]
            pooled = (x * inside).sum(axis=1) / inside.sum(axis=1)
        h = self.head(pooled)
        if self.norm is not None:
            h = self.norm(h)
        logits = self.classifier(self.dropout(mg.relu(h)))
        return (logits, attentions) if return_weights else logits


class BagOfWords(nn.Module):
    """A linear baseline that ignores the order of words.    ids (B, T) -> logits (B, classes)

    logits = Σ over tokens of votes[id] + bias. Padding, id 0, has no votes. Weights are initialized
    with 0.
    """

    def __init__(self, vocabulary_size: int, classes: int = 3) -> None:
        self.votes = nn.Embedding(vocabulary_size, classes, padding_idx=0)
        nn.init.zeros_(self.votes.weight)
        self.bias = nn.Parameter(mg.zeros(classes))

    def forward(self, ids: mg.Tensor, lengths: mg.Tensor | None = None) -> mg.Tensor:
        """lengths is ignored; it is there for calls like those of `SpeechClassifier`."""
        return self.votes(ids).sum(axis=-2) + self.bias


class SpeechLanguageModel(nn.Module):
    """Predicts the next token.    ids (B, T) -> logits (B, T, V)"""

    def __init__(self, config: SpeechConfig) -> None:
        self.config = config
        self.trunk = Trunk(config)
        self.classifier = nn.Linear(config.d, config.vocabulary_size)
        small_normal_(self)

    def forward(
        self, ids: mg.Tensor, places: mg.Tensor | None = None, *, return_weights: bool = False
    ) -> Any:
        """logits; with return_weights (logits, attentions), one (B, heads, T, T) for each block.

        places: see `Trunk.forward`.
        """
        x, attentions = self.trunk(ids, places, causal=True, return_weights=return_weights)
        logits = self.classifier(x)
        return (logits, attentions) if return_weights else logits


def small_normal_(model: nn.Module) -> None:
    """Initialize matrices and embeddings normal with standard deviation 0.02, biases with 0.

    This is nanoGPT's initialization, which the seed asks for: "like Andrej Karpathy". The gains of
    norms stay at 1.
    """
    for name, p in model.named_parameters():
        if p.ndim > 1:
            nn.init.normal_(p, 0.0, 0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
