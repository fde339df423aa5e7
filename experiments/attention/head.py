"""How far a frozen encoder goes: its classifier, trained until it converges."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from experiments.attention.arithmetic import PAD, PER_EPOCH, Arithmetic, ArithmeticTask, Way
from experiments.train.convex import Convex
from experiments.train.task import Rows, Task


@dataclass(frozen=True)
class Head(Convex, Arithmetic):
    """The classifier on what a frozen encoder gives without dropout, trained to convergence.

    All expressions in every step. penalty: of the classifier's weights.
    """

    batch_size: int = PER_EPOCH * 32
    steps: int = 2_000
    weight_decay: float = 0.0
    clip: float = math.inf
    way: Way = "head"
    penalty: float = 1e-4

    def due(self, step: int, per_epoch: int) -> bool:
        return step % 200 == 0

    def task(self, device: str) -> Task:
        return HeadTask(self, device)


class HeadTask(ArithmeticTask):
    """Features are computed once. `train_loss` is without the penalty."""

    def order(self, epoch: int) -> list[Rows]:
        return [np.arange(self.size)]

    @functools.cached_property
    def features(self) -> dict[str, mg.Tensor]:
        """By part (N, d): what the pooler gives, in evaluation mode."""
        self.model.bert.eval()
        with mg.no_grad():
            return {
                name: self.model.bert(ids, ids != PAD, first=True)[1]
                for name, ids in self.ids.items()
            }

    def logits(self, part: str, rows: Any) -> mg.Tensor:
        return self.model.classifier(self.features[part][rows])

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor]]:
        loss, sums = super().loss(rows)
        weights = self.model.classifier.weight
        return loss + 0.5 * self.trial.penalty * mg.square(weights).sum(), sums
