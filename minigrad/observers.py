"""Functions that are told after each op, forward and backward. `minigrad.debug` is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, NamedTuple


class Event(NamedTuple):
    """What an observer is told after each op, forward and backward."""

    phase: str  # "forward" or "backward"
    node: Any  # the Node; in a forward pass that is not recorded, the op
    seconds: float
    inputs: tuple[Any, ...]  # arguments, or the gradients of the outputs
    outputs: tuple[Any, ...]  # outputs, or the contributions to the parents (some may be None)


OBSERVERS: list[Callable[[Event], None]] = []


def seconds_since(start: float, arrays: Iterable[Any]) -> float:
    """Time since `start`, after a GPU that was asked for one of the arrays has finished."""
    for array in arrays:
        synchronize = getattr(getattr(array, "device", None), "synchronize", None)
        if synchronize is not None:
            synchronize()
    return perf_counter() - start


def notify(phase: str, node: Any, start: float, inputs: Any, outputs: Any) -> None:
    """Tell all observers of an op that began at `start`: one array, or several, in and out."""
    inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    event = Event(phase, node, seconds_since(start, outputs), tuple(inputs), tuple(outputs))
    for observer in tuple(OBSERVERS):
        observer(event)
