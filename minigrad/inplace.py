"""Arrays that were changed in place after an op had saved them.

A write is stamped with the same clock as the nodes of the graph, so "was this array changed after
the op that saved it?" is one comparison, and a step that writes its parameters before the next
forward pass pays nothing more. The stamp belongs to the array that owns the memory, so writes
through a view are seen too. Memory of another library (`mg.from_dlpack`) has no such array; arrays
that share it are recognized by their addresses. Writes by other libraries are not seen.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = Any
clock = itertools.count(1).__next__  # numbers nodes and in-place writes on one scale
_written: dict[int, tuple[Any, int]] = {}  # by the id of the owner: a weak reference and a time
_written_foreign: dict[tuple[int, int], int] = {}  # by the addresses of other libraries' memory
_last_write = 0


def owner(array: Array) -> Array:
    """The array that owns the memory of a view, or the first one on memory of another library."""
    while isinstance(getattr(array, "base", None), type(array)):
        array = array.base
    return array


def is_foreign(memory: Array) -> bool:
    """Whether another library allocated the memory of an owner."""
    if isinstance(memory, np.ndarray):
        return memory.base is not None
    return type(getattr(getattr(memory, "data", None), "mem", None)).__name__ == "UnownedMemory"


def addresses(memory: Array) -> tuple[int, int]:
    """The first address of an array, and the one after its last byte."""
    if not memory.size:
        return 0, 0
    on_host = isinstance(memory, np.ndarray)
    first: int = memory.__array_interface__["data"][0] if on_host else memory.data.ptr
    spans = [(n - 1) * stride for n, stride in zip(memory.shape, memory.strides, strict=True)]
    low = first + sum(span for span in spans if span < 0)
    return low, first + sum(span for span in spans if span > 0) + memory.itemsize


def stamp_write(array: Array) -> None:
    """Note that the memory of `array` has just been changed in place."""
    global _last_write
    memory = owner(array)
    key = id(memory)
    _last_write = clock()
    if is_foreign(memory):
        _written_foreign[addresses(memory)] = _last_write
    else:
        _written[key] = (weakref.ref(memory, lambda _: _written.pop(key, None)), _last_write)


def last_write(array: Array) -> int:
    """When the memory of an array was last written; 0 for never.

    An address is enough: memory that an op keeps is not reused for another array.
    """
    memory = owner(array)
    _, time = _written.get(id(memory), (None, 0))
    foreign = is_foreign(memory)
    if foreign or _written_foreign:
        low, high = addresses(memory)
        written = [*_written_foreign.items()]
        if foreign:
            owners = [(ref(), when) for ref, when in [*_written.values()]]
            written += [(addresses(m), when) for m, when in owners if type(m) is type(memory)]
        time = max(time, *(when for (start, end), when in written if start < high and low < end), 0)
    return time


def check_unchanged(
    node: Any, saved: Any = None, since: int | None = None, until: float = math.inf
) -> None:
    """RuntimeError if an array that the node's pullbacks keep was written after the op ran.

    saved:        look for the arrays in this object, not in the pullbacks.
    since, until: look for writes between these two times, not for all since the op ran.
    """
    after: int = node.number if since is None else since
    if _last_write < after:
        return
    for array in saved_arrays(node.pull if saved is None else saved):
        if after < last_write(array) < until:
            raise RuntimeError(
                f"{node.name}: an array of shape {array.shape} that its gradient needs was changed "
                f"in place after the forward pass. Change a copy, or write after backward()."
            )


def saved_arrays(pull: Any) -> Iterator[Array]:
    """The arrays that a pullback keeps alive: those in its closure."""
    todo, seen = [pull], set[int]()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (tuple, list)):
            todo.extend(item)
        elif inspect.isfunction(item):
            for cell in item.__closure__ or ():
                try:
                    todo.append(cell.cell_contents)
                except ValueError:  # a name of the body that was never assigned
                    continue
            todo.extend(item.__defaults__ or ())
        elif isinstance(item, functools.partial):
            todo.extend((item.func, *item.args, *item.keywords.values()))
        elif hasattr(item, "node"):  # a Tensor, as a checkpoint keeps them
            todo.append(item.data)
        elif hasattr(item, "dtype") and hasattr(item, "shape") and hasattr(item, "strides"):
            yield item
