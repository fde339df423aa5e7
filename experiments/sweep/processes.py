"""Jobs in processes of their own on this machine; see `launch.run_all`."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from experiments.sweep.jobs import (
    PROBLEMS,
    RESTARTS,
    Job,
    Signals,
    TrialFailed,
    caught_signals,
    name_of,
    prerequisites,
    run_job,
)
from experiments.sweep.progress import Overview, Progress
from experiments.train.loop import Interrupted
from experiments.train.records import THREADS

if TYPE_CHECKING:
    from experiments.sweep.experiment import Options

INTERRUPTED = 128 + signal.SIGINT  # the exit status of a process that was stopped


def run_in_processes(
    jobs: Sequence[Job], signals: Signals, options: Options, device: str, overview: Overview
) -> None:
    """See `run_all`. Processes are spawned, not forked: a fork would share the parent's GPU."""
    context, workers = multiprocessing.get_context("spawn"), options.workers
    lock = context.RLock()
    waiting = deque(range(len(jobs)))
    restarts, first = dict.fromkeys(waiting, 0), prerequisites(jobs)
    lines = deque(range(1, workers + 1))  # of the bars; the overview has the first
    running: dict[Any, tuple[int, int]] = {}  # the job and the line of each process
    failed = False
    try:
        while running or (waiting and not failed and not signals.stopping()):
            while lines and not (failed or signals.stopping()):
                i = next((i for i in waiting if first[i] <= overview.done()), None)
                if i is None:
                    break
                waiting.remove(i)
                line = lines.popleft()
                settings = options, device, line, lock, os.getpid()
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


def work(job: Job, options: Options, device: str, line: int, lock: Any, parent: int) -> None:
    """One job in a process of its own. A signal, or its parent's death, makes it save and exit.

    line: of its bar.
    """
    from tqdm import tqdm

    tqdm.set_lock(lock)
    with caught_signals() as signals, options.how():
        stopping = lambda: signals.stopping() or os.getppid() != parent
        try:
            run_job(job, device, Progress(job, stopping, line))
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
