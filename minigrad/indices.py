"""Indices and class ids: conversion, checks of their range, and sums at indexed places.

On the CPU a check raises at once. On a GPU the host would have to wait for the result. There a
check is one launch, which writes an id that is out of range to a slot of its own; the host reads
all slots when a number is read from the GPU, because it waits then anyway.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from minigrad import device as devices
from minigrad.device import namespace
from minigrad.kernel import Routine
from minigrad.lines import line_of, user_place
from minigrad.wide import narrow, widen

Array = Any


# --- x[index] ---------------------------------------------------------------------------------
Index = tuple[Any, ...]


def prepared(x: Array, index: Any) -> Index:
    """The index as a tuple that NumPy and CuPy understand, checked where CuPy would not."""
    items: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
    index = tuple(indexer(x, item) for item in items)
    if isinstance(x, np.ndarray):
        return index
    check_range(x.shape, index)
    return tuple(beside(x, item) for item in index)


def indexer(x: Array, item: Any) -> Any:
    """One item of an index: lists become arrays, a single number an int.

    TypeError for an array on the CPU if x is on a GPU: CuPy would copy the array at every use.
    """
    if isinstance(item, (list, range)):
        values = np.asarray(item)
        return values if values.size else values.astype(np.intp)
    if isinstance(item, (np.ndarray, np.generic)) and item.ndim == 0 and item.dtype.kind in "iu":
        return int(item)
    if isinstance(item, np.ndarray) and not isinstance(x, np.ndarray):
        raise TypeError(f"expected an index on {devices.of(x)}, got one on the CPU; use .to()")
    return item


def beside(x: Array, item: Any) -> Any:
    """An item of an index on the device of x, if it is an array."""
    return devices.move(item, devices.of(x)) if isinstance(item, np.ndarray) else item


def check_range(shape: tuple[int, ...], index: Index) -> None:
    """IndexError for an integer array with an index out of range."""
    axis = 0
    for place, item in enumerate(index, start=1):
        if item is ...:
            axis = len(shape) - sum(width(later) for later in index[place:])
        elif hasattr(item, "dtype") and item.dtype.kind in "iu" and axis < len(shape):
            check_index(item, shape[axis])
        axis += width(item)


def width(item: Any) -> int:
    """How many axes of x an item of an index covers."""
    if item is None or item is ...:
        return 0
    return item.ndim if hasattr(item, "dtype") and item.dtype.kind == "b" else 1


# --- checks -------------------------------------------------------------------------------------
class check_indices:
    """Switch the checks of indices and class ids on arrays of a GPU on or off; they start on.

        mg.check_indices(False)            from here on
        with mg.check_indices(False):      inside, and as before afterwards

    The IndexError comes when a number is next read from the GPU (`item`, `tolist`, `.cpu()`), and
    names the line of the call; results in between are wrong. Without checks, and always in a
    recording (`mg.capture`), an id out of range reads another element or gives NaN. On the CPU
    every call is checked at once.
    """

    on = True

    def __init__(self, on: bool = True) -> None:
        self.before = check_indices.on
        check_indices.on = on

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        check_indices.on = self.before


def check_ids(
    ids: Array, count: int, what: str, lowest: int = 0, ignored: int | None = None
) -> None:
    """IndexError unless lowest <= ids < count, or ids == ignored; on a GPU when a number is read.

    NumPy would wrap -1, and CuPy any id. what: the name for the message, such as "id".
    """
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, got {ids.dtype}")
    if not ids.size:
        return
    if not isinstance(ids, np.ndarray):
        check_later(ids, lowest, count - 1, what, ignored)
        return
    if ids.min() >= lowest and ids.max() < count:
        return
    bad = ids[((ids < lowest) | (ids >= count)) & (ids != ignored)]
    if bad.size:
        raise IndexError(f"{what} {bad[0]} not in [{lowest}, {count - 1}]")


def check_index(index: Array, n: int) -> None:
    """IndexError unless -n <= index < n; on a GPU when a number is read. CuPy would wrap."""
    if not index.size:
        return
    if not isinstance(index, np.ndarray):
        check_later(index, -n, n - 1, "index", None)
        return
    low, high = int(index.min()), int(index.max())
    if low < -n or high >= n:
        raise IndexError(f"index {low if low < -n else high} is out of range for an axis of {n}")


def check_later(ids: Array, low: int, high: int, what: str, ignored: int | None) -> None:
    """Note a check on the current GPU, for `Checks.read`."""
    if not check_indices.on or devices.capturing():
        return
    gpu = ids.device.id
    if gpu not in devices.CHECKS:
        devices.CHECKS[gpu] = Checks()
    devices.CHECKS[gpu].add(ids, Check(what, low, high, user_place()), ignored)


class Check(NamedTuple):
    what: str
    low: int
    high: int
    place: tuple[str, int]  # the user's file and line

    def problem(self, bad: int) -> str:
        return f"{self.what} {bad} not in [{self.low}, {self.high}], at {line_of(self.place)}"


NONE = np.iinfo(np.int64).min  # in the slot of a check without an id out of range


class Checks:
    """The checks on one GPU since a number was last read from it, with a slot for each result."""

    size = 1024

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.slots = devices.cupy().full(self.size, NONE, np.int64)

    def add(self, ids: Array, check: Check, ignored: int | None) -> None:
        if len(self.checks) == self.size:
            self.read()
        slot = self.slots[len(self.checks) :]
        ignored = check.low if ignored is None else ignored  # an id that is in range anyway
        first_outside()(ids, check.low, check.high, ignored, slot, size=ids.size)
        self.checks.append(check)

    def read(self) -> None:
        """IndexError if an id was out of range. The host waits."""
        checks, self.checks = self.checks, []
        if not checks:
            return
        ids = self.slots[: len(checks)].get()
        bad = np.flatnonzero(ids != NONE)
        if bad.size:
            self.slots.fill(NONE)
            raise IndexError(checks[bad[0]].problem(int(ids[bad[0]])))


@functools.cache
def first_outside() -> Any:
    """A CuPy kernel that writes an id out of range to slot[0]; of several ids, any one."""
    return devices.cupy().ElementwiseKernel(
        "raw T ids, int64 low, int64 high, int64 ignored",
        "raw int64 slot",
        """
        long long id = ids[i];
        if ((id < low || id > high) && id != ignored)
            slot[0] = id;
        """,
        "minigrad_first_outside",
    )


# --- sums at places -------------------------------------------------------------------------------
def add_at(out: Array, index: Any, values: Array) -> None:
    """out[index] += values, adding up where the index names a place several times.

    index: an integer array, or a tuple as in out[index]. The order of the sum is fixed, so two
    runs agree bitwise; atomic additions (np.add.at on a GPU) would not. float16 is summed in
    float32.

    If the trailing axes that the index does not mention are flattened, any index picks whole rows.
    Indexing an arange gives the numbers of these rows.
    """
    if out.dtype == np.float16:
        total = widen(out)
        add_at(total, index, widen(values))
        out[...] = narrow(total)
        return
    index = index if isinstance(index, tuple) else (index,)
    named = [i for i in index if i is not None and i is not ...]
    if any(i is ... for i in index):  # the axes after it are named, so all are
        depth = out.ndim
    else:
        depth = sum(i.ndim if getattr(i, "dtype", None) == np.bool_ else 1 for i in named)
    xp, lead = namespace(out), out.shape[:depth]
    count = math.prod(lead)
    if depth == 1 and len(index) == 1 and index[0].dtype.kind in "iu":
        rows = index[0].reshape(-1)
    else:
        rows = xp.arange(count).reshape(lead)[index].reshape(-1)
    width = out.size // count if count else 0
    if not rows.size or not width:
        return
    values = values.reshape(rows.size, width)
    if xp is np:
        rows = rows % count if rows.min() < 0 else rows  # -1 and the last row are one place
        add_rows(out.reshape(count, width), rows, values)
    else:
        add_rows_on_gpu(out, count, rows, values)


@Routine
def add_rows(out: Array, rows: Array, values: Array) -> None:
    """out[rows[i]] += values[i], on the CPU, always added in the same order."""
    if out.shape[1] == 1:
        np.add.at(out[:, 0], rows, values[:, 0])  # one-dimensional: its fast path
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    for size in np.unique(sizes):  # all runs of one length at once: reduceat is far slower
        first = starts[sizes == size]
        run = order[first[:, None] + np.arange(size)]
        out[ordered[first]] += values[run].sum(axis=1)


SCANNED, ROWS_SCANNED = 1 << 27, 1 << 13  # at most so many comparisons in all, and by a thread


def add_rows_on_gpu(out: Array, count: int, rows: Array, values: Array) -> None:
    """out.reshape(count, width)[rows[i]] += values[i], in the order of i.

    One launch if the table is small, as a table of tokens is: each thread searches all rows for its
    own. Else the rows are sorted first, so that the rows of a thread are side by side.
    """
    xp, width = namespace(out), values.shape[1]
    values = values if values.flags.c_contiguous else values.copy(order="C")
    if rows.size <= ROWS_SCANNED and rows.size * out.size <= SCANNED:
        scanned_sum()(values, rows, rows.size, count, width, out, size=out.size)
        return
    rows = xp.where(rows < 0, rows + count, rows)
    order = xp.argsort(rows)
    starts = xp.searchsorted(rows[order], xp.arange(count + 1))
    segment_sum()(values, order, starts, width, out, size=out.size)


@functools.cache
def scanned_sum() -> Any:
    """A CuPy kernel: each thread adds one column of the rows that name its place, in order."""
    return devices.cupy().ElementwiseKernel(
        "raw T values, raw I rows, int64 length, int64 count, int64 width",
        "raw T out",
        """
        long long place = i / width, column = i % width;
        T total = 0;
        for (long long j = 0; j < length; ++j) {
            long long row = rows[j];
            if (row == place || row + count == place)
                total += values[j * width + column];
        }
        out[i] += total;
        """,
        "minigrad_scanned_sum",
    )


@functools.cache
def segment_sum() -> Any:
    """A CuPy kernel: each thread adds one column of one run of rows, in order."""
    return devices.cupy().ElementwiseKernel(
        "raw T values, raw int64 order, raw int64 starts, int64 width",
        "raw T out",
        """
        long long row = i / width, column = i % width;
        T total = 0;
        for (long long j = starts[row]; j < starts[row + 1]; ++j)
            total += values[order[j] * width + column];
        out[i] += total;
        """,
        "minigrad_segment_sum",
    )
