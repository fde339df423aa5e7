"""A linear baseline of the classifier: every word of a sentence votes, wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

import minigrad as mg
from experiments.speeches.task import data, on_device, scores
from experiments.train.task import Rows, Task
from experiments.train.trial import Trial
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


class BagTask(Task):
    """The loss is the mean over all sentences; `train_loss` is without the penalty."""

    sums = ("train_loss", "train_accuracy", "count")

    def __init__(self, trial: Bag, device: str) -> None:
        super().__init__(trial, device)
        source = data(trial.block)
        self.train, self.test = (on_device(s, device) for s in (source.train, source.test))
        self.size = len(source.train)
        self.model = BagOfWords(len(source.vocabulary)).to(device)

    def order(self, epoch: int) -> list[Rows]:
        return [np.arange(self.size)]

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor]]:
        ids, _, labels = (a[rows] for a in self.train)
        logits = self.model(ids)
        losses = mg.cross_entropy(logits, labels, reduction="none")
        right = mg.argmax(logits.detach(), axis=-1) == labels
        penalty = 0.5 * self.trial.penalty * mg.square(self.model.votes.weight).sum()
        return losses.mean() + penalty, (losses.detach().sum(), right.sum(), right.size)

    def measure(self) -> dict[str, Any]:
        return scores(lambda ids, lengths: self.model(ids), self.train, self.test)
