"""Options that the seven experiments have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from experiments.grokking import prefix
from experiments.grokking.task import Grokking
from experiments.sweep import experiment

SMALL: dict[str, Any] = {"d": 32, "eval_first": 20, "eval_period": 20}  # the seeds': 128, 100, 100
SMALL_STEPS = 201
ModelName = Literal["lstm", "gpt"]


@dataclass(frozen=True)
class Options(experiment.Options):
    """Options of an experiment on modular arithmetic."""

    model: Literal["both", "lstm", "gpt"] = "both"
    """The models to train."""
    share_prefixes: bool = True
    """Compute common prefixes of sequences once, on a CPU without replicas; this changes only
    rounding."""

    @property
    def models(self) -> tuple[ModelName, ...]:
        return ("lstm", "gpt") if self.model == "both" else (self.model,)

    def trial(self, *, steps: int = Grokking.steps, **settings: Any) -> Grokking:
        """A trial with the seeds' settings, except these and those of the scale."""
        steps = self.steps or self.pick(steps, SMALL_STEPS)
        return Grokking(**{**self.pick({}, SMALL), **settings, "steps": steps})

    @contextmanager
    def how(self) -> Iterator[None]:
        with super().how(), prefix.sharing(self.share_prefixes):
            yield
