"""What a benchmark trains: a model of the experiments, on one batch.

sums             the LSTM and the GPT of seeds 000 and 001, on sums
random_tokens    the same on tokens that share no prefixes
speeches         the two transformers of seed 003, on random tokens in the place of speeches
words            a translator of seed 004, on random letters in the place of words
verbal           BERT in the fine-tuning of seed 004, on verbal arithmetic, or on longer texts
wikitext         the two models of seed 002, on random tokens in the place of WikiText-2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

import minigrad as mg
from experiments.attention.arithmetic import Arithmetic, ArithmeticTask
from experiments.attention.translate import EncoderDecoderTask, Translate
from experiments.data import arithmetic, modular, pig_latin
from experiments.data.chunks import Chunks
from experiments.data.speeches import PAD, SPEAKERS, UNKNOWN, Sentences, Speeches
from experiments.data.wikitext import VOCABULARY
from experiments.grokking.task import Grokking, GrokkingTask, data_of
from experiments.speeches.task import Classify, ClassifyTask, Predict, PredictTask
from experiments.train.task import Task
from experiments.wikitext.embeddings import Embeddings
from experiments.wikitext.seed import DECAY
from experiments.wikitext.task import LanguageModel, LanguageModelTask, Text

Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]
SumModel = Literal["lstm", "gpt"]
SpeechModel = Literal["speech-classifier", "speech-language-model"]
TiedModel = Literal["tied-lstm", "tied-gpt"]
UsualModel = Literal[SumModel, SpeechModel, "translator", "bert"]
Model = Literal[UsualModel, "translator-512", "bert-long", TiedModel]


@dataclass(frozen=True)
class Problem:
    """A model, and the batch of B sequences that every side trains it on.

    trial:   its settings.
    make:    the task as the experiments have it, on a device.
    words:   how many there are in the vocabulary.
    rows:    (B,) the numbers of the batch's samples in the task.
    inputs:  (B, T) tokens; of a translator first those of the sources, then of the targets.
    targets: class ids, (B, T - start) of the positions that count, or (B,) of whole sequences.
    start:   the first position that counts; in every row all from there on do.
    source:  how many columns of the inputs are sources, which only a translator has.
    """

    model: Model
    trial: Any
    make: Callable[[str], Task]
    words: int
    rows: Ints
    inputs: Ints
    targets: Ints
    start: int = 0
    source: int = 0

    @property
    def batch(self) -> int:
        return len(self.rows)

    @property
    def length(self) -> int:
        return self.inputs.shape[1]

    def task(self, device: str = "cpu") -> Task:
        """The task, with weights from the trial's seed."""
        mg.random.seed(self.trial.seed)
        return self.make(device)


def problem_of(model: Model) -> Problem:
    """At the sizes of the experiments."""
    if model in get_args(TiedModel):
        return wikitext(model)
    if model in ("bert", "bert-long"):
        return verbal(model)
    if model == "translator":
        return words()
    if model == "translator-512":
        return words(model, batch=512)
    return sums(model) if model in get_args(SumModel) else speeches(model)


def tiny_problem(model: Model) -> Problem:
    """With which everything runs once that a step of `problem_of` runs."""
    if model in get_args(SumModel):
        return sums(model, batch=8, d=16)
    if model in get_args(TiedModel):
        return wikitext(model, batch=2, d=24, words=100)
    if model in ("bert", "bert-long"):
        return verbal(model, batch=2, d=24)
    if model in ("translator", "translator-512"):
        return words(model, batch=2, d=16)
    return speeches(model, batch=2, d=16, words=36)


# --- sums -----------------------------------------------------------------------------------------
def of_equations(trial: Grokking, data: modular.Equations) -> Problem:
    """All of the equations as one batch.

    ValueError unless in every row the same positions count, the last ones, and PAD does not occur.
    """
    start = int(data.eq_position[0]) + 1
    if (data.rhs != (np.arange(data.inputs.shape[1]) >= start)).any():
        raise ValueError("expected every sequence to count the same positions, the last ones")
    if (data.tokens == data.vocabulary.index("PAD")).any():
        raise ValueError("expected sequences without PAD")
    return Problem(
        trial.model,
        trial,
        lambda device: GrokkingTask(trial, device, (data, data.take(slice(0)))),
        len(data.vocabulary),
        np.arange(len(data)),
        data.inputs,
        data.targets[:, start:],
        start,
    )


def sums(model: SumModel, batch: int = 480, d: int = 128) -> Problem:
    """Training sums a + b mod p of the sanity experiment: all of them by default.

    p is 31, or for a larger batch the least p of which half of all sums fill it. The loss counts
    the answer and EOS.
    """
    p = next(p for p in range(31, 2 * batch + 32) if round(p * p / 2) >= batch)
    trial = Grokking(model=model, d=d, p=p, batch_size=batch)
    train, _ = data_of(trial)
    return of_equations(trial, train.take(slice(batch)))


def random_tokens(model: SumModel, batch: int = 480, d: int = 128, length: int = 6) -> Problem:
    """Random tokens of the vocabulary of p = 31; the loss counts all positions."""
    trial = Grokking(model=model, d=d, batch_size=batch)
    words = modular.vocabulary(trial.p, trial.operator)
    tokens = np.random.default_rng(0).integers(words.index("PAD"), size=(batch, length + 1))
    nothing_before = np.full(batch, -1)
    counted = np.ones((batch, length), dtype=bool)
    return of_equations(
        trial, modular.Equations(tokens, nothing_before, nothing_before, counted, words)
    )


