"""The models in PyTorch, for timing beside ours.

LSTM and GPT are spelled as in the seeds' course code, the models of speeches as users of PyTorch
would, with one projection for queries, keys and values, and its fused attention. Each takes the
weights of minigrad's model, by its names, so that all sides compute the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Cell(nn.Module):
    """Four linear maps of [x; h], as in the seeds."""

    def __init__(self, d_in: int, d: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(d_in + d, d) for _ in range(4))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        u = torch.cat([x, h], dim=-1)
        i, f, g, o = (gate(u) for gate in self.gates)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class SeedLSTM(nn.Module):
    """Stacked cells, with the time steps in Python."""

    def __init__(self, vocabulary: int = 36, d: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d, padding_idx=vocabulary - 1)
        self.cells = nn.ModuleList(Cell(d, d) for _ in range(layers))
        self.classifier = nn.Linear(d, vocabulary)
        self.d = d

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for cell in self.cells:
            h = c = x.new_zeros(len(x), self.d)
            outputs = []
            for t in range(x.shape[1]):
                h, c = cell(x[:, t], h, c)
                outputs.append(h)
            x = torch.stack(outputs, dim=1)
        return self.classifier(x)

    def load(self, weights: Mapping[str, Any]) -> None:
        state = tensors(weights)
        for layer in range(len(self.cells)):
            kinds = ("weight_ih", "weight_hh", "bias_ih")
            w_ih, w_hh, b = (state.pop(f"lstm.{kind}_l{layer}") for kind in kinds)
            rows = torch.cat([w_ih, w_hh], dim=1).chunk(4)
            for gate, (weight, bias) in enumerate(zip(rows, b.chunk(4), strict=True)):
                state[f"cells.{layer}.gates.{gate}.weight"] = weight
                state[f"cells.{layer}.gates.{gate}.bias"] = bias
        self.load_state_dict(state)


class FusedLSTM(nn.Module):
    """The same model with PyTorch's fused `torch.nn.LSTM`.

    Its second bias stays zero: if it were trained too, the sum of both would change twice as fast.
    """

    def __init__(self, vocabulary: int = 36, d: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d, padding_idx=vocabulary - 1)
        self.lstm = nn.LSTM(d, d, layers, batch_first=True)
        self.classifier = nn.Linear(d, vocabulary)
        for name, bias in self.lstm.named_parameters():
            if name.startswith("bias_hh"):
                nn.init.zeros_(bias).requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.lstm(self.embedding(ids))[0])

    def load(self, weights: Mapping[str, Any]) -> None:
        second = {name: v for name, v in self.state_dict().items() if "bias_hh" in name}
        self.load_state_dict(tensors(weights) | second)


class Attention(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        b, s, d = x.shape
        q, k, v = (
            m(x).view(b, s, self.heads, d // self.heads).transpose(1, 2)
            for m in (self.q, self.k, self.v)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        future = torch.ones(s, s, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, -torch.inf).softmax(-1)
        return self.o((weights @ v).transpose(1, 2).reshape(b, s, d))


class Block(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(d, heads)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.ffn = nn.Sequential(
            nn.Linear(d, 4 * d, bias=False), nn.GELU(), nn.Linear(4 * d, d, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x + self.attention(x))
        return self.norm2(y + self.ffn(y))


def sinusoids(length: int, d: int) -> Tensor:
    pair = torch.arange(0, d, 2, dtype=torch.float64)
    angle = torch.arange(length)[:, None] / 10000 ** (pair / d)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(length, d).float()


class SeedGPT(nn.Module):
    def __init__(
        self, vocabulary: int = 36, d: int = 128, layers: int = 2, heads: int = 4, length: int = 6
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d, padding_idx=vocabulary - 1)
        self.register_buffer("positions", sinusoids(length, d), persistent=False)
        self.blocks = nn.Sequential(*(Block(d, heads) for _ in range(layers)))
        self.classifier = nn.Linear(d, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.embedding(ids) + self.positions))

    def load(self, weights: Mapping[str, Any]) -> None:
        names = {
            "attention.out_proj": "attention.o",
            "attention_norm": "norm1",
            "ffn_norm": "norm2",
        }
        state = dict[str, Tensor]()
        for name, value in tensors(weights).items():
            if "in_proj" in name:
                for letter, part in zip("qkv", value.chunk(3), strict=True):
                    state[name.replace("in_proj_", f"{letter}.")] = part
                continue
            for ours, theirs in names.items():
                name = name.replace(ours, theirs)
            state[name] = value
        self.load_state_dict(state)


# --- speeches -------------------------------------------------------------------------------------
class FusedAttention(nn.Module):
    def __init__(self, d: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.in_proj = nn.Linear(d, 3 * d, bias=False)
        self.out_proj = nn.Linear(d, d)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        b, s, d = x.shape
        parts = self.in_proj(x).chunk(3, dim=-1)
        q, k, v = (part.view(b, s, self.heads, -1).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y.transpose(1, 2).reshape(b, s, d))


class PreNorm(nn.Module):
    def __init__(self, d: int, heads: int, hidden: int, causal: bool) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = FusedAttention(d, heads, causal)
        self.ffn = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, d))

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.attention(self.attention_norm(x))
        return y + self.ffn(self.ffn_norm(y))


class SpeechModel(nn.Module):
    """What both share: embeddings, positions and pre-norm blocks.    ids (B, T) -> (B, T, d)"""

    causal: bool

    def __init__(
        self, vocabulary: int = 5755, d: int = 64, layers: int = 4, heads: int = 2,
        hidden: int = 256, length: int = 32,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d)
        self.positions = nn.Embedding(length, d)
        blocks = (PreNorm(d, heads, hidden, self.causal) for _ in range(layers))
        self.blocks = nn.Sequential(*blocks)

    def trunk(self, ids: Tensor) -> Tensor:
        return self.blocks(self.embedding(ids) + self.positions.weight)

    def load(self, weights: Mapping[str, Any]) -> None:
        state = dict[str, Tensor]()
        for name, value in tensors(weights).items():
            for part in ("trunk.", "heads."):
                name = name.replace(part, "")
            state[name.replace("in_proj_", "in_proj.")] = value
        self.load_state_dict(state)


class SpeechClassifier(SpeechModel):
    """Looks at padding too, and takes the mean over it, as the assignment's recipe does."""

    causal = False

    def __init__(self, vocabulary: int = 5755, d: int = 64, **sizes: int) -> None:
        super().__init__(vocabulary, d, **sizes)
        self.head = nn.Linear(d, 100)
        self.classifier = nn.Linear(100, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(F.relu(self.head(self.trunk(ids).mean(dim=1))))


class SpeechLanguageModel(SpeechModel):
    causal = True

    def __init__(self, vocabulary: int = 5755, d: int = 64, **sizes: int) -> None:
        super().__init__(vocabulary, d, **sizes)
        self.classifier = nn.Linear(d, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.trunk(ids))


# --- BERT -----------------------------------------------------------------------------------------
class MaskedAttention(nn.Module):
    """Causal where there is no mask."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.heads = heads

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        b, s, d = x.shape
        parts = self.in_proj(x).chunk(3, dim=-1)
        q, k, v = (part.view(b, s, self.heads, -1).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=real, is_causal=real is None)
        return self.out_proj(y.transpose(1, 2).reshape(b, s, d))


class PostNorm(nn.Module):
    def __init__(self, d: int, heads: int, hidden: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.attention = MaskedAttention(d, heads)
        self.attention_norm, self.ffn_norm = (nn.LayerNorm(d, eps) for _ in range(2))
        self.ffn = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        y = self.attention_norm(x + self.attention(x, real))
        return self.ffn_norm(y + self.ffn(y))


class BertClassifier(nn.Module):
    """Texts are padded with 0. All tokens are of the first segment."""

    def __init__(
        self, vocabulary: int = 25, d: int = 384, layers: int = 6, heads: int = 12, length: int = 7
    ) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, d), nn.Embedding(512, d)
        self.types, self.norm = nn.Embedding(2, d), nn.LayerNorm(d, 1e-12)
        self.blocks = nn.ModuleList(PostNorm(d, heads, 4 * d, 1e-12) for _ in range(layers))
        self.pooler, self.classifier = nn.Linear(d, d), nn.Linear(d, 3)

    def forward(self, ids: Tensor) -> Tensor:
        real = (ids != 0)[:, None, None, :]
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types.weight[0]
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, real)
        return self.classifier(torch.tanh(self.pooler(x[:, 0])))

    def load(self, weights: Mapping[str, Any]) -> None:
        state = dict[str, Tensor]()
        for name, value in tensors(weights).items():
            for part in ("bert.", "embeddings.", "heads."):
                name = name.replace(part, "")
            state[name.replace("in_proj_", "in_proj.")] = value
        self.load_state_dict(state)


# --- Pig Latin ------------------------------------------------------------------------------------
class OneHead(nn.Module):
    """Without an output projection."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(d, 3 * d)
        self.d = d

    def forward(self, x: Tensor, context: Tensor | None = None, causal: bool = False) -> Tensor:
        if context is None:
            q, k, v = self.in_proj(x).chunk(3, dim=-1)
        else:
            weight, bias, d = self.in_proj.weight, self.in_proj.bias, self.d
            q = F.linear(x, weight[:d], bias[:d])
            k, v = F.linear(context, weight[d:], bias[d:]).chunk(2, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


class TranslatorBlock(nn.Module):
    def __init__(self, d: int, reads_source: bool) -> None:
        super().__init__()
        self.attention = OneHead(d)
        self.cross = OneHead(d) if reads_source else None
        self.ffn = nn.Sequential(nn.Linear(d, d), nn.ReLU())

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = x + self.attention(x, causal=self.cross is not None)
        if self.cross is not None:
            x = x + self.cross(x, context)
        return x + self.ffn(x)


class Translator(nn.Module):
    """ids: the source, in the first `source` columns, and the target."""

    table: Tensor

    def __init__(self, vocabulary: int = 30, d: int = 64, layers: int = 3, source: int = 9) -> None:
        super().__init__()
        self.source = source
        self.source_embedding = nn.Embedding(vocabulary, d)
        self.target_embedding = nn.Embedding(vocabulary, d)
        self.encoder = nn.ModuleList(TranslatorBlock(d, False) for _ in range(layers))
        self.decoder = nn.ModuleList(TranslatorBlock(d, True) for _ in range(layers))
        self.classifier = nn.Linear(d, vocabulary)
        self.register_buffer("table", sinusoids(1_000, d), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        source, target = ids[:, : self.source], ids[:, self.source :]
        x = self.source_embedding(source) + self.table[: source.shape[1]]
        for block in self.encoder:
            x = block(x)
        y = self.target_embedding(target) + self.table[: target.shape[1]]
        for block in self.decoder:
            y = block(y, x)
        return self.classifier(y)

    def load(self, weights: Mapping[str, Any]) -> None:
        renamed = {n.replace("in_proj_", "in_proj."): v for n, v in tensors(weights).items()}
        self.load_state_dict(renamed)


# --- WikiText-2 -----------------------------------------------------------------------------------
class TiedLSTM(nn.Module):
    """One frozen table at both ends."""

    def __init__(self, vocabulary: int = 40_479, d: int = 768, layers: int = 1) -> None:
        super().__init__()
        hidden = 2 * d // 3
        self.embedding = nn.Embedding(vocabulary, d)
        self.lstm = nn.LSTM(d, hidden, layers, batch_first=True)
        self.decoder = nn.Linear(hidden, d)
        self.embedding.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        h, _ = self.lstm(self.embedding(ids))
        return F.linear(torch.relu(self.decoder(h)), self.embedding.weight)

    def load(self, weights: Mapping[str, Any]) -> None:
        self.load_state_dict(tensors(weights))


class TiedGPT(nn.Module):
    """One frozen table at both ends, frozen positions, causal post-norm blocks."""

    def __init__(
        self, vocabulary: int = 40_479, d: int = 768, layers: int = 1, heads: int = 12,
        length: int = 256,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        self.blocks = nn.ModuleList(PostNorm(d, heads, 4 * d) for _ in range(layers))
        self.embedding.requires_grad_(False)
        self.positions.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return F.linear(x, self.embedding.weight)

    def load(self, weights: Mapping[str, Any]) -> None:
        names = tensors(weights).items()
        state = {n.replace("heads.", "").replace("in_proj_", "in_proj."): v for n, v in names}
        self.load_state_dict(state)


def tensors(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value) for name, value in weights.items()}
