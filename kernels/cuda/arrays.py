"""What kernels need of arrays before a launch: C order, tiles, memory that the host fills."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton

from minigrad import device as devices
from minigrad.capture import aside, lasting

TOO_LARGE = 1 << 31  # elements that an index of 32 bits cannot count


def rows_of(a: Any) -> Any:
    """The array in C order; a copy if it is not."""
    return a if a.flags.c_contiguous else a.copy(order="C")


ELEMENTS = (
    512  # of a tile of several rows: four a thread, which leaves registers for large formulas
)


def tile(columns: int, widest: int = 2048) -> dict[str, int]:
    """The constants ROWS and COLS of a tile that holds whole rows, or parts of `widest` elements.

    Triton's tiles have powers of two as sides; narrow rows are taken several at a time.
    """
    cols = min(max(16, triton.next_power_of_2(columns)), widest)
    return {"ROWS": max(1, ELEMENTS // cols), "COLS": cols}


def warps(sides: dict[str, int]) -> int:
    """Of a program with such a tile."""
    return 8 if sides["COLS"] > 1024 else 4


def on_device(host: Any, like: Any) -> Any:
    """A copy of a NumPy array beside another array. While a graph is captured it is made at once
    and is no part of the graph, which reads it wherever it is replayed."""
    array = lasting(host.shape, like, host.dtype)
    if isinstance(array, np.ndarray):
        array[...] = host
    elif not devices.capturing():
        array.set(host)
    else:
        array.set(host, stream=aside())
        aside().synchronize()
    return array
