"""Groups of checks, each in a separate process, and the rows that they send.

Not in `__main__`, because a spawned process cannot import from there.
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

END = None  # sent by a group at its end


class Group(NamedTuple):
    """A function that yields rows: its module, name and arguments, and the seconds it may take."""

    module: str
    name: str
    seconds: float
    args: tuple[Any, ...] = ()


def work(group: Group, pipe: Any) -> None:
    """Send the rows of a group, a row for an exception, and END."""
    os.setpgid(0, 0)  # one group for all processes that it starts, to stop them together
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
    """A running group, with a name. It may take `seconds`, or those of the group if fewer."""

    def __init__(self, name: str, group: Group, seconds: float) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the parent's GPU
        self.name = name
        self.seconds = min(seconds, group.seconds)
        self.pipe, child_end = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(group, child_end), daemon=True)
        self.start = time.monotonic()
        self.process.start()
        child_end.close()
        self.ended = False

    @property
    def left(self) -> float:
        """Seconds left until it is stopped."""
        return max(0.0, self.start + self.seconds - time.monotonic())

    def receive(self) -> Iterator[Row]:
        """The rows that the group has sent since the last call."""
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
        """Kill its processes. Returns a row about the problem."""
        self.ended = True
        assert self.process.pid
        with suppress(ProcessLookupError):  # it has ended, or has no process group yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join(10)
        return Row("the group", problem, "to its end", False)


def rows_of(groups: Sequence[Running]) -> Iterator[tuple[str, Row]]:
    """(name, row) as rows arrive, until all groups have ended or were stopped."""
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
