"""CLIP: a vision transformer and a text transformer, whose vectors are near for pairs that belong
together.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision
(2021), sections 2.3 and 2.4. Sizes are free; those of `CLIPConfig` are ViT-B/32's.

    model = CLIP(CLIPConfig())
    load_hugging_face("model.safetensors", model)
    logits = model(pictures, ids)       # (B, 3, 224, 224) and (N, T) -> (B, N)

Pictures are normalized as those that the weights were trained with. The last id of the vocabulary
is the end of a text; what comes after it is padding, and has no effect.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.files import CheckpointError, read_file
from minigrad.state import problems, report
from models.blocks import PreNorm
from models.sizes import check_positive

TEMPERATURE = 0.07  # at the start
MOST_SCALE = 100.0  # the greatest factor of similarities, 1 / temperature


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both towers. Defaults: ViT-B/32."""

    embed: int = 512  # of the vectors that both give
    picture: int = 224  # height and width in pixels
    patch: int = 32
    vision_d: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    vocabulary_size: int = 49_408
    context: int = 77  # the maximal length of texts
    text_d: int = 512
    text_layers: int = 12
    text_heads: int = 8

    def __post_init__(self) -> None:
        check_positive(self, *self.__dataclass_fields__)
        if self.picture % self.patch:
            raise ValueError(f"picture: {self.picture} cannot be cut into patches of {self.patch}")
        for tower in ("vision", "text"):
            d, heads = getattr(self, f"{tower}_d"), getattr(self, f"{tower}_heads")
            if d % heads:
                raise ValueError(f"{tower}_d: {d} cannot be divided among {heads} heads")

    @property
    def patches(self) -> int:
        return (self.picture // self.patch) ** 2


class QuickGELU(nn.Module):
    """x σ(1.702 x), nearly GELU.    Source: Hendrycks and Gimpel, GELUs (2016), section 2"""

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return x * mg.sigmoid(1.702 * x)


def blocks(d: int, layers: int, heads: int) -> nn.ModuleList:
    """Pre-norm blocks, initialized as those of the authors' text tower: what a block adds starts
    smaller the more of them there are."""
    made = [
        PreNorm(
            d,
            nn.MultiHeadAttention(d, heads),
            nn.Sequential(nn.Linear(d, 4 * d), QuickGELU(), nn.Linear(4 * d, d)),
        )
        for _ in range(layers)
    ]
    added = 1 / math.sqrt(2 * d * layers)
    for block in made:
        for linear, std in (
            (block.attention.out_proj, added),
            (block.ffn[0], 1 / math.sqrt(2 * d)),
            (block.ffn[2], added),
        ):
            nn.init.normal_(linear.weight, 0.0, std)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(block.attention.in_proj_weight, 0.0, 1 / math.sqrt(d))
    return nn.ModuleList(made)


class VisionTower(nn.Module):
    """pictures (B, 3, H, W) -> (B, embed). A class token reads the patches, and is projected."""

    def __init__(self, config: CLIPConfig) -> None:
        c, d = config, config.vision_d
        self.config = c
        self.patches = nn.Linear(3 * c.patch**2, d, bias=False)
        self.class_token = nn.Parameter(mg.zeros(d))
        nn.init.normal_(self.class_token, 0.0, 1 / math.sqrt(d))
        self.positions = nn.LearnedPositions(c.patches + 1, d, std=1 / math.sqrt(d))
        self.norm_before = nn.LayerNorm(d)
        self.blocks = blocks(d, c.vision_layers, c.vision_heads)
        self.norm_after = nn.LayerNorm(d)
        self.projection = nn.Linear(d, c.embed, bias=False)
        nn.init.normal_(self.projection.weight, 0.0, 1 / math.sqrt(d))

    def forward(self, pictures: mg.Tensor) -> mg.Tensor:
        c = self.config
        if pictures.ndim != 4 or pictures.shape[1:] != (3, c.picture, c.picture):
            expected = f"(B, 3, {c.picture}, {c.picture})"
            raise ValueError(f"CLIP: expected pictures {expected}, got {pictures.shape}")
        batch = pictures.shape[0]
        x = self.patches(in_patches(pictures, c.patch))
        first = mg.broadcast_to(self.class_token, (batch, 1, c.vision_d))
        x = self.norm_before(self.positions(mg.concatenate([first, x], axis=1)))
        for block in self.blocks:
            x, _ = block(x)
        return self.projection(self.norm_after(x[:, 0]))


def in_patches(pictures: mg.Tensor, size: int) -> mg.Tensor:
    """(B, C, H, W) -> (B, patches, C size²), row by row: a linear layer of it is a convolution
    whose kernels (d, C, size, size) are its weights (d, C size²)."""
    batch, channels, height, width = pictures.shape
    rows, columns = height // size, width // size
    cut = pictures.reshape((batch, channels, rows, size, columns, size))
    return cut.transpose((0, 2, 4, 1, 3, 5)).reshape((batch, rows * columns, -1))


class TextTower(nn.Module):
    """ids (B, T), T <= context -> (B, embed). The end of a text has read all of it."""

    def __init__(self, config: CLIPConfig) -> None:
        c, d = config, config.text_d
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary_size, d)
        nn.init.normal_(self.embedding.weight, 0.0, 0.02)
        self.positions = nn.LearnedPositions(c.context, d, std=0.01)
        self.blocks = blocks(d, c.text_layers, c.text_heads)
        self.norm = nn.LayerNorm(d)
        self.projection = nn.Linear(d, c.embed, bias=False)
        nn.init.normal_(self.projection.weight, 0.0, 1 / math.sqrt(d))

    def forward(self, ids: mg.Tensor) -> mg.Tensor:
        x = self.positions(self.embedding(ids))
        for block in self.blocks:
            x, _ = block(x, causal=True)
        ends = mg.argmax(ids, axis=1)  # the end has the last id
        return self.projection(self.norm(x[mg.arange(len(ids), device=ids.device), ends]))


