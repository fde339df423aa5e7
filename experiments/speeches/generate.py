"""Text from a language model of seed 003: a token is drawn, and read with those before it.

trial, model, words = load_model(Path("runs/language_model/hidden256-seed0"))
ids = [words.index(word) for word in ("My", "fellow")]
print(" ".join(words[i] for i in continued(model, ids, 30, temperature=0.8)))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from experiments.data.place import VARIABLE
from experiments.data.speeches import SOURCE
from experiments.speeches.task import VOCABULARY, Predict, data
from experiments.train import records
from experiments.train.records import CHECKPOINT
from minigrad.files import load_checkpoint
from models import SpeechLanguageModel

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


def load_model(folder: Path) -> tuple[Predict, SpeechLanguageModel, list[str]]:
    """The trial in a folder, its model as last saved, in eval mode, and the words by id.

    ValueError if the words are not known, or are not those of the checkpoint.
    """
    trial = Predict.of(records.read_settings(folder))
    words = words_of(folder, trial.block)
    model = SpeechLanguageModel(trial.config(len(words)))
    load_checkpoint(folder / CHECKPOINT, model=model)
    return trial, model.eval(), words


def words_of(folder: Path, block: int) -> list[str]:
    """What the trial has left, or before it has ended the words of the data."""
    if (folder / VOCABULARY).exists():
        return records.read_json(folder / VOCABULARY, list)
    try:
        return list(data(block).vocabulary)
    except ValueError:
        missing = f"{folder / VOCABULARY} is missing"
        raise ValueError(f"{missing}, and {VARIABLE} names no folder of {SOURCE}") from None


def next_logits(model: SpeechLanguageModel, ids: Sequence[int]) -> Floats:
    """(V,) of the token after ids, of which the last `block` are read, as in training.

    The model is on the host and in eval mode.
    """
    with mg.no_grad():
        logits = model(mg.tensor(np.array(ids[-model.config.block :])[None]))
    return logits.numpy()[0, -1]


def continued(
    model: SpeechLanguageModel,
    ids: Sequence[int],
    count: int,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[int]:
    """The ids, and `count` more. Each step reads anew: learned positions move with the window.

    temperature: tokens have the chances softmax(logits / temperature); 0 takes the most likely.
    seed:        of a Philox stream, so that a prompt and a seed give one text.

    ValueError for no ids, and for a temperature that is no number of at least 0.
    """
    if not ids:
        raise ValueError("ids: expected at least one token to continue")
    if not 0.0 <= temperature < math.inf:
        raise ValueError(f"temperature: expected a number of at least 0, got {temperature}")
    key = np.array([seed, 0], dtype=np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    text = list(ids)
    for _ in range(count):
        text.append(drawn(next_logits(model, text), temperature, random.random()))
    return text


def drawn(logits: Floats, temperature: float, u: float) -> int:
    """A place in logits (V,), by u in [0, 1); of several that are most likely the first."""
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # to -inf, at a temperature next to 0
        powers = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    sums = np.cumsum(powers)
    return int(np.searchsorted(sums, u * sums[-1], side="right"))
