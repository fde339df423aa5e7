"""Many arrays for one kernel: their addresses and sizes in a table, and the blocks to work on."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

BLOCK = 2048  # elements: few enough for registers of a program, and for the L1 cache of a core
PLACES: dict[int, tuple[weakref.ref[Any], int]] = {}  # by id, as long as the array lives


def address_of(a: Any) -> int:
    """Of an array of NumPy or CuPy. NumPy takes a microsecond to tell, so it is asked once."""
    if not isinstance(a, np.ndarray):
        return a.data.ptr
    known = PLACES.get(key := id(a))
    if known is not None and known[0]() is a:
        return known[1]
    PLACES[key] = weakref.ref(a, lambda _: PLACES.pop(key, None)), a.ctypes.data
    return PLACES[key][1]


def table_of(rows: Sequence[Sequence[Any]], numbers: Sequence[int], replicas: int) -> Any:
    """(replicas, N, arrays + 2) int64: addresses, size and number * replicas + replica.

    rows:    N tuples of float32 arrays of one size, in C order. Each replica is a part of them.
    numbers: one for each tuple.
    """
    sizes = np.array([row[0].size // replicas for row in rows])
    first = np.array([[*map(address_of, row)] for row in rows])
    replica = np.arange(replicas)[:, None]
    offset = rows[0][0].dtype.itemsize * sizes * replica  # bytes before this replica
    columns = [first[:, i] + offset for i in range(first.shape[1])]
    which = np.array(numbers) * replicas + replica
    columns += [np.broadcast_to(sizes, which.shape), which]
    return np.stack(columns, axis=-1).astype(np.int64, copy=False)


def sizes_in(table: Any) -> tuple[int, ...]:
    """The sizes of the arrays of a table, in the order of its rows."""
    return (*table[..., -2].ravel().tolist(),)


@functools.lru_cache(64)
def blocks_of(sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """For each block of arrays of these sizes, the index of its array, and its own in the array."""
    counts = [-(-size // BLOCK) for size in sizes]
    owner = np.repeat(np.arange(len(sizes), dtype=np.int32), counts)
    place = np.concatenate([np.arange(n, dtype=np.int32) for n in counts])
    return owner, place


def rates_of(rows: Sequence[Any]) -> Any:
    """Rows of `Adam.rates` as kernels read them: 8 float32 for each row and replica.

    b1, b2, 1 - b1, 1 - b2, eps, rate, decay, keep; 1 - b2 = 0.001 would be off by 1e-5 if computed
    from b2 in float32.
    """
    table = [(b1, b2, 1.0 - b1, 1.0 - b2, *rest) for row in rows for b1, b2, *rest in row]
    return np.array(table, np.float32).reshape(-1, 8)
