"""Trials whose loss has one minimum, to which the seed makes no difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from experiments.train.trial import Trial


@dataclass(frozen=True)
class Convex(Trial):
    """Adam with a rate that falls to 0, so that it comes to rest in the minimum.

    penalty: factor of half the sum of squared weights, which the task adds to its loss.
    """

    optimizer: Literal["adamw", "adam", "sgd", "momentum"] = "adam"
    lr: float = 0.03
    penalty: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.penalty >= 0:
            raise ValueError(f"penalty: expected at least 0, got {self.penalty}")

    def rate(self, step: int, per_epoch: int) -> float:
        return self.lr * (1 - step / self.steps)
