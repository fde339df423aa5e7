"""Groups of checks, each in a process of its own, and the rows that they send.

Not in `__main__`: a process that is started anew does not find what is defined there.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any, NamedTuple

from benchmarks.gpu.rows import Row

END = None  # what a group sends when it has ended


class Group(NamedTuple):
    """A function that yields rows: its module and name, its arguments, and how long it may take."""

    module: str
    name: str
    seconds: float
    args: tuple[Any, ...] = ()


def work(group: Group, pipe: Any) -> None:
    """Send the rows of a group, an exception as the last one, and the end."""
    os.setpgid(0, 0)  # with the processes that it starts, so that all can be stopped together
    try:
        rows: Callable[..., Iterator[Row]] = getattr(
            importlib.import_module(group.module), group.name
        )
        for row in rows(*group.args):
            pipe.send(row)
    except Exception as error:
        traceback.print_exc()
        line = " ".join(f"{type(error).__name__}: {error}".split())
        pipe.send(Row("the group", f"{line:.200}", "no error", False))
    pipe.send(END)


class Running:
    """A group under way, under a name, that has so many seconds or those of the group."""

    def __init__(self, name: str, group: Group, seconds: float) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the parent's GPU
        self.name = name
        self.seconds = min(seconds, group.seconds)
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(group, theirs), daemon=True)
        self.start = time.monotonic()
        self.process.start()
        theirs.close()
        self.ended = False

    @property
    def left(self) -> float:
        """Seconds until it must have ended."""
        return max(0.0, self.start + self.seconds - time.monotonic())

    def receive(self) -> Iterator[Row]:
        """What the group has sent, if anything."""
        while not self.ended and self.pipe.poll():
            try:
                row = self.pipe.recv()
            except EOFError:
                self.process.join()
                yield self.stop(f"died with exit status {self.process.exitcode}")
                return
            if row is END:
                self.process.join(10)
                self.stop()
            else:
                yield row

    def stop(self, problem: str = "") -> Row:
        """End what is left of it. A row that says why."""
        self.ended = True
        assert self.process.pid
        with suppress(ProcessLookupError):  # it may have ended, or not have its group yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join(10)
        return Row("the group", problem, "to its end", False)


def rows_of(groups: Sequence[Running]) -> Iterator[tuple[str, Row]]:
    """Their rows as they come, until all have ended or had to be stopped."""
    try:
        while running := [group for group in groups if not group.ended]:
            wait([group.pipe for group in running], min(group.left for group in running))
            for group in running:
                yield from ((group.name, row) for row in group.receive())
                if not group.ended and not group.left:
                    yield group.name, group.stop(f"did not end within {group.seconds:.0f} s")
                if group.ended:
                    spent = time.monotonic() - group.start
                    print(f"{group.name}: {spent:.0f} s", file=sys.stderr)
    finally:
        for group in groups:
            if not group.ended:
                group.stop()
