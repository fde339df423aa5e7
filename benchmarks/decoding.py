"""Words a second of greedy decoding, with and without a cache: `python -m benchmarks.decoding`.

The translators of seed 004 at the sizes of its runs, on random letters. They are not trained, so
that no word ends before the 20 characters that the seed allows: trained ones, which stop at the end
of a word, are faster. Words are translated all at once, or one by one. The ways take turns.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.sides import environment
from experiments.attention.translate import LIMIT, TASKS, Translate, TranslateTask
from experiments.data import pig_latin
from experiments.sweep import cli
from experiments.train import records

PROG = "python -m benchmarks.decoding"
TRIALS = (Translate(d=64, layers=3), Translate(model="decoder-only", d=128, layers=4))
LENGTH = 8  # letters of a word


@dataclass(frozen=True)
class Settings:
    """Options of the benchmark."""

    words: int = 200
    """How many words are translated in a turn."""
    turns: int = 5
    """Turns of each way that are counted, after one that is not."""
    kernels: bool = False
    """Compiled kernels, where they can be used."""
    out: Path | None = None
    """A JSON file for all numbers and the environment."""

    def __post_init__(self) -> None:
        for name in ("words", "turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}: expected at least 1, got {getattr(self, name)}")


def task_of(trial: Translate) -> TranslateTask:
    mg.random.seed(trial.seed)
    pairs = [("a" * LENGTH, "a" * LENGTH)]
    task = TASKS[trial.model](trial, "cpu", (pairs, pairs))
    task.model.classifier.bias.data[pig_latin.END] = -1e9  # no word ends early
    task.model.eval()
    return task


def measure(settings: Settings) -> list[dict[str, Any]]:
    """A row a model and way: words a second, median over turns."""
    rng = np.random.default_rng(0)
    letters = rng.choice([*pig_latin.ALPHABET], (settings.words, LENGTH))
    words = ["".join(row) for row in letters]
    ways = [*product([task_of(trial) for trial in TRIALS], (True, False), (True, False))]
    speeds: list[list[float]] = [[] for _ in ways]
    with mg.use_kernels(settings.kernels):
        for _ in range(1 + settings.turns):
            for (task, cached, together), speed in zip(ways, speeds, strict=True):
                start = perf_counter()
                for part in [words] if together else [[word] for word in words]:
                    for translation in task.translate(part, cached=cached):
                        assert len(translation) == LIMIT
                speed.append(len(words) / (perf_counter() - start))
    return [
        {
            "model": task.trial.model, "d": task.trial.d, "cached": cached, "together": together,
            "words_a_second": statistics.median(speed[1:]),
        }
        for (task, cached, together), speed in zip(ways, speeds, strict=True)
    ]  # fmt: skip


def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__ or "")
    with cli.one_line(PROG):
        rows = measure(settings)
        print(f"{'model':<18}{'d':>5}  {'words':<12}{'cache':<8}{'words/s':>9}")
        for row in rows:
            how = "at once" if row["together"] else "one by one"
            cache = "yes" if row["cached"] else "no"
            speed = f"{row['words_a_second']:,.0f}"
            print(f"{row['model']:<18}{row['d']:>5}  {how:<12}{cache:<8}{speed:>9}")
        if settings.out is not None:
            records.write_json(settings.out, {"environment": environment(), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
