"""A training step side by side with PyTorch: `python -m benchmarks.step`.

Both sides train the same model from the same weights on the same batch (480 sequences of 6 tokens,
float32): forward, loss on the right-hand side, backward, clip at norm 1, AdamW. Steps alternate
within one process, so that a drift of the machine meets both; the sides pause between steps, since
threads that spin after one would slow the other. Peak memory is measured in a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import tyro

PAUSE = 0.01  # seconds between steps


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options of the benchmark."""

    models: tuple[str, ...] = ("lstm", "gpt")
    pairs: int = 40
    """Alternating pairs of steps that are counted, after 5 that are not."""
    memory: bool = True
    """Also measure the peak memory of a step, in processes of their own."""
    keep_memory: bool = True
    """Let the process keep freed memory, as the experiments do. It helps both sides."""
    only: Literal["minigrad", "torch"] | None = None
    """Measure the memory of one side and print it as JSON (used by the benchmark itself)."""


def batch() -> tuple[np.ndarray, np.ndarray]:
    """The full training set of the sanity experiment, seed 0: inputs and targets, (480, 6)."""
    from experiments.modular import DataSettings, make_dataset

    raise NotImplementedError


def main(settings: Settings) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