class CLIP(nn.Module):
    """pictures (B, 3, H, W), ids (N, T) -> logits (B, N): scaled cosine similarities.

    log_scale: (), the logarithm of 1 / temperature, learnt; see `limit_scale`.
    """

    def __init__(self, config: CLIPConfig) -> None:
        self.config = config
        self.vision = VisionTower(config)
        self.text = TextTower(config)
        self.log_scale = nn.Parameter(mg.tensor(math.log(1 / TEMPERATURE)))

    def forward(self, pictures: mg.Tensor, ids: mg.Tensor) -> mg.Tensor:
        similarities = self.embed_pictures(pictures) @ self.embed_texts(ids).swapaxes(0, 1)
        return mg.exp(self.log_scale) * similarities

    def embed_pictures(self, pictures: mg.Tensor) -> mg.Tensor:
        """(B, embed), of length 1."""
        return mg.normalize(self.vision(pictures))

    def embed_texts(self, ids: mg.Tensor) -> mg.Tensor:
        """(N, embed), of length 1."""
        return mg.normalize(self.text(ids))

    def limit_scale(self) -> None:
        """Cut the scale at `MOST_SCALE`; call it after an update. A limit in `forward` would have
        no gradient, so a scale beyond it would stay there."""
        with mg.no_grad():
            self.log_scale.assign_(mg.minimum(self.log_scale, math.log(MOST_SCALE)))


def contrastive_loss(logits: mg.Tensor) -> mg.Tensor:
    """The mean over n pairs of -log p(text | picture) and -log p(picture | text).

    logits (n, n): picture i and text i are a pair. Source: section 2.3 and figure 3.
    """
    pairs = mg.arange(len(logits), device=logits.device)
    of_texts = mg.cross_entropy(logits, pairs)
    of_pictures = mg.cross_entropy(logits.swapaxes(0, 1), pairs)
    return 0.5 * (of_texts + of_pictures)


# --- weights from a file --------------------------------------------------------------------------
# parts of our names and what stands in their place in Hugging Face's, one after the other
RENAMED = (
    ("log_scale", "logit_scale"),
    ("vision.patches.", "vision_model.embeddings.patch_embedding."),
    ("vision.class_token", "vision_model.embeddings.class_embedding"),
    ("vision.norm_before.", "vision_model.pre_layrnorm."),  # spelt so there
    ("vision.norm_after.", "vision_model.post_layernorm."),
    ("vision.projection.", "visual_projection."),
    ("text.embedding.", "text_model.embeddings.token_embedding."),
    ("text.norm.", "text_model.final_layer_norm."),
    ("text.projection.", "text_projection."),
    ("vision.", "vision_model."),
    ("text.", "text_model."),
    (".positions.", ".embeddings.position_embedding."),
    (".blocks.", ".encoder.layers."),
    (".attention_norm.", ".layer_norm1."),
    (".ffn_norm.", ".layer_norm2."),
    (".ffn.0.", ".mlp.fc1."),
    (".ffn.2.", ".mlp.fc2."),
    (".attention.", ".self_attn."),
)
# numbers 0, 1, ... that older files have beside the weights
IGNORED = tuple(f"{tower}_model.embeddings.position_ids" for tower in ("text", "vision"))


def hugging_face_names(name: str) -> list[str]:
    """Hugging Face's name of one of our tensors, or the three whose rows it has: q, k and v."""
    for ours, theirs in RENAMED:
        name = name.replace(ours, theirs)
    if ".in_proj_" not in name:
        return [name]
    return [name.replace("in_proj_", f"{part}_proj.") for part in "qkv"]


def load_hugging_face(path: str | os.PathLike[str], model: CLIP) -> None:
    """Read weights from a safetensors file with the names of Hugging Face's CLIPModel.

    OpenAI's weights come in such files. CheckpointError that lists every tensor that is missing,
    unexpected or has another shape or dtype, or if the file is damaged; OSError for a file that
    cannot be read. The model is then unchanged.
    """
    arrays, _ = read_file(path)
    given = {name: array for name, array in arrays.items() if name not in IGNORED}
    tensors, expected = model.state_tensors(), dict[str, Any]()
    for ours, tensor in tensors.items():
        names, shape = hugging_face_names(ours), tensor.shape
        if len(names) > 1:
            shape = (shape[0] // len(names), *shape[1:])
        if tensor is model.vision.patches.weight:  # kernels of a convolution there
            shape = (shape[0], 3, model.config.patch, model.config.patch)
        expected |= dict.fromkeys(names, np.broadcast_to(np.zeros((), tensor.dtype), shape))
    if wrong := [*problems(expected, given)]:
        raise CheckpointError(report(str(path), wrong))
    state: dict[str, Any] = {}
    for ours, tensor in tensors.items():
        parts = [given[name] for name in hugging_face_names(ours)]
        whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
        state[ours] = whole.reshape(tensor.shape)
    model.load_state_dict(state)
