"""Progress of running trials: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from experiments.sweep.jobs import Job, name_of
from experiments.train import records
from experiments.train.loop import Watcher
from experiments.train.records import Record

QUIET_SECONDS = 30.0  # between plain lines
State = Literal["left", "running", "done"]


class Line:
    """A line on stderr: in its place on a terminal, elsewhere printed every `QUIET_SECONDS`.

    total: of a bar behind the text; without it there is no bar.
    """

    def __init__(self, place: int, total: int | None = None) -> None:
        self.bar: Any = None
        self.pause, self.last = QUIET_SECONDS, monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm

            form = "{desc}" if total is None else "{desc} {percentage:3.0f} % |{bar}|"
            self.bar = tqdm(
                total=total or 0, position=place, bar_format=form, dynamic_ncols=True,
                leave=total is None,
            )  # fmt: skip
            self.pause = 1.0 if total is None else 0.1

    def show(self, text: Callable[[], str], step: int = 0, *, at_once: bool = False) -> None:
        now = monotonic()
        if not at_once and now - self.last < self.pause:
            return
        self.last = now
        if self.bar is None:
            print(text(), file=sys.stderr)
        else:
            self.bar.n = step
            self.bar.set_description_str(text())

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class Progress(Watcher):
    """Shows a job's steps, what its trials want shown, and the time left.

    place:    of its line, below that of the whole.
    overview: of the whole, if it is shown by the same process.
    """

    def __init__(
        self,
        job: Job,
        stopping: Callable[[], bool],
        place: int = 1,
        overview: Overview | None = None,
    ) -> None:
        super().__init__(stopping)
        self.name, self.shown = name_of(job), job[0][0].shown
        self.place, self.overview, self.numbers = place, overview, ""

    def start(self, step: int, total: int) -> None:
        self.first, self.total, self.began = step, total, monotonic()
        self.line = Line(self.place, total)

    def record(self, record: Record) -> None:
        names = self.shown or [name for name in record if name != "step"]
        texts = {name: "nan" if record[name] is None else f"{record[name]:.3g}" for name in names}
        self.numbers = ", ".join(map(" ".join, texts.items()))
        if self.overview is not None:
            self.overview.show()

    def step(self, step: int) -> None:
        def text() -> str:
            left = (monotonic() - self.began) / (step - self.first) * (self.total - step)
            at = f"step {step:,} of {self.total:,}"
            return f"{self.name}: {at}, {self.numbers}, {left:.0f} s left"

        self.line.show(text, step, at_once=step == self.total)

    def end(self) -> None:
        self.line.close()


class Overview:
    """How far all jobs are: "12 of 36 trials done, 2 running, 22 left; ends about 14:32".

    What has been done is read from the folders, so it does not matter where the jobs run.

    jobs:    the folders of the trials of each.
    seconds: how long each should take; all equally long if not given.
    """

    def __init__(self, jobs: Sequence[Sequence[Path]], seconds: Sequence[float] | None) -> None:
        self.jobs = jobs
        self.seconds = list(seconds or [1.0] * len(jobs))
        self.states: list[State] = ["left"] * len(jobs)
        self.before = [self.part(i) for i in range(len(jobs))]
        self.began = monotonic()
        self.line = Line(0)

    def mark(self, i: int, state: State) -> None:
        self.states[i] = state
        self.show(at_once=state == "done")

    def among(self, state: State) -> set[int]:
        """The numbers of the jobs in a state."""
        return {i for i, each in enumerate(self.states) if each == state}

    def show(self, *, at_once: bool = False) -> None:
        self.line.show(self.text, at_once=at_once)

    def text(self) -> str:
        counts = dict.fromkeys(("done", "running", "left"), 0)
        for job, state in zip(self.jobs, self.states, strict=True):
            counts[state] += len(job)
        text = f"{counts['done']} of {sum(counts.values())} trials done"
        text += f", {counts['running']} running, {counts['left']} left"
        left = self.seconds_left()
        if left is None or not counts["running"]:
            return text
        end = datetime.now() + timedelta(seconds=left)
        return f"{text}; ends about {end:%H:%M}" + (f" on {end:%d %b}" if left > 43_200 else "")

    def seconds_left(self) -> float | None:
        """The time that the jobs took so far, over the estimate for it; None at the start."""
        done = left = 0.0
        for i, seconds in enumerate(self.seconds):
            part = 1.0 if self.states[i] == "done" else self.part(i)
            done += seconds * max(0.0, part - self.before[i])
            left += seconds * (1.0 - part)
        return (monotonic() - self.began) / done * left if done > 0 else None

    def part(self, i: int) -> float:
        """How much of a job is done, from 0 to 1."""
        return min(map(part_done, self.jobs[i]))


def part_done(folder: Path) -> float:
    """How much of its steps a trial has done."""
    if not (folder / "settings.json").exists():
        return 0.0
    status = records.read_status(folder)
    if status["diverged"] or status.get("stopped"):
        return 1.0
    return min(1.0, records.last_step(folder) / records.read_settings(folder)["steps"])
