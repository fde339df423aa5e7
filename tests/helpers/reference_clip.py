"""CLIP in plain PyTorch with the names of Hugging Face's CLIPModel; patches by a convolution."""

import math

import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(d, d))

    def forward(self, x, causal):
        batch, length, d = x.shape
        q, k, v = (
            p(x).reshape(batch, length, self.heads, -1).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(d / self.heads)
        if causal:
            future = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        return self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(d)
        self.self_attn = Attention(d, heads)
        self.layer_norm2 = nn.LayerNorm(d)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(d, 4 * d), "fc2": nn.Linear(4 * d, d)})

    def forward(self, x, causal):
        x = x + self.self_attn(self.layer_norm1(x), causal)
        h = self.mlp["fc1"](self.layer_norm2(x))
        return x + self.mlp["fc2"](h * torch.sigmoid(1.702 * h))


def encoder(d, layers, heads):
    return nn.ModuleDict({"layers": nn.ModuleList(Block(d, heads) for _ in range(layers))})


class PatchEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c.vision_d
        self.class_embedding = nn.Parameter(torch.randn(d))
        self.patch_embedding = nn.Conv2d(3, d, c.patch, stride=c.patch, bias=False)
        self.position_embedding = nn.Embedding(c.patches + 1, d)

    def forward(self, pictures):
        patches = self.patch_embedding(pictures).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pictures), 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class VisionModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = PatchEmbeddings(c)
        self.pre_layrnorm = nn.LayerNorm(c.vision_d)
        self.encoder = encoder(c.vision_d, c.vision_layers, c.vision_heads)
        self.post_layernorm = nn.LayerNorm(c.vision_d)

    def forward(self, pictures):
        x = self.pre_layrnorm(self.embeddings(pictures))
        for block in self.encoder["layers"]:
            x = block(x, causal=False)
        return self.post_layernorm(x[:, 0])


class TextModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = nn.ModuleDict({
            "token_embedding": nn.Embedding(c.vocabulary_size, c.text_d),
            "position_embedding": nn.Embedding(c.context, c.text_d),
        })  # fmt: skip
        self.encoder = encoder(c.text_d, c.text_layers, c.text_heads)
        self.final_layer_norm = nn.LayerNorm(c.text_d)
        self.end = c.vocabulary_size - 1

    def forward(self, ids):
        x = self.embeddings["token_embedding"](ids)
        x = x + self.embeddings["position_embedding"].weight[: ids.shape[1]]
        for block in self.encoder["layers"]:
            x = block(x, causal=True)
        places = [row.index(self.end) for row in ids.tolist()]
        return self.final_layer_norm(
            torch.stack([row[i] for row, i in zip(x, places, strict=True)])
        )


class CLIPModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.vision_model = VisionModel(config)
        self.text_model = TextModel(config)
        self.visual_projection = nn.Linear(config.vision_d, config.embed, bias=False)
        self.text_projection = nn.Linear(config.text_d, config.embed, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pictures, ids):
        """The logits, and the vectors of pictures and of texts."""
        images = self.visual_projection(self.vision_model(pictures))
        texts = self.text_projection(self.text_model(ids))
        images, texts = (v / v.norm(dim=-1, keepdim=True) for v in (images, texts))
        return self.logit_scale.exp() * images @ texts.T, images, texts


def loss_of(logits):
    """Symmetric cross entropy, a pair at a time."""
    losses = []
    for i in range(len(logits)):
        losses += [-logits[i].log_softmax(0)[i], -logits[:, i].log_softmax(0)[i]]
    return sum(losses) / len(losses)
