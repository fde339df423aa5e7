"""Translation of words into Pig Latin, section 2 of seed 004: what is trained and measured.

The protocol is that of the assignment's notebook: words of one pair of lengths make a batch, in the
same order in every epoch; Adam, whose rate loses 1 % at the start of every epoch, the first too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

import minigrad as mg
from experiments.attention.flops import flops_per_example
from experiments.attention.words import Words
from experiments.data import pig_latin
from experiments.data.pig_latin import END, END_OF_PROMPT, START, VOCABULARY_SIZE, Pair
from experiments.data.place import data_folder
from experiments.train import records
from experiments.train.task import Rows, Task
from experiments.train.trial import Trial
from minigrad import device as devices
from models.translation import DecoderOnly, EncoderDecoder, TranslationConfig, greedy

Kind = Literal["encoder-decoder", "decoder-only"]
RULES = get_args(pig_latin.Rule)
SENTENCE = "the air conditioning is working"  # of the seed
DRAWN = "conditioning"  # whose attention is kept
SHOWN = 200  # words of the validation set whose translations are kept
LIMIT = 20  # characters of a translation, as in the seed
TRANSLATIONS = "translations.json"


@dataclass(frozen=True)
class Translate(Trial):
    """A translator and its data. Defaults: hidden size 64 on the small data set.

    epochs:   after which training ends, if `steps` does not end it before.
    every:    updates that count as an epoch for that, for the rate and for what is measured, so
              that large and small data get the same; None for a real one.
    validate: the words held out: 20 % of the file that is learnt from, or the same ones of the
              small file whatever is learnt from, so that data sets can be compared.
    """

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "val_loss", "exact")

    batch_size: int = 64
    steps: int = 10_000
    optimizer: Literal["adamw", "adam", "sgd", "momentum"] = "adam"
    lr: float = 5e-4
    decay: float = 0.99
    epochs: int = 100
    every: int | None = None
    model: Kind = "encoder-decoder"
    d: int = 64
    layers: int = 3
    data: pig_latin.Size = "small"
    validate: Literal["own", "small"] = "own"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "every"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay: expected more than 0 and at most 1, got {self.decay}")
        self.config()

    def config(self) -> TranslationConfig:
        return TranslationConfig(VOCABULARY_SIZE, self.d, self.layers)

    def rate(self, step: int, per_epoch: int) -> float:
        return self.lr * self.decay ** (step // (self.every or per_epoch) + 1)

    def due(self, step: int, per_epoch: int) -> bool:
        return step % (self.every or per_epoch) == 0

    def stop(self, records: Sequence[records.Record]) -> bool:
        return len(records) > self.epochs  # the first is of the untrained model

    def task(self, device: str) -> Task:
        return TASKS[self.model](self, device)


@functools.lru_cache(maxsize=4)
def read(folder: Path, size: pig_latin.Size) -> list[Pair]:
    return pig_latin.read(folder, size)


def split(trial: Translate) -> tuple[list[Pair], list[Pair]]:
    """The pairs to learn from, and those held out."""
    folder = data_folder(pig_latin.SOURCE)
    train, held_out = pig_latin.split(read(folder, trial.data), trial.seed)
    if trial.validate == "own":
        return train, held_out
    _, common = pig_latin.split(read(folder, "small"), trial.seed)
    taken = set(common)
    return [pair for pair in [*train, *held_out] if pair not in taken][: len(train)], common


class TranslateTask(Task):
    """Predict every character of a translation, and its end, from those before.

    `train_loss` and `val_loss` are means over batches, however many words each has, as in the seed.
    """

    sums = ("train_loss", "batches")
    recordable = False  # lengths differ from batch to batch
    model: Any

    def __init__(
        self,
        trial: Translate,
        device: str,
        source: tuple[Sequence[Pair], Sequence[Pair]] | None = None,
    ) -> None:
        """source: pairs to learn from and held out, in the place of those of the files."""
        super().__init__(trial, device)
        pairs, held_out = source or split(trial)
        self.train, self.held_out = (
            Words(each, trial.batch_size, device) for each in (pairs, held_out)
        )
        self.size = len(pairs)
        self.model = self.untrained(trial.config()).to(device)

    def order(self, epoch: int) -> list[Rows]:
        return self.train.batches

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor | float]]:
        logits, wanted = self.predict(self.train, rows)
        loss = mg.cross_entropy(logits, wanted)
        return loss, (loss.detach(), 1.0)

    def measure(self) -> dict[str, Any]:
        """val_loss, by batch, and val_token_loss, by character; and how many words are translated
        without a mistake: `exact`, a share, and RULE_right of RULE_words.

        A word is right if every character is the most probable one after the right ones before it:
        then greedy decoding finds the same.
        """
        losses, right = [], np.zeros(len(self.held_out.pairs), dtype=bool)
        for rows in self.held_out.batches:
            logits, wanted = self.predict(self.held_out, mg.tensor(rows, device=self.device))
            of_batch = mg.cross_entropy(logits, wanted, reduction="none")
            losses.append(devices.to_numpy(of_batch.data).astype(np.float64))
            hits = mg.argmax(logits, axis=-1) == wanted
            right[rows] = devices.to_numpy(hits.data).all(axis=-1)
        record: dict[str, Any] = {
            "val_loss": np.mean([each.mean() for each in losses]),
            "val_token_loss": np.concatenate([each.ravel() for each in losses]).mean(),
            "exact": right.mean(),
        }
        rules = np.array([pig_latin.rule(word) for word, _ in self.held_out.pairs])
        for rule in RULES:
            record[f"{rule}_right"] = int(right[rules == rule].sum())
            record[f"{rule}_words"] = int((rules == rule).sum())
        return record | self.epoch_costs()

    def epoch_costs(self) -> dict[str, int]:
        """Ids that the model reads in an epoch, and FLOPs of training it on them."""
        return {}

    def leave(self, folder: Path) -> None:
        """The seed's sentence and words of the validation set as the model translates them, and
        what it attends to in one word."""
        held_out = self.held_out.pairs[:SHOWN]
        words = [word for word, _ in held_out]
        content = {
            "sentence": dict(zip(SENTENCE.split(), self.translate(SENTENCE.split()), strict=True)),
            "words": [
                {"word": word, "wanted": wanted, "given": given, "rule": pig_latin.rule(word)}
                for (word, wanted), given in zip(held_out, self.translate(words), strict=True)
            ],
            "attention": {
                "word": DRAWN,
                "translation": self.translate([DRAWN])[0],
                **self.attention(DRAWN),
            },
        }
        records.write_json(folder / TRANSLATIONS, content)

    def translate(self, words: Sequence[str], *, cached: bool = True) -> list[str]:
        """The Pig Latin of words. ValueError for one that is empty, too long, or no word."""
        encoded = [pig_latin.encode(word) for word in words]
        translated = [""] * len(words)
        for length in sorted({len(each) for each in encoded}):
            places = [i for i, each in enumerate(encoded) if len(each) == length]
            ids = self.greedy(np.stack([encoded[i] for i in places]), cached)
            for i, row in zip(places, ids.tolist(), strict=True):
                translated[i] = pig_latin.decode(row)
        return translated

    def written(self, word: str) -> tuple[list[int], list[int]]:
        """The ids of a word, and those of its translation before its end."""
        ids = pig_latin.encode(word)
        chosen = self.greedy(ids[None], True)[0]
        return ids.tolist(), chosen[chosen != END].tolist()

    # --- what the two kinds of models differ in
    def untrained(self, config: TranslationConfig) -> Any:
        raise NotImplementedError

    def predict(self, words: Words, rows: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        """Logits (n, T + 1, V) of a batch, whose words have equal lengths, and the ids (n, T + 1)
        that they should predict."""
        raise NotImplementedError

    def greedy(self, ids: np.ndarray[Any, Any], cached: bool) -> np.ndarray[Any, Any]:
        """The ids that translate words of one length, (B, S) -> (B, n)."""
        raise NotImplementedError

    def attention(self, word: str) -> dict[str, Any]:
        """What is read where as the model translates a word: by kind, of each layer a matrix."""
        raise NotImplementedError

    def lengths(self, words: Words, rows: mg.Tensor) -> tuple[int, int]:
        """Of the words of a batch and of their translations."""
        source, target = words.lengths[int(devices.to_numpy(rows.data)[0])]
        return int(source), int(target)


class EncoderDecoderTask(TranslateTask):
    """The encoder reads a word and its END, the decoder START and the translation so far."""

    def untrained(self, config: TranslationConfig) -> EncoderDecoder:
        return EncoderDecoder(config)

    def predict(self, words: Words, rows: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        source, target = self.lengths(words, rows)
        ids = words.targets[rows, : target + 2]
        return self.model(words.sources[rows, : source + 1], ids[:, :-1]), ids[:, 1:]

    def greedy(self, ids: np.ndarray[Any, Any], cached: bool) -> np.ndarray[Any, Any]:
        n = len(ids)
        source = mg.tensor(np.column_stack([ids, np.full(n, END)]), device=self.device)
        first = mg.tensor(np.full((n, 1), START), device=self.device)
        return greedy(self.model.reader(source, cached=cached), first, END, LIMIT)

    def attention(self, word: str) -> dict[str, Any]:
        read, written = self.written(word)
        source, target = (
            mg.tensor([ids], device=self.device) for ids in ([*read, END], [START, *written])
        )
        _, attentions = self.model(source, target, return_weights=True)
        return {name: maps(each) for name, each in attentions.items()}


class DecoderOnlyTask(TranslateTask):
    """The decoder reads START, a word, END_OF_PROMPT and the translation so far."""

    def untrained(self, config: TranslationConfig) -> DecoderOnly:
        return DecoderOnly(config)

    def predict(self, words: Words, rows: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        source, target = self.lengths(words, rows)
        ids = words.whole[rows, : source + target + 3]
        return self.model(ids[:, :-1])[:, source + 1 :], ids[:, source + 2 :]

    def epoch_costs(self) -> dict[str, int]:
        lengths = self.train.lengths.sum(axis=1) + 2
        d, layers = self.trial.d, self.trial.layers
        flops = sum(flops_per_example(int(n), d, layers, VOCABULARY_SIZE) for n in lengths)
        return {"epoch_tokens": int(lengths.sum()), "epoch_flops": flops}

    def greedy(self, ids: np.ndarray[Any, Any], cached: bool) -> np.ndarray[Any, Any]:
        n = len(ids)
        first = np.column_stack([np.full(n, START), ids, np.full(n, END_OF_PROMPT)])
        read = self.model.reader(cached=cached)
        return greedy(read, mg.tensor(first, device=self.device), END, LIMIT)

    def attention(self, word: str) -> dict[str, Any]:
        read, written = self.written(word)
        ids = mg.tensor([[START, *read, END_OF_PROMPT, *written]], device=self.device)
        _, attentions = self.model(ids, return_weights=True)
        return {"decoder": maps(attentions)}


def maps(attentions: Sequence[mg.Tensor]) -> list[list[list[float]]]:
    """Of each layer the weights (T, S) of the first sequence, in three digits."""
    return [np.round(devices.to_numpy(w.data)[0, 0], 3).tolist() for w in attentions]


TASKS: dict[str, type[TranslateTask]] = {
    "encoder-decoder": EncoderDecoderTask,
    "decoder-only": DecoderOnlyTask,
}
