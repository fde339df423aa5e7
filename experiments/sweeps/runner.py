"""Run trials, one after the other here or side by side elsewhere, until done or interrupted."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from experiments.sweeps.progress import Overview, Progress
from experiments.trial import records
from experiments.trial.records import THREADS
from experiments.trial.together import run_trials_together
from experiments.trial.training import Interrupted, Trial, Watcher, run_trial
from minigrad import kernel, use_kernels
from minigrad.device import DeviceError
from minigrad.files import CheckpointError

Job = Sequence[tuple[Trial, Path]]  # a trial and the folder it writes, or several as replicas
Launcher = Literal["here", "processes", "ray"]


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
    jobs: Sequence[Job],
    signals: Signals,
    *,
    device: str = "cpu",
    launcher: Launcher = "here",
    workers: int = 2,
    address: str | None = None,
    gpus: float = 0.0,
    seconds: Sequence[float] | None = None,
) -> None:
    """Run every job, as far as its trials are not finished.

    launcher: "here", one after the other in this process; "processes", each in one of its own with
              its share of the cores as threads; "ray", each as a task (`on_ray`, which reads
              address and gpus). All use kernels if this process does.
    workers:  how many run at a time, elsewhere than here.
    seconds:  how long each job should take, by which the end is foretold.

    Whatever kills a process or a node, the job starts again from its checkpoint, `RESTARTS` times.
    Raises Interrupted when a signal was received and every running job has saved a checkpoint,
    TrialFailed if a job failed, whose own words are on stderr.
    """
    overview = Overview([[folder for _, folder in job] for job in jobs], seconds)
    try:
        if launcher == "processes":
            run_in_processes(jobs, signals, device, workers, overview)
        elif launcher == "ray":
            from experiments.sweeps.on_ray import run_on_ray

            run_on_ray(jobs, signals, device, workers, overview, address=address, gpus=gpus)
        else:
            for i, job in enumerate(jobs):
                overview.start(i)
                run_job(job, device, Progress(name_of(job), signals.stopping, overview=overview))
                overview.end(i)
    finally:
        overview.close()


def run_job(job: Job, device: str, watcher: Watcher) -> None:
    """Run one trial, or several together, and hold their folders meanwhile."""
    trials, folders = zip(*job, strict=True)
    with ExitStack() as held:
        for folder in folders:
            held.enter_context(records.held(folder))
        if len(job) == 1:
            run_trial(trials[0], folders[0], device=device, watcher=watcher)
        else:
            run_trials_together(trials, folders, device=device, watcher=watcher)


def name_of(job: Job) -> str:
    """What to call a job where it is shown: by its first trial, whose metrics are shown too."""
    others = len(job) - 1
    return job[0][1].name + (f" and {others} more" if others else "")


# --- processes ------------------------------------------------------------------------------------
RESTARTS = 3  # of a job whose process or node has died
INTERRUPTED = 128 + signal.SIGINT  # the exit status of a process that was stopped


def run_in_processes(
    jobs: Sequence[Job], signals: Signals, device: str, workers: int, overview: Overview
) -> None:
    """See `run_all`. Processes are spawned, not forked: a fork would share the parent's GPU."""
    context = multiprocessing.get_context("spawn")
    lock = context.RLock()
    waiting = deque(range(len(jobs)))
    restarts = dict.fromkeys(waiting, 0)
    lines = deque(range(1, workers + 1))  # of the bars; the overview has the first
    running: dict[Any, tuple[int, int]] = {}  # the job and the line of each process
    failed = False
    try:
        while running or (waiting and not failed and not signals.stopping()):
            while waiting and lines and not (failed or signals.stopping()):
                i, line = waiting.popleft(), lines.popleft()
                settings = device, line, lock, kernel.enabled(), os.getpid()
                process = context.Process(target=work, args=(jobs[i], *settings))
                with environment(threads_each(workers)), ignored(signal.SIGINT):
                    process.start()
                running[process] = i, line
                overview.start(i)
            multiprocessing.connection.wait([p.sentinel for p in running], timeout=0.2)
            overview.show()
            for process in [p for p in running if p.exitcode is not None]:
                i, line = running.pop(process)
                lines.appendleft(line)
                if process.exitcode == 0:
                    overview.end(i)
                elif signals.stopping() or failed:
                    failed |= process.exitcode == 1
                elif process.exitcode == 1 or restarts[i] == RESTARTS:
                    failed = True
                else:  # killed, by the system if memory ran out
                    restarts[i] += 1
                    say_restart(name_of(jobs[i]), restarts[i])
                    overview.stop(i)
                    waiting.appendleft(i)
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


def say_restart(name: str, times: int) -> None:
    print(
        f"{name}: its process was killed; starts again from its checkpoint ({times} of {RESTARTS})",
        file=sys.stderr,
    )


def work(job: Job, device: str, line: int, lock: Any, kernels: bool, parent: int) -> None:
    """One job in a process of its own. A signal, or its parent's death, makes it save and exit.

    line: of its bar.
    """
    from tqdm import tqdm

    tqdm.set_lock(lock)
    use_kernels(kernels)
    with caught_signals() as signals:
        stopping = lambda: signals.stopping() or os.getppid() != parent
        try:
            run_job(job, device, Progress(name_of(job), stopping, line))
        except Interrupted:
            sys.exit(INTERRUPTED)
        except (CheckpointError, DeviceError, ValueError, OSError) as error:
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
