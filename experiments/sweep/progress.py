"""What is shown while trials run: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from experiments.sweep.jobs import Job, name_of
from experiments.train import records
from experiments.train.loop import Watcher
from experiments.train.records import Record

QUIET_SECONDS = 30.0  # between plain lines


class Progress(Watcher):
    """Shows a job's steps, what its trials want shown, and the time left, on stderr.

    stopping: asked after every step whether the trial should save and stop.
    position: the line of its bar, below that of the whole.
    overview: of the whole, if it is shown by the same process.
    """

    def __init__(
        self,
        job: Job,
        stopping: Callable[[], bool],
        position: int = 1,
        overview: Overview | None = None,
    ) -> None:
        self.name = name_of(job)
        self.shown = job[0][0].shown
        self.stopping = stopping
        self.position = position
        self.overview = overview
        self.text = ""

    def start(self, step: int, total: int) -> None:
        self.first, self.total = step, total
        self.started = self.spoken = monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=total, initial=step, desc=self.name, unit="step", position=self.position,
                dynamic_ncols=True, leave=False,
            )  # fmt: skip

    def record(self, record: Record) -> None:
        names = self.shown or [name for name in record if name != "step"]
        self.text = ", ".join(f"{name} {show(record[name])}" for name in names)
        if self.bar is not None:
            self.bar.set_postfix_str(self.text, refresh=False)
        if self.overview is not None:
            self.overview.show()

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


class Overview:
    """How far all jobs are: "12 of 36 done, 2 running, 22 left; ends about 14:32".

    What has been done is read from the folders, so it is all the same where the jobs run.

    jobs:    the folders of the trials of each.
    seconds: how long each should take; as long as each other if not given.
    """

    def __init__(self, jobs: Sequence[Sequence[Path]], seconds: Sequence[float] | None) -> None:
        self.jobs = jobs
        self.seconds = list(seconds or [1.0] * len(jobs))
        self.states = ["left"] * len(jobs)
        self.before = [self.part(i) for i in range(len(jobs))]
        self.began = self.spoken = monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=0, position=0, bar_format="{desc}", leave=True)

    def start(self, i: int) -> None:
        self.states[i] = "running"
        self.show()

    def stop(self, i: int) -> None:
        """It is to be started again."""
        self.states[i] = "left"

    def end(self, i: int) -> None:
        self.states[i] = "done"
        self.show(at_once=True)

    def done(self) -> set[int]:
        """The numbers of the jobs that have ended."""
        return {i for i, state in enumerate(self.states) if state == "done"}

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, at_once: bool = False) -> None:
        now = monotonic()
        if self.bar is not None:
            if at_once or now - self.spoken >= 1.0:
                self.bar.set_description_str(self.line())
                self.spoken = now
        elif at_once or now - self.spoken >= QUIET_SECONDS:
            print(self.line(), file=sys.stderr)
            self.spoken = now

    def line(self) -> str:
        trials = dict.fromkeys(("done", "running", "left"), 0)
        for job, state in zip(self.jobs, self.states, strict=True):
            trials[state] += len(job)
        text = f"{trials['done']} of {sum(trials.values())} trials done"
        text += f", {trials['running']} running, {trials['left']} left"
        left = self.seconds_left()
        if left is None or not trials["running"]:
            return text
        end = datetime.now() + timedelta(seconds=left)
        return f"{text}; ends about {end:%H:%M}" + (f" on {end:%d %b}" if left > 43_200 else "")

    def seconds_left(self) -> float | None:
        """By what the jobs so far took beside what they should have taken; None at the start."""
        done = left = 0.0
        for i, seconds in enumerate(self.seconds):
            part = 1.0 if self.states[i] == "done" else self.part(i)
            done += seconds * max(0.0, part - self.before[i])
            left += seconds * (1.0 - part)
        return (monotonic() - self.began) / done * left if done > 0 else None

    def part(self, i: int) -> float:
        """How much of a job is done, from 0 to 1."""
        return min(part_done(folder) for folder in self.jobs[i])


def part_done(folder: Path) -> float:
    """How much of its steps a trial has done."""
    if not (folder / "settings.json").exists():
        return 0.0
    status = records.read_status(folder)
    if status["diverged"] or status.get("stopped"):
        return 1.0
    return min(1.0, records.last_step(folder) / records.read_settings(folder)["steps"])


def show(x: float | None) -> str:
    return "nan" if x is None else f"{x:.3g}"
