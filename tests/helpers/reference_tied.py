"""The models of seed 002 in PyTorch, of its own LSTM and its own transformer layers."""

import torch
from torch import nn


class TiedLSTM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary_size, config.d)
        self.lstm = nn.LSTM(config.d, config.hidden, config.layers, batch_first=True)
        self.decoder = nn.Linear(config.hidden, config.d)
        self.embedding.weight.requires_grad_(False)

    def forward(self, ids):
        h, _ = self.lstm(self.embedding(ids))
        return torch.relu(self.decoder(h)) @ self.embedding.weight.T


class TiedGPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = config
        self.embedding = nn.Embedding(c.vocabulary_size, c.d)
        self.positions = nn.Embedding(c.length, c.d)
        layer = nn.TransformerEncoderLayer(
            c.d, c.heads, c.hidden, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=c.pre_norm,
        )  # fmt: skip
        norm = nn.LayerNorm(c.d) if c.pre_norm else None
        self.blocks = nn.TransformerEncoder(layer, c.layers, norm, enable_nested_tensor=False)
        for table in (self.embedding, self.positions):
            table.weight.requires_grad_(False)

    def forward(self, ids):
        length = ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, dtype=torch.float64)
        x = self.embedding(ids) + self.positions.weight[:length]
        return self.blocks(x, mask=mask, is_causal=True) @ self.embedding.weight.T


OURS = {
    "blocks.layers.": "blocks.",
    "self_attn.out_proj": "attention.heads.out_proj",
    "self_attn.": "attention.heads.",
    "linear1": "ffn.0",
    "linear2": "ffn.2",
    "norm1": "attention_norm",
    "norm2": "ffn_norm",
    "blocks.norm": "norm",
}


def our_name(name):
    """The name in minigrad's model of a parameter of these."""
    for theirs, ours in OURS.items():
        name = name.replace(theirs, ours)
    return name
