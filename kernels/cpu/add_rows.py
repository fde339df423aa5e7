"""out[rows] += values, also for repeated rows: the gradient of picking rows.

The columns are divided among the cores, so no two cores write to one element, and every sum is in
the order of the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.compiled import compiled, parts_for, rows_of, share, unfit
from kernels.cpu.rows import add_to
from minigrad.indices import add_rows
from minigrad.kernel import Declined, kernel


@compiled("void(f4[:, ::1], i8[::1], f4[:, ::1], i8)")
def by_columns(out, rows, values, parts):
    for part in prange(parts):
        low, high = share(out.shape[1], parts, part)
        for i in range(rows.size):
            add_to(out[rows[i], low:high], values[i, low:high])


@kernel(add_rows, device="cpu")
def add_rows_in_order(out: Any, rows: Any, values: Any) -> Declined | None:
    if why := unfit(out, values):
        return why
    if out.shape[1] < 16 or not out.flags.c_contiguous:
        return Declined("short rows")
    rows = rows_of(rows.astype(np.int64, copy=False))
    by_columns(out, rows, rows_of(values), parts_for(values.size))
    return None
