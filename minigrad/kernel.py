"""Kernels: faster bodies for the same functions, chosen by what they are given.

    mg.use_kernels()               # from here on, in the whole process
    model(ids).sum().backward()    # the same ops, gradients and errors
    print(mg.debug.kernels())      # which ran, how often, and why the others did not
    mg.use_kernels(False)

A kernel has the arguments of the function that it stands in for and returns the same, for an op a
value and its pullback. It may decline by returning `Declined` with a reason; the plain body runs
then, and raises whatever is to be raised. So a kernel never checks more than what it itself needs.

The kernels themselves are in the package `kernels`, which nothing here imports until it is wanted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any


class Declined:
    """The answer of a kernel that does not serve these arguments."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Unusable(RuntimeError):
    """A kernel that cannot be compiled for this GPU, or loaded; the message says why."""


class Routine:
    """A function that kernels may stand in for: an op, or another hot loop.

    body: the plain function.    run: what is called now, the body or a choice among kernels.
    """

    def __init__(self, body: Callable[..., Any]) -> None:
        self.name = body.__name__.strip("_")
        self.body = body
        self.run = body
        self.kernels: list[Kernel] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def choose(self, *args: Any, **kwargs: Any) -> Any:
        """The answer of the first kernel that does not decline, else of the plain body.

        The plain body also serves where a kernel is `Unusable`, of which one line says so.
        """
        for kernel in self.kernels:
            try:
                answer = kernel.body(*args, **kwargs)
            except Unusable as error:
                say_once(f"{self.name} runs without its kernel: {error}")
                answer = Declined("unusable")
            if answer.__class__ is not Declined:
                kernel.used += 1
                return answer
            kernel.declined[answer.reason] += 1
        return self.body(*args, **kwargs)


class Kernel:
    """One kernel, and what it has done since it was loaded."""

    def __init__(self, routine: Routine, device: str, body: Callable[..., Any]) -> None:
        self.routine = routine
        self.device = device
        self.body = body
        self.used = 0
        self.declined: Counter[str] = Counter()


KERNELS: list[Kernel] = []  # all that are loaded
BESIDE: dict[str, list[str]] = {"cpu": [], "cuda": []}  # modules to be loaded: see `kernels_in`


def kernel(target: Any, *, device: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a kernel for an op (`mg.gelu`) or a Routine, on "cpu" or "cuda"."""
    routine: Routine = getattr(target, "op", target)

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        made = Kernel(routine, device, body)
        routine.kernels.append(made)
        KERNELS.append(made)
        routine.run = routine.choose if State.on else routine.body
        return body

    return register


def kernels_in(module: str, *, device: str) -> None:
    """A module of yours with kernels is imported once kernels are switched on, and not before.

    So an op outside of minigrad runs without Numba or Triton, which its kernels import; the module
    is left out where the kernels for that device, "cpu" or "cuda", cannot be loaded.
    """
    BESIDE[device].append(module)
    if State.on:
        import kernels

        kernels.switch(True)


def enabled() -> bool:
    """Whether kernels are switched on."""
    return State.on


@cache
def say_once(line: str) -> None:
    print(f"minigrad: {line}", file=sys.stderr)


class State:
    on = False


class use_kernels:
    """Switch all kernels on or off, for the whole process. They start switched off.

        mg.use_kernels()             from here on
        with mg.use_kernels():       inside, and as before afterwards

    Results then differ by rounding. The first time in a new environment it takes about a minute,
    in which Numba compiles. ImportError, with the reason, if no kernel can be used here. A process
    that used kernels must not be forked: OpenMP ends the child when it runs one. Spawn it.
    """

    def __init__(self, on: bool = True) -> None:
        self.before = State.on
        switch(on)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        switch(self.before)


def switch(on: bool) -> None:
    """See `use_kernels`."""
    if on == State.on:
        return
    import kernels

    kernels.switch(on)
    for each in KERNELS:
        each.routine.run = each.routine.choose if on else each.routine.body
    State.on = on