# --- speeches -------------------------------------------------------------------------------------
def speeches(model: SpeechModel, batch: int = 16, d: int = 64, words: int = 5_755) -> Problem:
    """Sentences, padded, or windows of a text: 32 random tokens each."""
    if model == "speech-classifier":
        trial = Classify(d=d, batch_size=batch)
        data = random_speeches(batch, trial.block, words)
        rows, inputs, targets = np.arange(batch), data.train.ids, data.train.labels
        return Problem(
            model, trial, lambda on: ClassifyTask(trial, on, data), words, rows, inputs, targets
        )
    trial = Predict(d=d, batch_size=batch)
    data = random_speeches(batch, trial.block, words)
    rows = np.arange(batch) * (trial.block + 1)  # windows that do not overlap
    tokens = rows[:, None] + np.arange(trial.block)
    inputs, targets = data.text[tokens], data.text[tokens + 1]
    return Problem(
        model, trial, lambda on: PredictTask(trial, on, data), words, rows, inputs, targets
    )


def random_speeches(batch: int, block: int, words: int) -> Speeches:
    """As many sentences as a batch has, and a text of as many windows.

    The lengths have the mean of the speeches' sentences, 18, and their greatest, 30.
    """
    rng = np.random.default_rng(0)
    lengths = rng.integers(6, 31, batch)
    ids = rng.integers(UNKNOWN + 1, words, (batch, block))
    ids[np.arange(block) >= lengths[:, None]] = PAD
    sentences = Sentences(ids, lengths, rng.integers(len(SPEAKERS), size=batch), [])
    text = rng.integers(UNKNOWN + 1, words, batch * (block + 1))
    return Speeches(tuple(map(str, range(words))), sentences, sentences, text, {})


# --- verbal arithmetic ----------------------------------------------------------------------------
def verbal(model: Model = "bert", batch: int = 32, d: int = 384) -> Problem:
    """A step of fine-tuning of an encoder of MiniLM's six layers, with weights that are drawn.

    Without dropout, which every side would draw otherwise. 25 word pieces; five of seven tokens of
    an expression are no padding. "bert-long": 128 random tokens in the place of an expression.
    """
    sizes = {"layers": 6, "d": d, "heads": 12, "hidden": 4 * d}
    trial = Arithmetic(checkpoint="scratch", dropout=0.0, batch_size=batch, **sizes)
    texts = [*arithmetic.every_expression()]
    source = arithmetic.VerbalArithmetic(
        arithmetic.expressions(texts[::2]), arithmetic.expressions(texts[1::2])
    )

    def make(device: str) -> ArithmeticTask:
        task = ArithmeticTask(trial, device, source)
        if model == "bert-long":
            ids = np.random.default_rng(0).integers(1, len(task.pieces), (task.size, 128))
            task.ids["train"] = mg.tensor(ids, device=device)
        return task

    task = make("cpu")
    rows = np.random.default_rng(0).choice(task.size, batch, replace=False)
    inputs, targets = task.ids["train"].numpy()[rows], task.labels["train"].numpy()[rows]
    return Problem(model, trial, make, len(task.pieces), rows, inputs, targets)


# --- WikiText-2 -----------------------------------------------------------------------------------
def wikitext(model: TiedModel, batch: int = 16, d: int = 768, words: int = VOCABULARY) -> Problem:
    """A step of experiment 2 or 6 of seed 002: chunks of 256 random tokens, one layer, AdamW."""
    kind: Any = model.removeprefix("tied-")
    trial = LanguageModel(
        model=kind, d=d, hidden=2 * d // 3, vocabulary=words, batch_size=batch, weight_decay=DECAY
    )
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, words, (batch, trial.window + 1))
    data = Chunks(tokens[:, :-1], tokens[:, 1:])
    normal = lambda rows: (0.02 * rng.standard_normal((rows, d))).astype(np.float32)
    tables = Embeddings(normal(words), normal(trial.window))
    text = Text(data, data, data, None)
    make = lambda on: LanguageModelTask(trial, on, text, tables)
    return Problem(model, trial, make, words, np.arange(batch), *data)


# --- Pig Latin ------------------------------------------------------------------------------------
def words(
    model: Model = "translator", batch: int = 64, d: int = 64, lengths: tuple[int, int] = (8, 10)
) -> Problem:
    """A batch of an encoder-decoder: random letters in the place of words and of their Pig Latin.

    On average words of the small data have 7.6 letters, and their Pig Latin 10.
    """
    trial = Translate(d=d, batch_size=batch)
    letters = np.array([*pig_latin.ALPHABET])
    rng = np.random.default_rng(0)
    drawn = ["".join(row) for n in lengths for row in rng.choice(letters, (batch, n))]
    pairs = [*zip(drawn[:batch], drawn[batch:], strict=True)]
    task = EncoderDecoderTask(trial, "cpu", (pairs, pairs))
    sources, targets = task.train.sources.numpy(), task.train.targets.numpy()
    return Problem(
        model,
        trial,
        lambda on: EncoderDecoderTask(trial, on, (pairs, pairs)),
        pig_latin.VOCABULARY_SIZE,
        np.arange(batch),
        np.concatenate([sources, targets[:, :-1]], axis=1),
        targets[:, 1:],
        source=sources.shape[1],
    )
