"""BERT in plain PyTorch, with Hugging Face's names of its tensors."""

import math

import torch
from torch import nn


class Layer(nn.Module):
    """y = LN(x + attention(x)), z = LN(y + ffn(y)); queries, keys and values by a map each."""

    def __init__(self, config):
        super().__init__()
        d, eps = config.d, config.eps
        self.heads = config.heads
        self.attention = nn.ModuleDict({
            "self": nn.ModuleDict({n: nn.Linear(d, d) for n in ("query", "key", "value")}),
            "output": nn.ModuleDict({"dense": nn.Linear(d, d), "LayerNorm": nn.LayerNorm(d, eps)}),
        })  # fmt: skip
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(d, config.hidden)})
        self.output = nn.ModuleDict({
            "dense": nn.Linear(config.hidden, d), "LayerNorm": nn.LayerNorm(d, eps),
        })  # fmt: skip

    def forward(self, x, real):
        maps, after = self.attention["self"], self.attention["output"]
        batch, length, d = x.shape
        q, k, v = (
            maps[name](x).reshape(batch, length, self.heads, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(d / self.heads)
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None, :], -math.inf)
        attended = (scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        y = after["LayerNorm"](x + after["dense"](attended))
        wide = nn.functional.gelu(self.intermediate["dense"](y))
        return self.output["LayerNorm"](y + self.output["dense"](wide))


class BERT(nn.Module):
    def __init__(self, config, pooler=True):
        super().__init__()
        c = config
        self.embeddings = nn.ModuleDict({
            "word_embeddings": nn.Embedding(c.vocabulary_size, c.d),
            "position_embeddings": nn.Embedding(c.positions, c.d),
            "token_type_embeddings": nn.Embedding(c.types, c.d),
            "LayerNorm": nn.LayerNorm(c.d, c.eps),
        })  # fmt: skip
        layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.encoder = nn.ModuleDict({"layer": layers})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(c.d, c.d)}) if pooler else None

    def forward(self, ids, real=None, types=None):
        tables = self.embeddings
        x = tables["word_embeddings"](ids)
        x = x + tables["token_type_embeddings"](torch.zeros_like(ids) if types is None else types)
        x = tables["LayerNorm"](x + tables["position_embeddings"](torch.arange(ids.shape[1])))
        states = [x]
        for layer in self.encoder["layer"]:
            x = layer(x, real)
            states.append(x)
        return states, None if self.pooler is None else self.pooler["dense"](x[:, 0]).tanh()


class BertClassifier(nn.Module):
    def __init__(self, config, classes=3):
        super().__init__()
        self.bert = BERT(config)
        self.classifier = nn.Linear(config.d, classes)

    def forward(self, ids, real=None):
        return self.classifier(self.bert(ids, real)[1])


class BertForMaskedWords(nn.Module):
    """Logits at all places; the last map is the table of word embeddings."""

    def __init__(self, config):
        super().__init__()
        self.bert = BERT(config, pooler=False)
        self.transform = nn.Linear(config.d, config.d)
        self.norm = nn.LayerNorm(config.d, config.eps)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def forward(self, ids, real=None):
        x = self.norm(nn.functional.gelu(self.transform(self.bert(ids, real)[0][-1])))
        return x @ self.bert.embeddings["word_embeddings"].weight.T + self.bias
