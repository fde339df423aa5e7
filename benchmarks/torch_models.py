"""The two models in PyTorch, as the seeds' course code spells them, for timing beside ours."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
    """Stacked cells stepped in Python."""

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


class FusedLSTM(nn.Module):
    """The same with `torch.nn.LSTM`, PyTorch's own fused sequence."""

    def __init__(self, vocabulary: int = 36, d: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d, padding_idx=vocabulary - 1)
        self.lstm = nn.LSTM(d, d, layers, batch_first=True)
        self.classifier = nn.Linear(d, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.lstm(self.embedding(ids))[0])


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
        future = torch.ones(s, s, dtype=torch.bool).triu(1)
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


class SeedGPT(nn.Module):
    def __init__(
        self, vocabulary: int = 36, d: int = 128, layers: int = 2, heads: int = 4, length: int = 6
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d, padding_idx=vocabulary - 1)
        angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
        table = torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(length, d)
        self.register_buffer("positions", table)
        self.blocks = nn.Sequential(*(Block(d, heads) for _ in range(layers)))
        self.classifier = nn.Linear(d, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.embedding(ids) + self.positions))
