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


class SpeechBlock(nn.Module):
    """y = x + attention(LN(x)), z = y + ffn(LN(y)); one matrix makes queries, keys and values."""

    def __init__(self, config):
        super().__init__()
        d, self.heads, self.positions = config.d, config.heads, config.positions
        self.attention_norm = nn.LayerNorm(d)
        self.in_proj = nn.Linear(d, 3 * d, bias=False)
        self.out_proj = nn.Linear(d, d)
        self.ffn_norm = nn.LayerNorm(d)
        self.ffn = nn.Sequential(
            nn.Linear(d, config.hidden), nn.ReLU(), nn.Linear(config.hidden, d)
        )

    def forward(self, x, causal, real):
        batch, length, d = x.shape
        parts = self.in_proj(self.attention_norm(x)).split(d, dim=-1)
        q, k, v = (p.reshape(batch, length, self.heads, -1).transpose(1, 2) for p in parts)
        scores = q @ k.transpose(-1, -2) / math.sqrt(d / self.heads)
        if self.positions in ("alibi", "signed"):
            places = torch.arange(length)
            distance = (places[:, None] - places).to(x.dtype)
            distance = distance.abs() if self.positions == "alibi" else distance
            for h in range(self.heads):
                scores[:, h] = scores[:, h] - 2 ** (-8 * (h + 1) / self.heads) * distance
        if causal:
            future = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None, :], -math.inf)
        weights = scores.softmax(-1)
        y = x + self.out_proj((weights @ v).transpose(1, 2).reshape(x.shape))
        return y + self.ffn(self.ffn_norm(y)), weights


class SpeechTrunk(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary_size, config.d)
        learned = config.positions == "learned"
        self.positions = nn.Embedding(config.block, config.d) if learned else None
        self.blocks = nn.ModuleList(SpeechBlock(config) for _ in range(config.layers))

    def forward(self, ids, causal=False, real=None):
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions.weight[: ids.shape[1]]
        attentions = []
        for block in self.blocks:
            x, weights = block(x, causal, real)
            attentions.append(weights)
        return x, attentions


class SpeechClassifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.trunk = SpeechTrunk(config)
        self.head = nn.Linear(config.d, config.head)
        self.norm = nn.BatchNorm1d(config.head) if config.batch_norm else None
        self.classifier = nn.Linear(config.head, config.classes)

    def forward(self, ids, lengths):
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        x, attentions = self.trunk(ids, real=None if self.config.attend_to_padding else real)
        if self.config.pool_padding:
            pooled = x.mean(1)
        else:
            pooled = torch.stack([each[:n].mean(0) for each, n in zip(x, lengths, strict=True)])
        h = self.head(pooled)
        h = h if self.norm is None else self.norm(h)
        return self.classifier(h.relu()), attentions


class SpeechLanguageModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.trunk = SpeechTrunk(config)
        self.classifier = nn.Linear(config.d, config.vocabulary_size)

    def forward(self, ids):
        x, attentions = self.trunk(ids, causal=True)
        return self.classifier(x), attentions


def speech_names(model):
    """The names in minigrad's speech models of those in these."""
    ours = {
        "in_proj.weight": "attention.heads.in_proj_weight",
        "out_proj.weight": "attention.heads.out_proj.weight",
        "out_proj.bias": "attention.heads.out_proj.bias",
    }
    names = {}
    for name in model.state_dict():
        ending = next((e for e in ours if name.endswith(e)), None)
        names[name] = name if ending is None else name.removesuffix(ending) + ours[ending]
    return names
