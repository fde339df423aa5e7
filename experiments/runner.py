"""Run trials, one after the other here or side by side in processes, until done or interrupted."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.progress import Progress
from experiments.records import THREADS
from experiments.together import run_trials_together
from experiments.training import Interrupted, Trial, Watcher, run_trial
from minigrad import kernel, use_kernels
from minigrad.files import CheckpointError

Job = Sequence[tuple[Trial, Path]]  # a trial and the folder it writes, or several as replicas


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


def run_all(
    jobs: Sequence[Job], signals: Signals, *, device: str = "cpu", workers: int = 1
) -> None:
    """Run every job, as far as its trials are not finished.

    workers: how many run at a time; more than one are processes of their own, each with its share
             of the cores as threads. They use kernels if this process does.
    Raises Interrupted when a signal was received and every running job has saved a checkpoint,
    TrialFailed if a process failed, whose own words are on stderr.
    """
    if workers > 1:
        run_in_processes(jobs, signals, device, workers)
        return
    for job in jobs:
        run_job(job, device, Progress(name_of(job), signals.stopping))


def run_job(job: Job, device: str, watcher: Watcher) -> None:
    """Run one trial, or several together."""
    trials, folders = zip(*job, strict=True)
    if len(job) == 1:
        run_trial(trials[0], folders[0], device=device, watcher=watcher)
    else:
        run_trials_together(trials, folders, device=device, watcher=watcher)


def name_of(job: Job) -> str:
    """What to call a job where it is shown: by its first trial, whose metrics are shown too."""
    others = len(job) - 1
    return job[0][1].name + (f" and {others} more" if others else "")


def run_in_processes(jobs: Sequence[Job], signals: Signals, device: str, workers: int) -> None:
    """See `run_all`. Processes are spawned, not forked: a fork would share the parent's GPU."""
    context = multiprocessing.get_context("spawn")
    lock = context.RLock()
    waiting = deque(enumerate(jobs))
    running: list[Any] = []
    failed = False
    try:
        while running or (waiting and not failed and not signals.stopping()):
            while waiting and len(running) < workers and not (failed or signals.stopping()):
                place, job = waiting.popleft()
                settings = device, place, lock, kernel.enabled()
                process = context.Process(target=work, args=(job, *settings))
                with environment(threads_each(workers)), ignored(signal.SIGINT):
                    process.start()
                running.append(process)
            multiprocessing.connection.wait([p.sentinel for p in running], timeout=0.2)
            for process in [p for p in running if p.exitcode is not None]:
                running.remove(process)
                failed |= process.exitcode not in (0, INTERRUPTED)
            if failed or signals.stopping():
                for process in running:
                    process.terminate()  # SIGTERM: it saves a checkpoint and ends
                for process in running:
                    process.join()
    finally:
        for process in running:
            process.kill()
    if signals.stopping():
        raise Interrupted("stopped")
    if failed:
        raise TrialFailed("a trial failed; its message is above")


INTERRUPTED = 128 + signal.SIGINT  # the exit status of a process that was stopped


def work(job: Job, device: str, place: int, lock: Any, kernels: bool) -> None:
    """One job in a process of its own. A signal makes it save and exit."""
    from tqdm import tqdm

    tqdm.set_lock(lock)
    use_kernels(kernels)
    with caught_signals() as signals:
        try:
            run_job(job, device, Progress(name_of(job), signals.stopping, place))
        except Interrupted:
            sys.exit(INTERRUPTED)
        except (CheckpointError, OSError) as error:
            print(f"{name_of(job)}: error: {error}", file=sys.stderr)
            sys.exit(1)


def threads_each(workers: int) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return dict.fromkeys(THREADS, str(max(1, (cores or 1) // workers)))


@contextmanager
def ignored(signum: int) -> Iterator[None]:
    """Ignore a signal inside. A process started there ignores it too, until it says otherwise."""
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signum, before)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
