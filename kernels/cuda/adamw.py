"""Adam, AdamW and gradient clipping of all parameters in one launch.

A launch costs as much as the update of a hundred thousand numbers, and most parameters have fewer.
So one launch updates all: a table contains the addresses and sizes of the arrays, and two lists
give for each program its array and the block within the array. Clipping takes three launches:

    s_b = Σ g² over block b        norm = √(Σ s_b), always added in the same order
    g   = g min(1, max_norm / (norm + 1e-6))        with the norm read from device memory

In the table each replica is a separate array, with its rates and its norm. The rates are `live`: in
a recorded step the host writes them again before every replay.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import on_device, rows_of
from kernels.cuda.launch import launch, unfit
from kernels.tables import BLOCK, blocks_of, rates_of, sizes_in, table_of
from minigrad import device as devices
from minigrad.capture import keep, live
from minigrad.kernel import Declined, kernel
from minigrad.optim.clip import clip_arrays
from minigrad.optim.optimizers import adam_update_all

FLOATS = ("float32",)


# --- the kernels ------------------------------------------------------------------------------
@triton.jit
def address(table, column):
    """The array in a column of a row of the table."""
    return tl.load(table + column).to(tl.pointer_type(tl.float32))


@triton.jit
def update_kernel(table, owner, place, rates, BLOCK: tl.constexpr):
    """Rows of the table: p, g, m, v, size, row of rates. Rows of rates: b1, b2, 1 - b1, 1 - b2,
    eps, rate, decay, keep; 1 - b2 = 0.001 would be off by 1e-5 if computed from b2 in float32."""
    row = table + 6 * tl.load(owner + tl.program_id(0))
    rate = rates + 8 * tl.load(row + 5)
    i = tl.load(place + tl.program_id(0)).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = i < tl.load(row + 4)
    p_at, m_at, v_at = address(row, 0) + i, address(row, 2) + i, address(row, 3) + i
    p = tl.load(p_at, mask=here)
    g = tl.load(address(row, 1) + i, mask=here)
    decay = tl.load(rate + 6)
    g = tl.where(decay != 0.0, g + decay * p, g)  # 0 times an infinite p would be NaN
    m = tl.load(rate) * tl.load(m_at, mask=here) + tl.load(rate + 2) * g
    v = tl.load(rate + 1) * tl.load(v_at, mask=here) + tl.load(rate + 3) * (g * g)
    step = tl.load(rate + 5) * m / (tl.sqrt_rn(v) + tl.load(rate + 4))
    tl.store(m_at, m, mask=here)
    tl.store(v_at, v, mask=here)
    tl.store(p_at, tl.load(rate + 7) * p - step, mask=here)


@triton.jit
def squares_kernel(table, owner, place, sums, BLOCK: tl.constexpr):
    """Rows of the table: g, size, replica. sums (programs,): Σ g² of each block."""
    row = table + 3 * tl.load(owner + tl.program_id(0))
    i = tl.load(place + tl.program_id(0)).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(address(row, 0) + i, mask=i < tl.load(row + 1), other=0.0)
    tl.store(sums + tl.program_id(0), tl.sum(g * g))


@triton.jit
def norm_kernel(sums, norm, factor, blocks, max_norm, BLOCK: tl.constexpr):
    """norm = √(Σ sums), factor = min(1, max_norm / (norm + 1e-6)); one program per replica."""
    replica = tl.program_id(0)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, blocks, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(sums + replica * blocks + i, mask=i < blocks, other=0.0)
    root = tl.sqrt_rn(tl.sum(total))
    ratio = max_norm / (root + 1e-6)
    tl.store(norm + replica, root)
    tl.store(factor + replica, tl.where(ratio > 1.0, 1.0, ratio))  # NaN stays


@triton.jit
def scale_kernel(table, owner, place, factor, BLOCK: tl.constexpr):
    """g = factor g. Rows of the table: g, size, replica."""
    row = table + 3 * tl.load(owner + tl.program_id(0))
    i = tl.load(place + tl.program_id(0)).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = i < tl.load(row + 1)
    at = address(row, 0) + i
    tl.store(at, tl.load(at, mask=here) * tl.load(factor + tl.load(row + 2)), mask=here)


# --- tables in device memory --------------------------------------------------------------------
class Table:
    """The arrays of one launch as a table in device memory.

    A row has the addresses of its arrays, their size, and number * replicas + replica.

    rows:    tuples of float32 arrays of one size, in C order.
    numbers: one for each row.

    The rows of one replica are adjacent, and so are their blocks.
    """

    def __init__(
        self, rows: Sequence[Sequence[Any]], numbers: Sequence[int], replicas: int
    ) -> None:
        like = rows[0][0]
        table = table_of(rows, numbers, replicas)
        self.addresses = on_device(table, like)
        self.owner, self.place = blocks_on(devices.of(like), sizes_in(table))
        keep(self, rows)

    @property
    def grid(self) -> tuple[int]:
        return (self.owner.size,)

    def args(self) -> tuple[Any, Any, Any]:
        return self.addresses, self.owner, self.place


@functools.lru_cache(64)
def blocks_on(device: str, sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """`blocks_of`, in memory of the device."""
    blocks = blocks_of(sizes)
    if device == "cpu":
        return blocks
    like = devices.cupy().empty(0)
    return on_device(blocks[0], like), on_device(blocks[1], like)


def in_order(*arrays: Any) -> bool:
    """Whether all arrays are in C order, as required by kernels that write to them."""
    return all(a.flags.c_contiguous for a in arrays)


# --- the routines -------------------------------------------------------------------------------
@kernel(adam_update_all, device="cuda")
def adam(pieces: Any, arrays: Sequence[Any], rates: Callable[[], Any]) -> Declined | None:
    if any(len(each) > 4 for each in arrays):
        return Declined("amsgrad")
    if why := unfit(*(a for four in arrays for a in four), dtypes=FLOATS):
        return why
    if not arrays or not all(in_order(p, m, v) for p, _, m, v in arrays):
        return Declined("layout")
    which: list[int] = []

    def numbers() -> Any:
        rows, which[:] = rates()
        return rates_of(rows).reshape(-1)

    like = arrays[0][0]
    values = live(numbers, like)
    replicas = values.size // (8 * (max(which) + 1))
    values = on_device(values, like) if isinstance(values, np.ndarray) else values
    table = Table([(p, rows_of(g), m, v) for p, g, m, v in arrays], which, replicas)
    launch(update_kernel, table.grid, (*table.args(), values), {"BLOCK": BLOCK}, warps=8)
    return None


@kernel(clip_arrays, device="cuda")
def clip(grads: Sequence[Any], max_norm: float, replicas: int | None) -> Any:
    if why := unfit(*grads, dtypes=FLOATS):
        return why
    if not in_order(*grads):
        return Declined("layout")
    count = replicas or 1
    table = Table([(g,) for g in grads], [0] * len(grads), count)
    sums = devices.empty(table.grid, grads[0])
    norm, factor = (devices.empty(() if replicas is None else (replicas,), sums) for _ in range(2))
    constants: dict[str, Any] = {"BLOCK": BLOCK}
    launch(squares_kernel, table.grid, (*table.args(), sums), constants, warps=8)
    args = sums, norm, factor, sums.size // count, float(max_norm)
    launch(norm_kernel, (count,), args, constants, warps=8)
    launch(scale_kernel, table.grid, (*table.args(), factor), constants, warps=8)
    return norm
