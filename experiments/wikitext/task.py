"""The training of seed 002: predict every token of chunks of WikiText-2 from those before it.

The protocol is that of the assignment's program: chunks of 256 tokens, batches of 16, ten epochs, a
rate of 1e-3 for every optimizer, and embeddings that are not trained and serve as output layer too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

import minigrad as mg
from experiments.data import ngrams, wikitext
from experiments.data.chunks import PADDING, Chunks, chunks
from experiments.data.place import data_folder
from experiments.data.wikitext import VOCABULARY, Kept
from experiments.train import records
from experiments.train.records import Record
from experiments.train.task import Task
from experiments.train.trial import Trial, waited
from experiments.wikitext import samples, tables
from experiments.wikitext.embeddings import Embeddings
from minigrad import optim
from models import TiedGPT, TiedGPTConfig, TiedLSTM, TiedLSTMConfig

CHUNK = 256  # tokens
EPOCHS, PER_EPOCH = 10, math.ceil(9_205 / 16)  # batches of the training text
LEARNT_CHUNKS = 256  # of the training text, evenly chosen, measured again after an epoch
YARDSTICKS = "ngrams.json"  # beside the records: validation perplexities of n-grams


@dataclass(frozen=True)
class LanguageModel(Trial):
    """One of the twelve experiments of seed 002, and variants of them."""

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "val_loss")

    steps: int = EPOCHS * PER_EPOCH
    model: Literal["lstm", "gpt"] = "lstm"
    layers: int = 1
    d: int = 768
    hidden: int = 512  # of the LSTM
    heads: int = 12  # of the GPT, whose feed-forward part is 4 d wide
    vocabulary: int = VOCABULARY  # fewer: the most frequent ids, and one for all others
    window: int = CHUNK  # fewer: the first tokens of each chunk
    embeddings: str = "text"  # which tables, see `tables`
    dropout: float = 0.0
    pre_norm: bool = False
    warmup: int = 0  # steps in which the rate rises
    schedule: Literal["constant", "cosine"] = "constant"  # of the rate after the warm-up
    patience: int = 0  # epochs without a better validation loss, after which it ends; 0: never

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("warmup", 0), ("patience", 0), ("vocabulary", 3), ("window", 1)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")
        if self.vocabulary > VOCABULARY:
            raise ValueError(f"vocabulary: expected at most {VOCABULARY}, got {self.vocabulary}")
        if self.window > CHUNK:
            raise ValueError(f"window: expected at most {CHUNK}, got {self.window}")
        self.config()

    def config(self) -> TiedLSTMConfig | TiedGPTConfig:
        """The sizes of the model."""
        if self.model == "lstm":
            if self.pre_norm:
                raise ValueError("pre_norm: an LSTM has no norms")
            return TiedLSTMConfig(self.vocabulary, self.d, self.hidden, self.layers, self.dropout)
        return TiedGPTConfig(
            self.vocabulary, self.d, self.layers, self.heads, 4 * self.d, self.window,
            self.dropout, self.pre_norm,
        )  # fmt: skip

    def rate(self, step: int, per_epoch: int) -> float:
        if self.schedule == "cosine":
            total = math.ceil(self.steps / per_epoch) * per_epoch
            return optim.cosine(step, self.lr, total, warmup=self.warmup)
        return self.lr * min(1.0, (step + 1) / max(1, self.warmup))

    def stop(self, records: Sequence[Record]) -> bool:
        return self.patience > 0 and waited(records, "val_loss", self.patience)

    def task(self, device: str) -> Task:
        return LanguageModelTask(self, device)


# --- the data -------------------------------------------------------------------------------------
class Text(NamedTuple):
    """Chunks of the three splits, and the ids that a smaller vocabulary keeps, if it is smaller."""

    train: Chunks
    val: Chunks
    test: Chunks
    kept: Kept | None


@functools.lru_cache(maxsize=2)
def read(folder: Path, vocabulary: int, window: int) -> Text:
    texts = wikitext.read(folder)
    kept = None
    if vocabulary < VOCABULARY:
        kept = wikitext.frequent(texts["train"], vocabulary)
        texts = {split: kept.new_id[tokens] for split, tokens in texts.items()}
    parts = (chunks(texts[split], CHUNK, window) for split in ("train", "validation", "test"))
    return Text(*parts, kept)


@functools.lru_cache(maxsize=2)
def yardsticks(folder: Path, vocabulary: int, window: int) -> dict[str, float]:
    """Validation perplexities of n-grams of the training text."""
    text = read(folder, vocabulary, window)
    return ngrams.yardsticks(text.train, {"val": text.val}, vocabulary)["val"]


def data(trial: LanguageModel) -> Text:
    """What a trial reads of the folder that the command names, read once."""
    return read(data_folder(wikitext.SOURCE), trial.vocabulary, trial.window)


# --- the task -------------------------------------------------------------------------------------
class LanguageModelTask(Task):
    """A sample is a chunk of the training text.

    The loss of a batch is the mean over its chunks of the mean over their tokens, as in the seed's
    program, which differs from the mean over tokens only where the last chunk of the text is read.
    train_loss is the mean over the tokens of an epoch, of the models that there were in its course.
    """

    sums = ("train_loss", "count")

    def __init__(
        self,
        trial: LanguageModel,
        device: str,
        source: Text | None = None,
        embeddings: Embeddings | None = None,
    ) -> None:
        """source: a text in the place of that in the folder that the command names. embeddings:
        tables in the place of those that the trial names."""
        super().__init__(trial, device)
        self.source = source = source or data(trial)
        made = embeddings or tables.load(trial.embeddings, trial.d, source.kept)
        self.train, self.val, self.test = (
            Chunks(*(mg.tensor(a, device=device) for a in part)) for part in source[:3]
        )
        self.size = len(source.train.inputs)
        some = slice(None, None, max(1, self.size // LEARNT_CHUNKS))
        self.learnt = Chunks(*(a[some][:LEARNT_CHUNKS] for a in self.train))
        for name, part in (("train", source.train), ("val", source.val), ("test", source.test)):
            if not (part.targets != PADDING).any(axis=1).all():
                raise ValueError(f"{name}: expected a target in every chunk, got one of padding")
        wanted = (trial.vocabulary, trial.d), (trial.window, trial.d)
        got = made.tokens.shape, made.positions[: trial.window].shape
        if got != wanted:
            raise ValueError(f"embeddings: expected tokens and positions {wanted}, got {got}")
        kind = TiedLSTM if trial.model == "lstm" else TiedGPT
        model: Any = kind(trial.config())  # type: ignore[arg-type]
        model.embedding.weight.data[...] = made.tokens
        if trial.model == "gpt":
            model.positions.weight.data[...] = made.positions[: trial.window]
        self.model = model.to(device)

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor | float]]:
        inputs, targets = (a[rows] for a in self.train)
        loss, total, count = self.of_batch(inputs, targets)
        return loss, (total, count)

    def of_batch(
        self, inputs: mg.Tensor, targets: mg.Tensor
    ) -> tuple[mg.Tensor, mg.Tensor, mg.Tensor]:
        """The loss of chunks (B, T), the sum over their tokens, and how many tokens these are."""
        losses = mg.linear_cross_entropy(
            self.model.features(inputs), self.model.table, targets,
            ignore_index=PADDING, reduction="none",
        )  # fmt: skip
        counts = mg.sum(targets != PADDING, axis=1)
        return (losses.sum(axis=1) / counts).mean(), losses.detach().sum(), counts.sum()

    def measure(self) -> dict[str, Any]:
        """Of validation and test text, and of some chunks of the training text.

        NAME_loss: mean over tokens; its exponential is the perplexity. gradient_K: the norm of the
        gradient of the loss, over the first batch of the training text, with respect to the weights
        of layer K.
        """
        record: dict[str, Any] = {}
        for name in ("val", "test", "learnt"):
            inputs, targets = getattr(self, name)
            size, sums = self.trial.batch_size, []
            for i in range(0, len(inputs), size):
                _, total, count = self.of_batch(inputs[i : i + size], targets[i : i + size])
                sums.append([total.item(), count.item()])
            total, count = np.sum(sums, axis=0)
            record[f"{name}_loss"] = total / count
        return record | self.gradients()

    def leave(self, folder: Path) -> None:
        """Perplexities of n-grams on the same tokens, and some text."""
        place, kept = data_folder(wikitext.SOURCE), self.source.kept
        levels = yardsticks(place, self.trial.vocabulary, self.trial.window)
        records.write_json(folder / YARDSTICKS, levels)
        words = wikitext.Decoder(place, kept)
        left = samples.texts(
            self.model, self.source.test.inputs, self.trial.window, words.text_of,
            [PADDING] if kept is None else [PADDING, kept.rare],
        )  # fmt: skip
        records.write_json(folder / samples.FILE, left)

    def gradients(self) -> dict[str, float]:
        with mg.enable_grad():
            rows = mg.arange(min(self.trial.batch_size, self.size), device=self.device)
            self.loss(rows)[0].backward()
        norms: dict[str, float] = {}
        for k, weights in enumerate(layers_of(self.model)):
            squares = [float((p.grad.data.astype(np.float64) ** 2).sum()) for p in weights]
            norms[f"gradient_{k}"] = math.sqrt(math.fsum(squares))
        for p in self.model.parameters():
            p.grad = None
        return norms


def layers_of(model: TiedLSTM | TiedGPT) -> list[list[Any]]:
    """The parameters of each layer or block, the first first."""
    if isinstance(model, TiedGPT):
        return [list(each.parameters()) for each in model.blocks]
    return [model.lstm.layer_weights(i) for i in range(model.config.layers)]
