"""The training of seed 004, section 3: a BERT learns the sign of verbal arithmetic.

The protocol is that of the course's bert.ipynb: 448 expressions to learn from and 192 for
validation, batches of 32, three epochs, AdamW with rate 5e-5 and weight decay .01 on everything, a
linear schedule whose first tenth is a warm-up, clipping at norm 1.

An encoder begins as `checkpoint` says: as MiniLM, pretrained on masked words here (see
`experiments.attention.pretraining`), or untrained. Its table of word embeddings has only the rows
of the word pieces that occur: other rows get no gradient, so only weight decay would change them,
and nothing would ever read them. Losses and all other weights are those of the whole table, except
for rounding in the sum of squares by which gradients are clipped.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

import minigrad as mg
from experiments.attention.pretraining import VOCABULARY, Text, pretrained
from experiments.data import arithmetic
from experiments.data.arithmetic import CLASSES, Expressions, VerbalArithmetic
from experiments.data.minilm import checkpoint_folder
from experiments.data.place import data_folder
from experiments.train import records
from experiments.train.records import Record
from experiments.train.task import Task
from experiments.train.trial import Trial
from minigrad import device as devices
from models import BertClassifier, BertConfig
from models.hugging_face import read_config, read_state, read_tokenizer

EPOCHS, PER_EPOCH = 3, 14  # of the seed; batches of 448 expressions
PAD = 0  # of the word pieces that occur
LENGTH = 7  # tokens of an expression: [CLS], three words, [SEP], padding
AT_ONCE = 64  # expressions of a forward pass in evaluation
WARM_UP = 0.1  # of all steps
MINILM = {"layers": 6, "d": 384, "heads": 12, "hidden": 1_536}
GAPS = ((1, 1), (2, 3), (4, 6), (7, 10), (11, 19))  # bands of |a - b|; each has 38 to 92 pairs

Start = Literal["minilm", Text, "scratch"]
Way = Literal["fine-tuned", "frozen", "head"]


@dataclass(frozen=True)
class Arithmetic(Trial):
    """The seed's training.

    seed:        of the split, the new weights, dropout and the order of the data.
    checkpoint:  what the encoder begins as.
    pretraining: the seed of the encoder that was pretrained here.
    way:         what is trained: everything, or with "frozen" only the classifier.
    """

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "val_accuracy", "val_balanced")

    batch_size: int = 32
    steps: int = EPOCHS * PER_EPOCH
    lr: float = 5e-5
    weight_decay: float = 0.01
    clip: float = 1.0
    checkpoint: Start = "minilm"
    pretraining: int = 0
    way: Way = "fine-tuned"
    layers: int = MINILM["layers"]
    d: int = MINILM["d"]
    heads: int = MINILM["heads"]
    hidden: int = MINILM["hidden"]
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("checkpoint", Start), ("way", Way)):
            if (value := getattr(self, name)) not in get_args(choices):
                expected = " or ".join(map(repr, get_args(choices)))
                raise ValueError(f"{name}: expected {expected}, got {value!r}")
        self.config(1)

    def config(self, vocabulary_size: int) -> BertConfig:
        """The sizes of the model for so many word pieces."""
        return BertConfig(
            vocabulary_size, self.d, self.layers, self.heads, self.hidden, dropout=self.dropout
        )

    def rate(self, step: int, per_epoch: int) -> float:
        """From 0 up to lr in the first tenth of all steps, then down to 0 at their end."""
        total = math.ceil(self.steps / per_epoch) * per_epoch
        warm_up = int(WARM_UP * total)
        if step < warm_up:
            return self.lr * step / warm_up
        return self.lr * (total - step) / (total - warm_up)

    def after(self) -> str | None:
        name = f"pretraining-{self.checkpoint.replace(' ', '-')}-seed{self.pretraining}"
        return name if self.checkpoint in get_args(Text) else None

    def task(self, device: str) -> Task:
        return ArithmeticTask(self, device)


@functools.lru_cache(maxsize=2)
def read(folder: Path) -> VerbalArithmetic:
    return arithmetic.read(folder)


# --- word pieces ----------------------------------------------------------------------------------
def whole_words(text: str) -> list[str]:
    """[CLS], the words of an expression, [SEP]: every word is a token of its own."""
    return ["[CLS]", *text.split(" "), "[SEP]"]


def in_pieces(
    texts: Sequence[str], cut: Callable[[str], list[str]]
) -> tuple[list[str], dict[str, list[int]]]:
    """The word pieces that occur, [PAD] first, and by text their numbers, padded to LENGTH.

    ValueError for a word that the vocabulary lacks, and for a text that is too long.
    """
    tokens = {text: cut(text) for text in texts}
    unknown = sorted({word for text, of in tokens.items() if "[UNK]" in of
                      for word in text.split(" ") if "[UNK]" in cut(word)})  # fmt: skip
    if unknown:
        raise ValueError(f"the vocabulary has no pieces for {', '.join(unknown)}")
    if long := [text for text, of in tokens.items() if len(of) > LENGTH]:
        cut_to = f"{len(tokens[long[0]])} word pieces"
        raise ValueError(f"{long[0]!r} has {cut_to} in this vocabulary; expected at most {LENGTH}")
    pieces = ["[PAD]", *sorted({piece for of in tokens.values() for piece in of})]
    number = {piece: i for i, piece in enumerate(pieces)}
    padding = ["[PAD]"] * LENGTH
    return pieces, {
        text: [number[piece] for piece in (of + padding)[:LENGTH]] for text, of in tokens.items()
    }


# --- what is trained ------------------------------------------------------------------------------
class ArithmeticTask(Task):
    """Predict the sign of an expression.

    `train_accuracy` is measured on each batch before its update and with dropout. The course's
    validation accuracy is the mean of those of six batches of 32, which is that of all 192.
    """

    sums = ("train_loss", "train_accuracy", "count")
    model: BertClassifier

    def __init__(
        self, trial: Arithmetic, device: str, source: VerbalArithmetic | None = None
    ) -> None:
        """source: expressions in the place of those in the folder that the command names."""
        super().__init__(trial, device)
        source = source or read(data_folder(arithmetic.SOURCE))
        train, val = arithmetic.split(source.train, trial.seed)
        self.parts = {"train": train, "val": val, "test": source.test}
        self.size = len(train)
        cut = whole_words
        if trial.checkpoint == "minilm":
            folder = checkpoint_folder()
            config = minilm_config(folder, trial)
            tokenizer = read_tokenizer(folder, config)
            cut = lambda text: tokenizer.encode(text).tokens
        texts = [*source.train.texts, *source.test.texts]
        self.pieces, numbers = in_pieces(texts, cut)
        self.ids, self.labels = {}, {}
        for name, part in self.parts.items():
            ids = np.array([numbers[text] for text in part.texts])
            self.ids[name] = mg.tensor(ids, device=device)
            self.labels[name] = mg.tensor(part.labels, device=device)
        self.model = BertClassifier(trial.config(len(self.pieces)), len(CLASSES)).to(device)
        if trial.checkpoint == "minilm":
            state = read_state(folder, config)
            self.take_over(state, [tokenizer.token_to_id(piece) for piece in self.pieces])
        if trial.way != "fine-tuned":
            self.model.bert.requires_grad_(False)

    def begin(self, checkpoint: Path) -> None:
        """Take over the encoder that was pretrained on masked words; the pooler stays new."""
        words = records.read_json(checkpoint.parent / VOCABULARY, list)
        if lacking := [piece for piece in self.pieces if piece not in words]:
            raise ValueError(f"{checkpoint.parent / VOCABULARY}: no {', '.join(lacking)}")
        encoder = pretrained(checkpoint, self.trial.config(len(words)))
        pooler = {n: a for n, a in self.model.bert.state_dict().items() if n.startswith("pooler")}
        state = pooler | encoder.state_dict()
        self.take_over(state, [words.index(piece) for piece in self.pieces])

    def take_over(self, state: dict[str, Any], rows: list[int]) -> None:
        """The weights of an encoder, of whose word embeddings only some rows are needed."""
        table = "embeddings.words.weight"
        self.model.bert.load_state_dict(state | {table: state[table][rows]})

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor]]:
        logits, labels = self.logits("train", rows), self.labels["train"][rows]
        losses = mg.cross_entropy(logits, labels, reduction="none")
        right = mg.argmax(logits.detach(), axis=-1) == labels
        return losses.mean(), (losses.detach().sum(), right.sum(), right.size)

    def logits(self, part: str, rows: Any) -> mg.Tensor:
        """(n, classes) of some expressions of a part."""
        ids = self.ids[part][rows]
        return self.model(ids, ids != PAD)

    def measure(self) -> Record:
        record: Record = {}
        for name in ("val", "test"):
            part = self.parts[name]
            logits = [
                devices.to_numpy(self.logits(name, slice(i, i + AT_ONCE)).data)
                for i in range(0, len(part), AT_ONCE)
            ]
            right = np.concatenate(logits).argmax(axis=-1) == part.labels
            record |= {f"{name}_{key}": value for key, value in shares(part, right).items()}
        return record


def minilm_config(folder: Path, trial: Arithmetic) -> BertConfig:
    """The sizes of the checkpoint in a folder. ValueError unless they are those of the trial."""
    config, wanted = read_config(folder), trial.config(1)
    pairs = {name: (getattr(wanted, name), getattr(config, name)) for name in MINILM}
    if wrong := [f"{name} {given}" for name, (size, given) in pairs.items() if given != size]:
        expected = ", ".join(f"{name} {size}" for name, (size, _) in pairs.items())
        raise ValueError(f"{folder}: expected MiniLM, {expected}; got {', '.join(wrong)}")
    return config


def shares(part: Expressions, right: np.ndarray[Any, Any]) -> dict[str, float]:
    """Which shares are right, by name; NaN of none.

    accuracy:           of all expressions.
    negative, ...:      of a class; `balanced` is the mean over the classes that there are.
    plus:               of the sums that are positive, all but "zero plus zero".
    minus_LOW_HIGH:     of the differences with LOW <= |a - b| <= HIGH.
    """
    labels = part.labels
    classes = {name: labels == label for label, name in enumerate(CLASSES)}
    groups = {"accuracy": labels >= 0, **classes, "plus": ~part.minus & (labels == 2)}
    for low, high in GAPS:
        groups[f"minus_{low}_{high}"] = part.minus & (low <= part.gaps) & (part.gaps <= high)
    values = {
        name: float(right[of].mean()) if of.any() else math.nan for name, of in groups.items()
    }
    balanced = [values[name] for name, of in classes.items() if of.any()]
    return {**values, "balanced": sum(balanced) / len(balanced)}
