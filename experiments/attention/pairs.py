"""A small CLIP and its training on emoji with their names."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import minigrad as mg
from experiments.attention import prompts, retrieval
from experiments.attention.pieces import Vocabulary
from experiments.data import pictures
from experiments.data.pictures import SIZE, Bytes, Emoji, Pictures
from experiments.data.place import data_folder
from experiments.train.task import Rows, Task, shuffled
from experiments.train.trial import Trial
from minigrad import device as devices
from minigrad import optim
from models.clip import CLIP, CLIPConfig, contrastive_loss

AT_ONCE = 256  # pictures, or captions, in a batch of measurements
SHARE, LARGEST = 0.2, 12  # of emoji that are held out, and the largest family among them
TAGS = 3  # words of a caption of tags

Style = Literal["google", "twitter", "both"]
STYLES = {"google": ("google",), "twitter": ("twitter",), "both": ("google", "twitter")}
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class Pairs(Trial):
    """Contrastive training on pairs of picture and caption. Sizes: of CLIP's, see `CLIPConfig`.

    style:    makers whose pictures are trained on, see `STYLES`; every time an emoji comes, the
              picture of one of them is drawn.
    shift:    a picture is moved by up to as many pixels each way, anew each time.
    tagged:   how many captions of tags an emoji has beside its name and its label. Every time one
              of its captions is drawn.
    every:    epochs between measurements.
    """

    shown: ClassVar[tuple[str, ...]] = ("loss", "scale", "google_held_picture_at_10")

    batch_size: int = 128
    steps: int = 1_500
    weight_decay: float = 0.1
    clip: float = 1.0
    warmup: int = 50
    every: int = 15
    style: Style = "google"
    shift: int = 4
    tagged: int = 2
    pieces: int = 1000
    context: int = 128
    embed: int = 64
    patch: int = 16
    vision_d: int = 128
    vision_layers: int = 4
    vision_heads: int = 4
    text_d: int = 64
    text_layers: int = 4
    text_heads: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("every", 1), ("shift", 0), ("tagged", 0), ("warmup", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if self.style not in STYLES:
            raise ValueError(f"style: expected {' or '.join(STYLES)}, got {self.style}")
        self.config(self.pieces)

    def config(self, vocabulary_size: int) -> CLIPConfig:
        """The sizes of the model for so many pieces."""
        names = ("embed", "patch", "context", "vision_d", "vision_layers", "vision_heads", "text_d",
                 "text_layers", "text_heads")  # fmt: skip
        sizes = {name: getattr(self, name) for name in names}
        return CLIPConfig(picture=SIZE, vocabulary_size=vocabulary_size, **sizes)

    def rate(self, step: int, per_epoch: int) -> float:
        """Rises for `warmup` steps, then falls as half a cosine wave."""
        total = max(self.steps, self.warmup + 1)
        return optim.schedules.cosine(step, self.lr, total, warmup=self.warmup)

    def due(self, step: int, per_epoch: int) -> bool:
        return step % (self.every * per_epoch) == 0

    def task(self, device: str) -> Task:
        return PairsTask(self, device)


@functools.lru_cache(maxsize=1)
def read(folder: Path) -> Pictures:
    return pictures.read(folder)


def data() -> Pictures:
    """The pictures in the folder that the command names, read once."""
    return read(data_folder(pictures.SOURCE))


class PairsTask(Task):
    """Tell which of the captions of a batch belongs to which of its pictures.

    A row is an emoji with all that is drawn for it (style, caption, place of the picture), as one
    number: digits to the bases `choices`. An epoch has each emoji once, but for those that do not
    fill a batch: a smaller batch is an easier task, with another loss.
    """

    trial: Pairs

    def __init__(self, trial: Pairs, device: str, source: Pictures | None = None) -> None:
        """source: pictures in the place of those in the folder that the command names."""
        super().__init__(trial, device)
        self.source = source or data()
        emoji = self.source.emoji
        self.train, self.held_out = pictures.split(emoji, SHARE, LARGEST, trial.seed)
        captions = [each for i in self.train for each in self.captions(emoji[i])]
        self.words = Vocabulary.learn(captions, trial.pieces)
        self.ids = mg.tensor(self.words.table(captions, trial.context), device=device)
        edge = [(0, 0), (trial.shift, trial.shift), (trial.shift, trial.shift), (0, 0)]
        styles = [self.source.styles[maker][self.train] for maker in STYLES[trial.style]]
        padded = [np.pad(each, edge, constant_values=255) for each in styles]  # white
        self.pictures = mg.tensor(np.concatenate(padded), device=device)
        places = 2 * trial.shift + 1
        self.choices = (len(styles), 2 + trial.tagged, places, places)
        self.size = len(self.train) * math.prod(self.choices)
        self.offsets = mg.arange(SIZE, device=device)
        self.model = CLIP(trial.config(len(self.words))).to(device)

    def captions(self, emoji: Emoji) -> list[str]:
        """Its name, its label, and some of its tags, drawn once; its label if it has none."""
        random = np.random.default_rng([self.trial.seed, 6, *emoji.name.encode()])
        drawn = [
            random.permutation(emoji.tags or (emoji.label,))[:TAGS]
            for _ in range(self.trial.tagged)
        ]
        return [emoji.name, emoji.label, *(" ".join(tags) for tags in drawn)]

    # --- training
    def order(self, epoch: int) -> list[Rows]:
        size, seed = self.trial.batch_size, self.trial.seed
        random = np.random.default_rng([seed, 5, epoch])
        rows = np.arange(count := len(self.train))
        for base in self.choices:
            rows = rows * base + random.integers(0, base, count)
        batches = shuffled(count, size, seed, epoch)
        return [rows[batch] for batch in batches if len(batch) == size]

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor | float]]:
        self.model.limit_scale()
        digits: list[mg.Tensor] = []
        for base in reversed(self.choices):
            digits.append(rows % base)
            rows = rows // base
        x, y, caption, style = digits
        ys, xs = (place[:, None] + self.offsets for place in (y, x))
        windows = self.pictures[
            (style * len(self.train) + rows)[:, None, None], ys[:, :, None], xs[:, None, :]
        ]
        ids = self.ids[rows * self.choices[1] + caption]
        loss = contrastive_loss(self.model(in_channels(windows), ids))
        return loss, (loss.detach() * float(len(rows)), float(len(rows)))

    # --- measurements
    def measure(self) -> dict[str, Any]:
        """The scale, and recall and classes of each set: see `retrieval`.

        MAKER_train and MAKER_held: emoji by their names, those trained on and those held out;
        stamps: by their captions. Classes: categories of held-out emoji, folders of stamps.
        """
        record: dict[str, Any] = {"scale": float(np.exp(self.model.log_scale.item()))}
        for name, (drawn, captions, kinds) in self.sets().items():
            vectors = self.embed_pictures(drawn)
            distinct, of = retrieval.numbered(captions)
            found = retrieval.recall(vectors @ self.embed_texts(distinct).T, of)
            if not name.endswith("train"):
                distinct, of = retrieval.numbered(kinds)
                found |= retrieval.classes(vectors @ self.embed_texts(distinct).T, of)
            record |= {f"{name}_{key}": value for key, value in found.items()}
        return record

    def sets(self) -> dict[str, tuple[Bytes, list[str], list[str]]]:
        """What is measured on: pictures, captions and kinds by name."""
        sets: dict[str, tuple[Bytes, list[str], list[str]]] = {}
        for maker, drawn in self.source.styles.items():
            for name, numbers in (("train", self.train), ("held", self.held_out)):
                emoji = [self.source.emoji[i] for i in numbers]
                names, kinds = [e.name for e in emoji], [e.category.lower() for e in emoji]
                sets[f"{maker}_{name}"] = drawn[numbers], names, kinds
        stamps = self.source.stamps
        return sets | {"stamps": (stamps.pictures, [*stamps.captions], [*stamps.kinds])}

    def leave(self, folder: Path) -> None:
        """What prompts find, and a gallery for a page: see `prompts`."""
        prompts.leave(self, folder)

    # --- vectors, on the host
    def embed_pictures(self, drawn: Bytes) -> Floats:
        """(N, SIZE, SIZE, 3) -> (N, embed)"""
        return self.in_parts(lambda part: self.model.embed_pictures(in_channels(part)), drawn)

    def embed_texts(self, captions: Sequence[str]) -> Floats:
        """M captions -> (M, embed)"""
        return self.in_parts(self.model.embed_texts, self.words.table(captions, self.trial.context))

    def in_parts(self, embed: Any, rows: np.ndarray[Any, Any]) -> Floats:
        parts = [rows[i : i + AT_ONCE] for i in range(0, len(rows), AT_ONCE)]
        vectors = [embed(mg.tensor(part, device=self.device)) for part in parts]
        return np.concatenate([devices.to_numpy(each.data) for each in vectors])


def in_channels(drawn: mg.Tensor) -> mg.Tensor:
    """Bytes (B, H, W, 3) as floats (B, 3, H, W): black is -1, white 1."""
    return drawn.astype(np.float32).transpose((0, 3, 1, 2)) / 127.5 - 1.0
