"""A linear baseline of the classifier: every word of a sentence votes, wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

import minigrad as mg
from experiments.speeches.task import ClassifyTask
from experiments.train.task import Rows, Task
from experiments.train.trial import Trial
from minigrad import nn
from models import BagOfWords


@dataclass(frozen=True)
class Bag(Trial):
    """Logistic regression on counts of words, all sentences in every step.

    The loss has one minimum, to which the seed makes no difference.

    penalty: factor of half the sum of squared weights; scikit-learn's default, C = 1, divided by
    the 2,092 sentences.
    """

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "train_accuracy", "test_accuracy")

    steps: int = 1_000
    optimizer: Literal["adamw", "adam", "sgd", "momentum"] = "adam"
    lr: float = 0.03
    block: int = 32
    penalty: float = 1 / 2_092

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.penalty >= 0:
            raise ValueError(f"penalty: expected at least 0, got {self.penalty}")

    def rate(self, step: int, per_epoch: int) -> float:
        """Falls to 0, so that Adam comes to rest."""
        return self.lr * (1 - step / self.steps)

    def due(self, step: int, per_epoch: int) -> bool:
        return step % 100 == 0

    def task(self, device: str) -> Task:
        return BagTask(self, device)


class BagTask(ClassifyTask):
    """`train_loss` is without the penalty."""

    def untrained(self, vocabulary_size: int) -> nn.Module:
        return BagOfWords(vocabulary_size)

    def order(self, epoch: int) -> list[Rows]:
        return [np.arange(self.size)]

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor]]:
        loss, sums = super().loss(rows)
        penalty = 0.5 * self.trial.penalty * mg.square(self.model.votes.weight).sum()
        return loss + penalty, sums
