"""The models of `models/` in plain PyTorch, with the same parameter names."""

import math

import torch
from torch import nn


class LSTMLanguageModel(nn.Module):
    """PyTorch's own LSTM; its second bias is zero, frozen, and left out of the state dict."""

    def __init__(self, config):
        super().__init__()
        c = config
        self.embedding = nn.Embedding(c.vocabulary_size, c.d, padding_idx=c.padding_id)
        self.lstm = nn.LSTM(c.d, c.d_hidden, c.layers, batch_first=True)
        self.classifier = nn.Linear(c.d_hidden, c.vocabulary_size)
        for layer in range(c.layers):
            second_bias = getattr(self.lstm, f"bias_hh_l{layer}")
            second_bias.data.zero_()
            second_bias.requires_grad_(False)

    def forward(self, ids):
        hidden, _ = self.lstm(self.embedding(ids))
        return self.classifier(hidden)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.d
        self.attention = nn.MultiheadAttention(d, config.heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(d)
        self.ffn = nn.Sequential(
            nn.Linear(d, config.multiplier * d, bias=False),
            nn.GELU(),
            nn.Linear(config.multiplier * d, d, bias=False),
        )
        self.ffn_norm = nn.LayerNorm(d)

    def forward(self, x):
        length = x.shape[1]
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        a, weights = self.attention(x, x, x, attn_mask=future, average_attn_weights=False)
        y = self.attention_norm(x + a)
        return self.ffn_norm(y + self.ffn(y)), weights


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = config
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary_size, c.d, padding_idx=c.padding_id)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.classifier = nn.Linear(c.d, c.vocabulary_size)

    def positions(self, length):
        d = self.config.d
        factor = {"vaswani": 2, "halved": 1}[self.config.exponent]
        rows = [
            [
                (math.cos if i % 2 else math.sin)(t / 10000 ** (factor * (i // 2) / d))
                for i in range(d)
            ]
            for t in range(length)
        ]
        table = torch.tensor(rows, dtype=torch.float64).float()  # as our buffer is stored
        return table.to(self.embedding.weight.dtype)

    def forward(self, ids, return_hidden=False):
        x = self.embedding(ids) + self.positions(ids.shape[1])
        hidden, attentions = [x], []
        for block in self.blocks:
            x, weights = block(x)
            hidden.append(x)
            attentions.append(weights)
        logits = self.classifier(x)
        return (logits, hidden, torch.stack(attentions, 1)) if return_hidden else logits


def trained_state(model):
    """The state dict without the zero bias that minigrad's LSTM does not have."""
    return {name: value for name, value in model.state_dict().items() if "bias_hh" not in name}


def rhs_loss(logits, targets, rhs):
    """Mean over samples of the mean negative log-likelihood over right-hand sides, in loops."""
    samples = []
    for sample, target, counts in zip(logits, targets, rhs, strict=True):
        positions = [i for i in range(len(counts)) if counts[i]]
        nll = [-torch.log_softmax(sample[i], -1)[target[i]] for i in positions]
        samples.append(sum(nll) / len(nll))
    return sum(samples) / len(samples)
