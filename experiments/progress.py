"""What is shown while a trial runs: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

from experiments.records import Record
from experiments.training import Watcher

QUIET_SECONDS = 30.0  # between plain lines


class Progress(Watcher):
    """Shows a trial's steps, last metrics and time left on stderr.

    stopping: asked after every step whether the trial should save and stop.
    position: the line of the bar, where several trials run side by side.
    """

    def __init__(self, name: str, stopping: Callable[[], bool], position: int = 0) -> None:
        self.name = name
        self.stopping = stopping
        self.position = position
        self.text = ""

    def start(self, step: int, total: int) -> None:
        self.first, self.total = step, total
        self.started = self.spoken = monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=total, initial=step, desc=self.name, unit="step", position=self.position,
                dynamic_ncols=True, leave=True,
            )  # fmt: skip

    def record(self, record: Record) -> None:
        values = [
            f"{name} {show(record[f'train_{name}'])}/{show(record[f'val_{name}'])}"
            for name in ("loss", "accuracy")
        ]
        self.text = ", ".join(values) + " (train/val)"
        if self.bar is not None:
            self.bar.set_postfix_str(self.text, refresh=False)

    def step(self, step: int) -> None:
        if self.bar is not None:
            self.bar.update(1)
            return
        now = monotonic()
        if now - self.spoken >= QUIET_SECONDS or step == self.total:
            left = (now - self.started) / (step - self.first) * (self.total - step)
            print(
                f"{self.name}: step {step:,} of {self.total:,}, {self.text}, {left:.0f} s left",
                file=sys.stderr,
            )
            self.spoken = now

    def end(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def stop(self) -> bool:
        return self.stopping()


def show(x: float | None) -> str:
    return "nan" if x is None else f"{x:.3g}"
