"""What the command lines of the experiments with Pig Latin have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.attention.translate import Translate
from experiments.data import pig_latin
from experiments.data.place import data_folder
from experiments.sweep import with_data

SMALL = {"layers": 1, "epochs": 2, "steps": 2 * 90}  # at small scale


@dataclass(frozen=True)
class Options(with_data.Options):
    """Options of an experiment with Pig Latin."""

    seeds: tuple[int, ...] = tuple(range(5))
    """One trial of each setting a seed: of the split of the words and of the weights."""
    data: Path | None = None
    """Folder of the Pig Latin words of CSC413, assignment 3; MINIGRAD_DATA if not given."""

    def translate(self, **settings: Any) -> Translate:
        """A trial with these settings, but for those of the scale."""
        steps = {} if self.steps is None else {"steps": self.steps}
        return Translate(**{**settings, **self.pick({}, SMALL), **steps})

    def find(self) -> None:
        pig_latin.find(data_folder(pig_latin.SOURCE))
