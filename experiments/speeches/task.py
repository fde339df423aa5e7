"""The two trainings of seed 003: name the speaker of a sentence, and predict the next token.

The protocol is that of the assignment's main.py: batches of 16, blocks of 32 tokens, Adam with rate
1e-3; 15 epochs of sentences, 500 batches of text.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import minigrad as mg
from experiments.data import speeches
from experiments.data.place import data_folder
from experiments.data.speeches import UNKNOWN, Ints, Speeches
from experiments.train import records
from experiments.train.task import Rows, Task, shuffled
from experiments.train.trial import Trial
from minigrad import device as devices
from minigrad import nn
from models import SpeechClassifier, SpeechConfig, SpeechLanguageModel
from models.speech import Dropped, Positions

EPOCHS, PER_EPOCH = 15, math.ceil(2_092 / 16)  # of the classifier; batches of its sentences
SAMPLED = 200 * 16  # windows on which the assignment measures a perplexity
AT_ONCE = 64  # windows or sentences of a forward pass in evaluation
BANDS = (0, 8, 16, 32, 64, 128)  # between them places within a window are measured together
VOCABULARY = "vocabulary.json"  # beside the records of a language model


@dataclass(frozen=True)
class Speech(Trial):
    """What both trainings share: sizes and protocol."""

    optimizer: Literal["adamw", "adam", "sgd", "momentum"] = "adam"
    layers: int = 4
    d: int = 64
    heads: int = 2
    hidden: int = 256  # of the feed-forward part; 100 in table 3
    block: int = 32
    positions: Positions = "learned"  # "alibi" in section 3.1
    dropout: float = 0.0  # .2 ... .5 in section 3.2
    attention_drops: Dropped = "weights and output"  # 3.2: "within the multi-head attention block"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.config(2)

    def config(self, vocabulary_size: int) -> SpeechConfig:
        """The sizes of the model for so many words."""
        return SpeechConfig(
            vocabulary_size, self.d, self.layers, self.heads, self.hidden, self.block,
            self.positions, self.dropout, self.attention_drops,
        )  # fmt: skip


@functools.lru_cache(maxsize=2)
def read(folder: Path, block: int) -> Speeches:
    return speeches.read(folder, block)


def data(block: int) -> Speeches:
    """The speeches in the folder that the command names, read once."""
    return read(data_folder(speeches.SOURCE), block)


# --- the classifier -------------------------------------------------------------------------------
# What includes padding: attention and the mean over a sentence; only the mean; only attention;
# neither.
Padding = Literal["seen", "unattended", "unpooled", "left out"]


@dataclass(frozen=True)
class Classify(Speech):
    """Section 1, and 3.2 with batch norm and dropout."""

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "train_accuracy", "test_accuracy")

    steps: int = EPOCHS * PER_EPOCH
    batch_norm: bool = False
    # The seed says nothing of padding. The assignment's sentences are padded to 32 and its recipe
    # takes the mean of all 32 places.
    padding: Padding = "seen"

    def config(self, vocabulary_size: int) -> SpeechConfig:
        return replace(
            super().config(vocabulary_size),
            batch_norm=self.batch_norm,
            attend_to_padding=self.padding in ("seen", "unpooled"),
            pool_padding=self.padding in ("seen", "unattended"),
        )

    def task(self, device: str) -> Task:
        return ClassifyTask(self, device)


class ClassifyTask(Task):
    """Predict the speaker of a sentence.

    `train_accuracy` is measured on each batch before its update, as in the seed; `learnt_accuracy`
    on the whole training set when the record is written.
    """

    sums = ("train_loss", "train_accuracy", "count")

    def __init__(self, trial: Classify, device: str, source: Speeches | None = None) -> None:
        """source: speeches in the place of those in the folder that the command names."""
        super().__init__(trial, device)
        source = source or data(trial.block)
        self.train, self.test = (on_device(s, device) for s in (source.train, source.test))
        self.size = len(source.train)
        self.model = self.untrained(len(source.vocabulary)).to(device)

    def untrained(self, vocabulary_size: int) -> nn.Module:
        return SpeechClassifier(self.trial.config(vocabulary_size))

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor]]:
        ids, lengths, labels = (a[rows] for a in self.train)
        logits = self.model(ids, lengths)
        losses = mg.cross_entropy(logits, labels, reduction="none")
        right = mg.argmax(logits.detach(), axis=-1) == labels
        return losses.mean(), (losses.detach().sum(), right.sum(), right.size)

    def measure(self) -> dict[str, Any]:
        """Loss and accuracy on both sets, and which sentences of the test set are right."""
        record: dict[str, Any] = {}
        for name, (ids, lengths, labels) in (("learnt", self.train), ("test", self.test)):
            parts = [slice(i, i + AT_ONCE) for i in range(0, len(ids), AT_ONCE)]
            logits = np.concatenate(
                [devices.to_numpy(self.model(ids[p], lengths[p]).data) for p in parts]
            )
            wanted, predicted = devices.to_numpy(labels.data), logits.argmax(axis=-1)
            losses = mg.cross_entropy(mg.tensor(logits), mg.tensor(wanted), reduction="none")
            record[f"{name}_loss"] = float(losses.numpy().mean(dtype=np.float64))
            record[f"{name}_accuracy"] = float((predicted == wanted).mean())
        for i, speaker in enumerate(SHORT):  # the confusion matrix of the test set
            for j, other in enumerate(SHORT):
                record[f"{speaker}_as_{other}"] = int(((wanted == i) & (predicted == j)).sum())
        return record | packed("right", predicted == wanted)


SHORT = ("obama", "wbush", "hbush")  # speakers by label, in names of records


def on_device(part: speeches.Sentences, device: str) -> tuple[mg.Tensor, mg.Tensor, mg.Tensor]:
    """ids (N, T), lengths (N,) and labels (N,)."""
    return tuple(mg.tensor(a, device=device) for a in (part.ids, part.lengths, part.labels))  # type: ignore[return-value]


def packed(name: str, flags: np.ndarray[Any, Any], bits: int = 50) -> dict[str, int]:
    """Booleans as whole numbers, `bits` in each: bit i of number k is element bits * k + i.

    The records then show which sentences were right, for tests of pairs of models.
    """
    parts = [flags[i : i + bits] for i in range(0, len(flags), bits)]
    return {
        f"{name}_{k}": sum(1 << i for i, each in enumerate(part) if each)
        for k, part in enumerate(parts)
    }


def unpacked(name: str, record: dict[str, Any], n: int, bits: int = 50) -> np.ndarray[Any, Any]:
    """(n,) bool: the inverse of `packed`."""
    return np.array([bool(record[f"{name}_{i // bits}"] >> i % bits & 1) for i in range(n)])


# --- the language model ---------------------------------------------------------------------------
@dataclass(frozen=True)
class Predict(Speech):
    """Section 2, and 3.1 with other positions.

    every:   iterations between two measurements.
    lengths: other lengths of windows in which the test texts are measured too.
    """

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "obama_loss", "hbush_loss", "wbush_loss")

    steps: int = 500
    every: int = 100
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("every", self.every), *(("lengths", n) for n in self.lengths)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")

    def task(self, device: str) -> Task:
        return PredictTask(self, device)


class PredictTask(Task):
    """Predict every token of a window of text from those before it.

    A sample is a window, numbered by the place of its first token. Every window is drawn once
    before any is drawn again; an "epoch" is the batches between two measurements.
    """

    sums = ("running_loss", "count")

    def __init__(self, trial: Predict, device: str, source: Speeches | None = None) -> None:
        """source: speeches in the place of those in the folder that the command names."""
        super().__init__(trial, device)
        source = source or data(trial.block)
        self.words = source.vocabulary
        self.text = mg.tensor(source.text, device=device)
        self.tests = {SHORT[speeches.SPEAKERS.index(n)]: t for n, t in source.tests.items()}
        self.size = len(source.text) - trial.block
        for name, text in {"the text": source.text, **self.tests}.items():
            longest = max([trial.block, *(2 * n for n in trial.lengths)])
            if len(text) <= longest + 1:
                raise ValueError(f"{name}: {len(text)} tokens are too few for windows of {longest}")
        self.offsets = mg.arange(trial.block, device=device)
        self.block, self.every, self.lengths = trial.block, trial.every, trial.lengths
        self.model = SpeechLanguageModel(trial.config(len(self.words))).to(device)

    def order(self, epoch: int) -> list[Rows]:
        size, seed, every = self.trial.batch_size, self.trial.seed, self.every
        per_pass = math.ceil(self.size / size)
        numbers = range(epoch * every, (epoch + 1) * every)
        wanted = {n // per_pass for n in numbers}
        passes = {p: shuffled(self.size, size, seed, p) for p in wanted}
        return [passes[n // per_pass][n % per_pass] for n in numbers]

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor | float]]:
        loss = self.losses(self.text, rows, self.offsets).mean()
        return loss, (loss.detach() * float(len(rows)), float(len(rows)))

    def losses(
        self,
        text: mg.Tensor,
        rows: mg.Tensor,
        offsets: mg.Tensor,
        places: mg.Tensor | None = None,
    ) -> mg.Tensor:
        """(n, T): of every token of windows that begin at `rows`, from the tokens before it."""
        tokens = rows[:, None] + offsets
        logits = self.model(text[tokens], places)
        return mg.cross_entropy(logits, text[tokens + 1], reduction="none")

    def measure(self) -> dict[str, Any]:
        """Mean losses; perplexities are their exponentials.

        NAME_loss: of all windows, or for the text to learn from of `SAMPLED` ones. NAME_sampled: of
        200 random batches, as the assignment measures; NAME_first: of the first 200, as without
        shuffling. NAME_known: of tokens in the vocabulary.
        NAME_LENGTH: of windows of LENGTH tokens. NAME_LENGTH_FROM_TO: of the places FROM + 1 to TO
        in them. These are over the same tokens for all lengths and places. Where fewer positions
        were learned, there are two of each: NAME_LENGTH_last has the last one from there on, in
        NAME_LENGTH_again they begin again.
        """
        random = np.random.default_rng([self.trial.seed, 3])
        some = np.sort(random.choice(self.size, min(SAMPLED, self.size), replace=False))
        text = devices.to_numpy(self.text.data)
        record = {"train_loss": mean(self.windows(text, some, self.block))}
        for name, test in self.tests.items():
            starts = np.arange(len(test) - self.block)
            losses = self.windows(test, starts, self.block)
            known = test[starts[:, None] + np.arange(1, self.block + 1)] != UNKNOWN
            record[f"{name}_loss"] = mean(losses)
            picked = random.choice(len(starts), min(SAMPLED, len(starts)), replace=False)
            record[f"{name}_sampled"] = mean(losses[picked])
            record[f"{name}_first"] = mean(losses[:SAMPLED])
            record[f"{name}_known"] = mean(losses[known])
            for length in self.lengths:
                for kind, places in self.positions_of(length).items():
                    for band, value in self.by_place(test, length, places).items():
                        record[f"{name}_{length}{kind}{band}"] = value
        return record

    def leave(self, folder: Path) -> None:
        """The words by id, so that text can be made where the data are not."""
        records.write_json(folder / VOCABULARY, list(self.words))

    def positions_of(self, length: int) -> dict[str, Ints | None]:
        """Which learned position each place in a window has; None for the usual ones."""
        if self.trial.positions != "learned" or length <= self.block:
            return {"": None}
        places = np.arange(length)
        return {"_last": np.minimum(places, self.block - 1), "_again": places % self.block}

    def by_place(self, text: Ints, length: int, places: Ints | None) -> dict[str, float]:
        """Mean losses in windows of a length, by the place in them.

        Windows begin at every 8th token, so of 8 places in a row one sees each token. Tokens at the
        ends of the text are left out, which longer windows could not see at every place.
        """
        longest, stride = max(self.lengths), BANDS[1]
        starts = np.arange(0, len(text) - length, stride)
        losses = self.windows(text, starts, length, places)
        token = starts[:, None] + np.arange(1, length + 1)
        counted = (token > longest) & (token < len(text) - longest)
        means = {"": mean(losses[counted])}
        for low, high in pairwise(BANDS):
            if high <= length:
                inside = counted[:, low:high]
                means[f"_{low}_{high}"] = mean(losses[:, low:high][inside])
        return means

    def windows(
        self, text: Ints, starts: Ints, length: int, places: Ints | None = None
    ) -> np.ndarray[Any, Any]:
        """(n, length): the losses of windows of a text, on the host."""
        tokens, offsets = (mg.tensor(a, device=self.device) for a in (text, np.arange(length)))
        positions = None if places is None else mg.tensor(places, device=self.device)
        step = max(1, AT_ONCE * 32 // length)
        losses = [
            self.losses(
                tokens, mg.tensor(starts[i : i + step], device=self.device), offsets, positions
            )
            for i in range(0, len(starts), step)
        ]
        return np.concatenate([devices.to_numpy(each.data) for each in losses])


def mean(losses: np.ndarray[Any, Any]) -> float:
    return float(losses.mean(dtype=np.float64))
