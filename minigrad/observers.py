"""Observers: functions called after each op, forward and backward. `minigrad.debug` uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, NamedTuple


class Event(NamedTuple):
    """The argument of an observer: one op that has run, forward or backward."""

    phase: str  # "forward" or "backward"
    node: Any  # the Node; in a forward pass that is not recorded, the op
    seconds: float
    inputs: tuple[Any, ...]  # arguments, or the gradients of the outputs
    outputs: tuple[Any, ...]  # outputs, or the contributions to the parents (some may be None)


OBSERVERS: list[Callable[[Event], None]] = []


def seconds_since(start: float, arrays: Iterable[Any]) -> float:
    """Time since `start`, measured when the GPUs that hold the arrays have finished."""
    for array in arrays:
        synchronize = getattr(getattr(array, "device", None), "synchronize", None)
        if synchronize is not None:
            synchronize()
    return perf_counter() - start


def notify(phase: str, node: Any, start: float, inputs: Any, outputs: Any) -> None:
    """Call all observers for an op that began at `start`. inputs, outputs: one array or several."""
    inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    event = Event(phase, node, seconds_since(start, outputs), tuple(inputs), tuple(outputs))
    for observer in tuple(OBSERVERS):
        observer(event)
