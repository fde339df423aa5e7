"""What the command lines of the experiments on speeches have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.data import speeches
from experiments.data.place import data_folder
from experiments.speeches.task import EPOCHS, PER_EPOCH, Classify, Predict
from experiments.sweep import with_data

SMALL = {"d": 16, "layers": 1, "hidden": 32}  # sizes at small scale


@dataclass(frozen=True)
class Options(with_data.Options):
    """Options of an experiment on speeches."""

    seeds: tuple[int, ...] = tuple(range(10))
    """One trial of each setting a seed: of the weights and the order of the data."""
    data: Path | None = None
    """Folder of the speeches of CSE256, the assignment's files or tokenized ones; MINIGRAD_DATA if
    not given."""

    def classify(self, **settings: Any) -> Classify:
        """A classifier trial with the seed's settings, but for these and those of the scale."""
        steps = self.steps or self.pick(EPOCHS, 2) * PER_EPOCH
        return Classify(**{**self.pick({}, SMALL), **settings, "steps": steps})

    def predict(self, **settings: Any) -> Predict:
        """A trial of the language model, likewise."""
        small = {**SMALL, "every": 20}
        return Predict(
            **{**self.pick({}, small), **settings, "steps": self.steps or self.pick(500, 40)}
        )

    def find(self) -> None:
        speeches.find(data_folder(speeches.SOURCE))
