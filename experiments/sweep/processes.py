"""Jobs in processes of their own on this machine; see `here.run_all`."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from experiments.sweep.jobs import (
    PROBLEMS,
    RESTARTS,
    Job,
    Signals,
    TrialFailed,
    caught_signals,
    name_of,
    run_job,
)
from experiments.sweep.progress import Overview, Progress
from experiments.train.records import THREADS
from experiments.train.training import Interrupted
from minigrad import kernel, use_kernels

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
        except PROBLEMS as error:
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
