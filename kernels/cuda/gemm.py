"""y = a b in Triton, for stacks of matrices with any strides.

Used in recorded steps if nvmath-python is not installed, because CuPy does not call cuBLAS in a
capture. Each program computes one tile of y: it adds up the products of the tiles of a in its rows
with the tiles of b in its columns.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.launch import launch

Array = Any
DTYPES = ("float32", "float16", "bfloat16")
TF32 = os.environ.get("CUPY_TF32") == "1"
# rows, columns and depth of a tile; exact float32 products need more registers
EXACT, OTHERS = (32, 32, 32), (64, 64, 32)


@triton.jit
def gemm_kernel(
    a, b, y, a_stack, a_row, a_column, b_stack, b_row, b_column, n, m, k,
    BN: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y (stack, n, m) in C order, from a (n, k) and b (k, m) for each index of the stack."""
    across = tl.cdiv(m, BM)
    rows = tl.program_id(0) // across * BN + tl.arange(0, BN)
    columns = tl.program_id(0) % across * BM + tl.arange(0, BM)
    place = tl.program_id(1).to(tl.int64)
    depth = tl.arange(0, BK)
    a += place * a_stack + rows[:, None].to(tl.int64) * a_row
    b += place * b_stack + columns[None, :].to(tl.int64) * b_column
    total = tl.zeros([BN, BM], tl.float32)
    for first in range(0, k, BK):
        i = first + depth
        left = tl.load(
            a + i[None, :].to(tl.int64) * a_column,
            mask=(rows[:, None] < n) & (i[None, :] < k),
            other=0.0,
        )
        right = tl.load(
            b + i[:, None].to(tl.int64) * b_row,
            mask=(i[:, None] < k) & (columns[None, :] < m),
            other=0.0,
        )
        total = tl.dot(left, right, total, input_precision=PRECISION)
    at = y + (place * n + rows[:, None]) * m + columns[None, :]
    inside = (rows[:, None] < n) & (columns[None, :] < m)
    tl.store(at, total.to(y.dtype.element_ty), mask=inside)


def multiply(a: Array, a_stack: int, b: Array, b_stack: int, y: Array) -> None:
    """y = a b, with a (..., n, k) and b (..., k, m).

    a_stack, b_stack: elements from one matrix of a stack to the next.
    """
    (n, m), k = y.shape[-2:], a.shape[-1]
    exact = a.dtype == np.float32 and not TF32
    tile = EXACT if exact else OTHERS
    strides = [[s // x.itemsize for s in x.strides[-2:]] for x in (a, b)]
    grid = triton.cdiv(n, tile[0]) * triton.cdiv(m, tile[1]), math.prod(y.shape[:-2])
    args = a, b, y, a_stack, *strides[0], b_stack, *strides[1], n, m, k
    constants = dict(zip(("BN", "BM", "BK"), tile, strict=True))
    constants["PRECISION"] = "tf32" if TF32 and a.dtype == np.float32 else "ieee"
    launch(gemm_kernel, grid, args, constants, stages=2)
