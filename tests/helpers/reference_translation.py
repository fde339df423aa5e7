"""The translators of `models/translation.py` in plain PyTorch, with other parameter names."""

import math

import numpy as np
import torch
from torch import nn


def positions(length, d):
    table = torch.zeros(length, d, dtype=torch.float64)
    angle = torch.arange(length)[:, None] / 10000.0 ** (torch.arange(0, d, 2) / d)
    table[:, 0::2], table[:, 1::2] = torch.sin(angle), torch.cos(angle)
    return table


class Attention(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(d, d) for _ in range(3))

    def forward(self, x, context, causal=False):
        scores = self.q(x) @ self.k(context).transpose(1, 2) / math.sqrt(x.shape[-1])
        if causal:  # as the assignment does it
            future = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -1e7)
        weights = scores.softmax(-1)
        return weights @ self.v(context), weights


class Block(nn.Module):
    def __init__(self, d, cross=False):
        super().__init__()
        self.own = Attention(d)
        self.cross = Attention(d) if cross else None
        self.mlp = nn.Linear(d, d)

    def forward(self, x, context=None, causal=False):
        y, own = self.own(x, x, causal)
        x = x + y
        others = None
        if self.cross is not None:
            y, others = self.cross(x, context)
            x = x + y
        return x + torch.relu(self.mlp(x)), own, others


class EncoderDecoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.source = nn.Embedding(c.vocabulary_size, c.d)
        self.target = nn.Embedding(c.vocabulary_size, c.d)
        self.encoder = nn.ModuleList(Block(c.d) for _ in range(c.layers))
        self.decoder = nn.ModuleList(Block(c.d, cross=True) for _ in range(c.layers))
        self.out = nn.Linear(c.d, c.vocabulary_size)

    def forward(self, source, target):
        weights = {"encoder": [], "decoder": [], "cross": []}
        x = self.source(source) + positions(source.shape[1], self.config.d)
        for block in self.encoder:
            x, own, _ = block(x)
            weights["encoder"].append(own)
        y = self.target(target) + positions(target.shape[1], self.config.d)
        for block in self.decoder:
            y, own, others = block(y, x, causal=True)
            weights["decoder"].append(own)
            weights["cross"].append(others)
        return self.out(y), weights


class DecoderOnly(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.blocks = nn.ModuleList(Block(c.d) for _ in range(c.layers))
        self.out = nn.Linear(c.d, c.vocabulary_size)

    def forward(self, ids):
        x, weights = self.embedding(ids) + positions(ids.shape[1], self.config.d), []
        for block in self.blocks:
            x, own, _ = block(x, causal=True)
            weights.append(own)
        return self.out(x), weights


def ours(theirs, values):
    """Values of parameters by our names, from values by PyTorch's: W_Q, W_K and W_V are one."""
    names = {"source": "source_embedding", "target": "target_embedding", "out": "classifier"}
    found, parts = {}, {}
    for name, value in values.items():
        path = name.split(".")
        path[0] = names.get(path[0], path[0])
        path = ["attention" if p == "own" else p for p in path]
        if path[-2] == "mlp":
            path[-2:-1] = ["ffn", "0"]
        if path[-2] in "qkv":
            parts.setdefault(".".join([*path[:-2], f"in_proj_{path[-1]}"]), []).append(value)
        else:
            found[".".join(path)] = np.asarray(value)
    return found | {name: np.concatenate(of) for name, of in parts.items()}
