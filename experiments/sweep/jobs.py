"""A job: one trial, or several as replicas; how it runs wherever it does, and how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.train import records
from experiments.train.loop import Interrupted, Watcher, run
from experiments.train.replicas import MAY_DIFFER, run_replicas
from experiments.train.trial import Trial
from minigrad.device import DeviceError

if TYPE_CHECKING:
    from experiments.sweep.experiment import Options

Job = Sequence[tuple[Trial, Path]]  # a trial and the folder it writes, or several as replicas


def jobs_of(options: Options, folder: Path) -> list[Job]:
    """What is run at a time: a trial, or with replicas all that can be one stacked model."""
    jobs: dict[Any, list[tuple[Trial, Path]]] = {}
    for name, trial in options.trials().items():
        stack = options.replicas and trial.stacks()
        key = (trial.after() is None, trial.apart_from(*MAY_DIFFER)) if stack else name
        jobs.setdefault(key, []).append((trial, folder / name))
    return list(jobs.values())


def prerequisites(jobs: Sequence[Job]) -> list[set[int]]:
    """Of each job the numbers of those that must end before it starts."""
    numbers = {folder: i for i, job in enumerate(jobs) for _, folder in job}
    return [
        {numbers[folder.parent / first] for trial, folder in job if (first := trial.after())}
        for job in jobs
    ]


def name_of(job: Job) -> str:
    """The name of a job in progress lines: that of its first trial, whose metrics they show too."""
    others = len(job) - 1
    return job[0][1].name + (f" and {others} more" if others else "")


def run_job(job: Job, device: str, watcher: Watcher) -> None:
    """Run one trial, or several as replicas, with their folders locked meanwhile."""
    trials, folders = zip(*job, strict=True)
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(records.locked(folder))
        if len(job) == 1:
            run(trials[0], folders[0], device=device, watcher=watcher)
        else:
            run_replicas(trials, folders, device=device, watcher=watcher)


# --- a process that runs one job ------------------------------------------------------------------
def exit_status(
    job: Job, options: Options, device: str, watcher: Callable[[Signals], Watcher]
) -> int | str | None:
    """Run a job in a process that has no other; the exit status, as `sys.exit` takes it.

    None; a line about what went wrong; or 130 if a signal stopped it, with a checkpoint saved.
    """
    with caught_signals() as signals, options.how():
        try:
            run_job(job, device, watcher(signals))
        except Interrupted:
            return 128 + signal.SIGINT
        except (DeviceError, ValueError, OSError) as error:
            return f"{name_of(job)}: error: {error}"
    return None


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


# --- where jobs run -------------------------------------------------------------------------------
class Pool:
    """Runs jobs, `workers` at a time, each known by its number. This one runs them in this process.

    watcher: of a job, what shows its progress and stops it; for a pool in this process.
    """

    workers = 1

    def __init__(
        self, jobs: Sequence[Job], options: Options, device: str, watcher: Callable[[Job], Watcher]
    ) -> None:
        self.jobs, self.options, self.device, self.watcher = jobs, options, device, watcher
        self.running: dict[Any, int] = {}  # the number of the job behind each handle

    def start(self, i: int) -> None:
        self.running[i] = i

    def ended(self) -> list[tuple[int, int]]:
        """Wait a moment; the jobs that have ended since, each with its exit status.

        0; 1 if it failed and wrote why to stderr; anything else if its process died.
        """
        i = self.running.pop(next(iter(self.running)))
        run_job(self.jobs[i], self.device, self.watcher(self.jobs[i]))
        return [(i, 0)]

    def stop(self) -> None:
        """Make the running jobs save a checkpoint and end."""

    def close(self) -> None:
        """Leave nothing running."""
