"""What kernels need of arrays before a launch: C order, tiles, memory that the host fills."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton

from minigrad import device as devices

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


def capturing(like: Any) -> bool:
    """Whether launches beside this array go into a CUDA graph; nothing can then be read back."""
    if isinstance(like, np.ndarray):
        return False
    return bool(devices.cupy().cuda.get_current_stream().is_capturing())


def upload(host: Any, array: Any) -> None:
    """array[...] = host. While a graph is captured it is done at once, and is no part of the graph:
    it goes over a stream of its own."""
    if isinstance(array, np.ndarray):
        array[...] = host
    elif not capturing(array):
        array.set(host)
    else:
        aside = devices.cupy().cuda.Stream(non_blocking=True)
        array.set(host, stream=aside)
        aside.synchronize()


def on_device(host: Any, like: Any) -> Any:
    """A copy of a NumPy array beside another array, by `upload`."""
    array = np.empty_like(like, shape=host.shape, dtype=host.dtype, order="C")
    upload(host, array)
    return array
