"""Jobs in separate processes on this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from experiments.sweep.jobs import Job, Pool, exit_status
from experiments.sweep.progress import Progress
from experiments.train.records import THREADS, cores

if TYPE_CHECKING:
    from experiments.sweep.experiment import Options


class Processes(Pool):
    """Processes are spawned, not forked: a fork would share the parent's GPU."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.workers = self.options.workers
        self.context = multiprocessing.get_context("spawn")
        self.lock = self.context.RLock()  # of the lines on the terminal
        self.lines: dict[Any, int] = {}  # of each process; the overview has the first

    def start(self, i: int) -> None:
        line = min({*range(1, self.workers + 1)} - {self.lines[p] for p in self.running})
        args = self.jobs[i], self.options, self.device, line, self.lock, os.getpid()
        process = self.context.Process(target=work, args=args)
        with environment(threads_each(self.workers)), ignored(signal.SIGINT):
            process.start()
        self.running[process], self.lines[process] = i, line

    def ended(self) -> list[tuple[int, int]]:
        multiprocessing.connection.wait([p.sentinel for p in self.running], timeout=0.2)
        ended = [p for p in self.running if p.exitcode is not None]
        return [(self.running.pop(p), p.exitcode) for p in ended]

    def stop(self) -> None:
        for process in self.running:
            process.terminate()  # SIGTERM: it saves a checkpoint and ends
        for process in self.running:
            process.join()

    def close(self) -> None:
        for process in self.running:
            process.kill()


def work(job: Job, options: Options, device: str, line: int, lock: Any, parent: int) -> None:
    """One job in a separate process. A signal, or its parent's death, makes it save and exit.

    line: where its progress stands on the terminal.
    """
    from tqdm import tqdm

    tqdm.set_lock(lock)
    orphaned = lambda: os.getppid() != parent
    watcher = lambda signals: Progress(job, lambda: signals.stopping() or orphaned(), line)
    sys.exit(exit_status(job, options, device, watcher))


def threads_each(workers: int) -> dict[str, str]:
    return dict.fromkeys(THREADS, str(max(1, cores() // workers)))


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
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
        os.environ.update(before)
