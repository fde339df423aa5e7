"""Preparing a launch: arrays in C order, sizes of tiles, copies of the host's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton

from minigrad import device as devices
from minigrad.capture import aside, lasting

TOO_LARGE = 1 << 31  # elements; more than 32-bit indices can count


def rows_of(a: Any) -> Any:
    """The array in C order; a copy if it is not."""
    return a if a.flags.c_contiguous else a.copy(order="C")


# of a tile of several rows: four per thread, which leaves enough registers for long formulas
ELEMENTS = 512


def tile(columns: int, widest: int = 2048) -> dict[str, int]:
    """The constants ROWS and COLS of a tile of whole rows, or of parts with `widest` elements.

    The sides of Triton's tiles are powers of two. A tile has several rows if they are narrow.
    """
    cols = min(max(16, triton.next_power_of_2(columns)), widest)
    return {"ROWS": max(1, ELEMENTS // cols), "COLS": cols}


def warps(sides: dict[str, int]) -> int:
    """The number of warps of a program with such a tile."""
    return 8 if sides["COLS"] > 1024 else 4


def on_device(host: Any, like: Any) -> Any:
    """A copy of a NumPy array on the device of `like`.

    During a capture the copy is made at once and is not recorded; every replay reads the same copy.
    """
    array = lasting(host.shape, like, host.dtype)
    if isinstance(array, np.ndarray):
        array[...] = host
    elif not devices.capturing():
        array.set(host)
    else:
        array.set(host, stream=aside())
        aside().synchronize()
    return array
