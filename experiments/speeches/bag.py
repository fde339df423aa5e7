"""A linear baseline of the classifier: every word of a sentence votes, wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import minigrad as mg
from experiments.speeches.task import ClassifyTask
from experiments.train.convex import Convex
from experiments.train.task import Rows, Task
from minigrad import nn
from models import BagOfWords


@dataclass(frozen=True)
class Bag(Convex):
    """Logistic regression on counts of words, all sentences in every step.

    penalty: scikit-learn's default, C = 1, divided by the 2,092 sentences.
    """

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "train_accuracy", "test_accuracy")

    steps: int = 1_000
    block: int = 32
    penalty: float = 1 / 2_092

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
