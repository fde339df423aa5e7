"""The settings of one trial, and what follows from them from step to step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

if TYPE_CHECKING:
    from experiments.train.records import Record
    from experiments.train.task import Task


@dataclass(frozen=True)
class Trial:
    """The settings that all trainings share. A kind of trial is a subclass that adds fields.

    Settings decide what comes out. Where and how it is computed (device, kernels, replicas) changes
    only rounding, and stands elsewhere. Values are what JSON holds, and tuples of such.

    shown: the names in its records that progress lines show; all of them if there are none.
    """

    shown: ClassVar[tuple[str, ...]] = ()

    seed: int = 0  # of the weights, the order of the data, and all else that is drawn
    batch_size: int = 16
    steps: int = 1_000  # rounded up to whole epochs
    optimizer: Literal["adamw", "adam", "sgd", "momentum"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    clip: float = math.inf  # greatest norm of the whole gradient

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: expected 0 <= seed < 2**32, got {self.seed}")
        for name in ("lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if not self.clip > 0:
            raise ValueError(f"clip: expected more than 0, got {self.clip}")

    def task(self, device: str) -> Task:
        """What is trained, made from only these settings. `minigrad.random` has their seed."""
        raise NotImplementedError(f"{type(self).__name__}.task")

    def rate(self, step: int, per_epoch: int) -> float:
        """The learning rate of the update after `step` updates, of which an epoch has per_epoch."""
        return self.lr

    def due(self, step: int, per_epoch: int) -> bool:
        """Whether to record after `step` updates; after the last a trial always does."""
        return step % per_epoch == 0

    def stop(self, records: Sequence[Record]) -> bool:
        """Whether to end early, after the last of these records."""
        return False

    def after(self) -> str | None:
        """The trial of the same sweep from whose end this one starts, a second stage, if any."""
        return None

    def stacks(self) -> bool:
        """Whether it can train as one of several replicas; see `Task.stacked`."""
        return False

    def apart_from(self, *names: str) -> tuple[Any, ...]:
        """Its kind and its settings without some: equal for trials that differ in those only."""
        return type(self), *(getattr(self, f.name) for f in fields(self) if f.name not in names)

    # --- as JSON holds them
    def settings(self) -> dict[str, Any]:
        """The settings as JSON gives them back: tuples are lists."""
        values = asdict(self).items()
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in values}
        return settings | {"clip": None if math.isinf(self.clip) else self.clip}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The trial with settings that `settings` gave.

        For old records: a setting that is missing has its default, one that is unknown is left out.
        """
        known = {f.name: settings[f.name] for f in fields(cls) if f.name in settings}
        known = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
        return cls(**known | ({"clip": math.inf} if known.get("clip", 0.0) is None else {}))


def waited(records: Sequence[Record], name: str, patience: int) -> bool:
    """Whether the last `patience` records have not brought a new least value: to stop early by."""
    values = [math.inf if r[name] is None else r[name] for r in records]
    return len(values) > patience and min(values[-patience:]) >= min(values[:-patience])
