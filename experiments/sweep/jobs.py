"""A job: one trial, or several as replicas; how it runs wherever it does, and how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.train import records
from experiments.train.loop import Watcher, run
from experiments.train.replicas import MAY_DIFFER, run_replicas
from experiments.train.trial import Trial
from minigrad.device import DeviceError

if TYPE_CHECKING:
    from experiments.sweep.experiment import Options

Job = Sequence[tuple[Trial, Path]]  # a trial and the folder it writes, or several as replicas
RESTARTS = 3  # of a job whose process or node has died
PROBLEMS = DeviceError, ValueError, OSError  # of a job, said in one line


def jobs_of(options: Options, folder: Path) -> list[Job]:
    """What is run at a time: a trial, or with replicas all that can be one stacked model."""
    groups: dict[Any, list[tuple[Trial, Path]]] = {}
    for name, trial in options.trials().items():
        same = tuple(getattr(trial, f.name) for f in fields(trial) if f.name not in MAY_DIFFER)
        alike = type(trial), trial.after() is None, *same
        together = options.replicas and trial.stacks()
        groups.setdefault(alike if together else name, []).append((trial, folder / name))
    return list(groups.values())


def prerequisites(jobs: Sequence[Job]) -> list[set[int]]:
    """Of each job the numbers of those that must end before it starts."""
    numbers = {folder: i for i, job in enumerate(jobs) for _, folder in job}
    return [
        {numbers[folder.parent / first] for trial, folder in job if (first := trial.after())}
        for job in jobs
    ]


def run_job(job: Job, device: str, watcher: Watcher) -> None:
    """Run one trial, or several together, and hold their folders meanwhile."""
    trials, folders = zip(*job, strict=True)
    with ExitStack() as held:
        for folder in folders:
            held.enter_context(records.held(folder))
        if len(job) == 1:
            run(trials[0], folders[0], device=device, watcher=watcher)
        else:
            run_replicas(trials, folders, device=device, watcher=watcher)


def name_of(job: Job) -> str:
    """What to call a job where it is shown: by its first trial, whose metrics are shown too."""
    others = len(job) - 1
    return job[0][1].name + (f" and {others} more" if others else "")


class TrialFailed(Exception):
    """A job in a process of its own has failed."""


class Signals:
    """Which of SIGINT (Ctrl-C) and SIGTERM has arrived: a flag to ask, not an exception."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __call__(self, signum: int, frame: Any) -> None:
        self.received = signum

    def stopping(self) -> bool:
        return self.received is not None


@contextmanager
def caught_signals() -> Iterator[Signals]:
    """Catch Ctrl-C and SIGTERM inside; the handlers from before come back at the end."""
    signals = Signals()
    before = {s: signal.signal(s, signals) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
