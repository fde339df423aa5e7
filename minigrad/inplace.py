"""Arrays that were changed in place after an op had saved them.

A write is stamped with the same clock as the nodes of the graph, so "was this array changed after
the op that saved it?" is one comparison, and a step that writes its parameters before the next
forward pass pays nothing more. The stamp belongs to the array that owns the memory, so writes
through a view are seen too. Writes of other libraries to shared memory are not.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import weakref
from collections.abc import Iterator
from typing import Any

Array = Any
clock = itertools.count(1).__next__  # numbers nodes and in-place writes on one scale
_written: dict[int, tuple[Any, int]] = {}
_last_write = 0


def owner(array: Array) -> Array:
    """The array that owns the memory of a view."""
    while isinstance(getattr(array, "base", None), type(array)):
        array = array.base
    return array


def stamp_write(array: Array) -> None:
    """Note that the memory of `array` has just been changed in place."""
    global _last_write
    memory = owner(array)
    key = id(memory)
    _last_write = clock()
    _written[key] = (weakref.ref(memory, lambda _: _written.pop(key, None)), _last_write)


def check_unchanged(node: Any, since: int | None = None, until: float = math.inf) -> None:
    """RuntimeError if an array that the node's pullbacks hold was written after the op ran.

    since, until: look at writes between these two times instead.
    """
    after: int = node.number if since is None else since
    if _last_write < after:
        return
    for array in saved_arrays(node.pull):
        entry = _written.get(id(owner(array)))
        if entry is not None and after < entry[1] < until:
            raise RuntimeError(
                f"{node.name}: an array of shape {array.shape} that its gradient needs was changed "
                f"in place after the forward pass. Change a copy, or write after backward()."
            )


def saved_arrays(pull: Any) -> Iterator[Array]:
    """The arrays that a pullback keeps alive, found in its closure."""
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
