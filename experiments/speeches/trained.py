"""A language model of seed 003 as its trial has left it, to make text with.

trial, model, words = load_model(Path("runs/speeches/language_model/hidden256-seed0"))
ids = [words.index(word) for word in ("My", "fellow")]
ids = models.generate.continued(model, ids, 30, length=trial.block, temperature=0.8)
print(" ".join(words[i] for i in ids))
"""

from __future__ import annotations

from pathlib import Path

from experiments.data.place import VARIABLE
from experiments.data.speeches import SOURCE
from experiments.speeches.task import VOCABULARY, Predict, data
from experiments.train import records
from experiments.train.records import CHECKPOINT
from minigrad.files import load_checkpoint
from models import SpeechLanguageModel


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
