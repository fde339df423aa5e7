"""Small encoders of our own, pretrained by masked words on text about numbers and on other text.

Seed 004 compares two encoders, one pretrained on mathematics and one on tweets, which also differ
in how they were trained, in vocabulary and in the amount of text. These differ only in the text.

The protocol is that of BERT: of the words of a window 15 % are chosen, of which 80 % are hidden,
10 % become another word, and 10 % stay; the loss is that of guessing the chosen ones.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

import minigrad as mg
from experiments.data import texts
from experiments.data.arithmetic import WORDS, Ints
from experiments.data.place import data_folder
from experiments.data.texts import CLS, MASK, SEP, SPECIAL
from experiments.train import records
from experiments.train.records import Record
from experiments.train.task import Rows, Task, shuffled
from experiments.train.trial import Trial
from minigrad import device as devices
from minigrad import optim, random
from minigrad.files import load_checkpoint
from models import BERT, BertConfig, BertForMaskedWords

# "no numbers": the other text without the words of verbal arithmetic
Text = Literal["numbers", "unrelated", "no numbers"]
CHOSEN, HIDDEN, CHANGED = 0.15, 0.8, 0.1  # of all words; of the chosen ones
HELD_OUT = 20  # every so many windows is for validation
AT_ONCE = 128  # windows of a forward pass in evaluation
WARM_UP = 0.1  # of all steps
POSITIONS = 512  # rows of the table of positions, as MiniLM has
VOCABULARY, COUNTS = "vocabulary.json", "counts.json"  # beside the records of a trial


@dataclass(frozen=True)
class MaskedWords(Trial):
    """Pretraining on a text.

    block: tokens of a window: [CLS], words, [SEP].
    every: steps between two measurements.
    """

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "val_loss", "val_accuracy")

    batch_size: int = 32
    steps: int = 6_000
    lr: float = 1.5e-3  # with 3e-3 nothing but the frequency of words is learnt
    weight_decay: float = 0.01
    clip: float = 1.0
    text: Text = "numbers"
    layers: int = 2
    d: int = 128
    heads: int = 4
    hidden: int = 512
    dropout: float = 0.0
    vocabulary: int = 4_096
    block: int = 32
    every: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text not in get_args(Text):
            expected = " or ".join(map(repr, get_args(Text)))
            raise ValueError(f"text: expected {expected}, got {self.text!r}")
        for name, least in (("block", 3), ("every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if self.block > POSITIONS:
            raise ValueError(f"block: expected at most {POSITIONS}, got {self.block}")
        self.config(1)

    def config(self, vocabulary_size: int) -> BertConfig:
        """The sizes of the model for so many words."""
        return BertConfig(
            vocabulary_size, self.d, self.layers, self.heads, self.hidden, POSITIONS,
            dropout=self.dropout,
        )  # fmt: skip

    def rate(self, step: int, per_epoch: int) -> float:
        total = math.ceil(self.steps / per_epoch) * per_epoch
        return optim.linear(step, self.lr, total, warmup=int(WARM_UP * total))

    def task(self, device: str) -> Task:
        return MaskedWordsTask(self, device)


@functools.lru_cache(maxsize=2)
def read(folder: Path, text: Text) -> list[str]:
    """The words of a text."""
    if text == "no numbers":
        return [word for word in texts.read(folder, "unrelated") if word not in WORDS]
    return texts.read(folder, text)


def pretrained(checkpoint: Path, config: BertConfig) -> BERT:
    """The encoder of a checkpoint of `MaskedWords`; config has the number of its words."""
    model = BertForMaskedWords(config)
    load_checkpoint(checkpoint, model=model)
    return model.bert


class MaskedWordsTask(Task):
    """Guess masked words.

    A sample is a window of the text. Every window is drawn once before any is drawn again; an
    "epoch" is the batches between two measurements. Which words are masked is drawn anew for every
    batch, in validation once.
    """

    sums = ("train_loss", "count")
    recordable = False  # as many places as are drawn
    model: BertForMaskedWords

    def __init__(
        self, trial: MaskedWords, device: str, source: Sequence[str] | None = None
    ) -> None:
        """source: the words of a text in the place of that in the folder that the command names."""
        super().__init__(trial, device)
        self.source = read(data_folder(texts.SOURCE), trial.text) if source is None else source
        self.words = texts.vocabulary(self.source, trial.vocabulary, WORDS)
        windows = windows_of(texts.encode(self.source, self.words), trial.block, self.words)
        held = np.arange(len(windows)) % HELD_OUT == HELD_OUT - 1
        if len(windows) - held.sum() < trial.batch_size or not held.any():
            least = max(trial.batch_size + 1, HELD_OUT) * (trial.block - 2)
            raise ValueError(
                f"the text {trial.text!r}: {len(self.source)} words are too few, expected {least}"
            )
        self.train, self.val = windows[~held], windows[held]
        self.size = len(self.train)
        self.model = BertForMaskedWords(trial.config(len(self.words))).to(device)

    def order(self, epoch: int) -> list[Rows]:
        size, seed, every = self.trial.batch_size, self.trial.seed, self.trial.every
        per_pass = self.size // size  # the last, short batch is left out
        numbers = range(epoch * every, (epoch + 1) * every)
        passes = {n // per_pass for n in numbers}
        orders = {p: shuffled(self.size, size, seed, p) for p in passes}
        return [orders[n // per_pass][n % per_pass] for n in numbers]

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor | float]]:
        windows = self.train[devices.to_numpy(rows.data)]
        losses, *_ = self.losses(windows, random.generator("masking"))
        total = losses.detach().sum()
        return losses.mean(), (total, float(losses.size))

    def losses(
        self, windows: Ints, generator: np.random.Generator
    ) -> tuple[mg.Tensor, np.ndarray[Any, Any], Ints]:
        """(n,) losses of the chosen words, whether each guess is right, and the words."""
        seen, places = masked(windows, self.words, generator)
        wanted = windows.reshape(-1)[places]
        ids, at, targets = (mg.tensor(a, device=self.device) for a in (seen, places, wanted))
        logits = self.model(ids, at)
        guesses = devices.to_numpy(logits.data).argmax(axis=-1)
        return mg.cross_entropy(logits, targets, reduction="none"), guesses == wanted, wanted

    def measure(self) -> Record:
        """On the windows for validation; `number_`: of the words of verbal arithmetic only."""
        generator = np.random.default_rng([self.trial.seed, 1])
        parts = [
            self.losses(self.val[i : i + AT_ONCE], generator)
            for i in range(0, len(self.val), AT_ONCE)
        ]
        losses = np.concatenate([devices.to_numpy(loss.data) for loss, _, _ in parts])
        right, wanted = (np.concatenate([each[i] for each in parts]) for i in (1, 2))
        numbers = np.isin(wanted, [self.words.index(word) for word in WORDS])
        record: Record = {}
        for name, of in (("val", np.ones_like(numbers)), ("number", numbers)):
            some = of.any()
            record[f"{name}_loss"] = float(losses[of].mean(dtype=float)) if some else math.nan
            record[f"{name}_accuracy"] = float(right[of].mean()) if some else math.nan
        return record

    def leave(self, folder: Path) -> None:
        """The words by id, and how often the text has each word of verbal arithmetic."""
        counts = Counter(self.source)
        records.write_json(folder / VOCABULARY, self.words)
        numbers = {word: counts[word] for word in WORDS}
        known = sum(counts[word] for word in self.words)
        about = {"words": len(self.source), "known": known, "number_words": numbers}
        records.write_json(folder / COUNTS, about)


def windows_of(ids: Ints, block: int, words: Sequence[str]) -> Ints:
    """(N, block): [CLS], block - 2 words of a text, [SEP]; the rest of the text is left out."""
    inside = block - 2
    n = len(ids) // inside
    windows = np.empty((n, block), dtype=np.int64)
    windows[:, 0], windows[:, -1] = words.index(CLS), words.index(SEP)
    windows[:, 1:-1] = ids[: n * inside].reshape(n, inside)
    return windows


def masked(
    windows: Ints, words: Sequence[str], generator: np.random.Generator
) -> tuple[Ints, Ints]:
    """What the model sees of windows (B, T), and the chosen places, (n,) numbers below B T.

    At least one word of a batch is chosen.
    """
    scores, fates = generator.random((2, *windows.shape))
    scores[:, [0, -1]] = 1.0  # [CLS] and [SEP] are never chosen
    chosen = scores <= max(CHOSEN, scores.min())
    others = generator.integers(len(SPECIAL), len(words), windows.shape)
    seen = np.where(chosen & (fates < HIDDEN), words.index(MASK), windows)
    changed = chosen & (fates >= HIDDEN) & (fates < HIDDEN + CHANGED)
    return np.where(changed, others, seen), np.flatnonzero(chosen)
