"""Kernels: faster bodies for the same functions, chosen by their arguments.

    mg.use_kernels()               # from here on, in the whole process
    model(ids).sum().backward()    # the same ops, gradients and errors
    print(mg.debug.kernels())      # which ran, how often, and why the others did not
    mg.use_kernels(False)

A kernel takes the arguments of the function that it replaces and returns the same: for an op, a
value and its pullback. A kernel may decline by returning `Declined` with a reason. The plain body
then runs and raises the errors, so a kernel checks only what the kernel itself needs.

The kernels are in the package `kernels`, which is imported when they are first switched on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any


class Declined:
    """What a kernel returns if it does not take these arguments."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Unusable(RuntimeError):
    """A kernel that cannot be compiled for this GPU, or loaded; the message says why."""


class Routine:
    """A function that kernels may replace: an op, or another hot loop.

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
        """The result of the first kernel that does not decline, else of the plain body.

        A kernel that is `Unusable` counts as declined, and one line on stderr says why.
        """
        for kernel in self.kernels:
            try:
                result = kernel.body(*args, **kwargs)
            except Unusable as error:
                say_once(f"{self.name} runs without its kernel: {error}")
                result = Declined("unusable")
            if result.__class__ is not Declined:
                kernel.used += 1
                return result
            kernel.declined[result.reason] += 1
        return self.body(*args, **kwargs)


class Kernel:
    """One kernel, and how often it ran or declined since it was loaded."""

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
        new = Kernel(routine, device, body)
        routine.kernels.append(new)
        KERNELS.append(new)
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

    Results with kernels differ by rounding. The first call in a new environment takes about a
    minute, while Numba compiles. ImportError, with the reason, if no kernel can be used here. Spawn
    processes after kernels have run, do not fork: OpenMP ends a forked child that runs a kernel.
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
