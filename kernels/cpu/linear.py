"""Matrix products, divided among the cores by rows or columns of the result.

OpenBLAS can also use all cores, but afterwards its threads spin for a tenth of a second, and keep
the cores from the kernels. Here each core calls BLAS with one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.blas import AS_IS, ROW_MAJOR, TRANSPOSED, sgemm
from kernels.cpu.compiled import compiled, parts_for, rows_of, share, unfit
from kernels.cpu.rows import add_to
from minigrad import ops
from minigrad.kernel import Declined, kernel


# --- the products -----------------------------------------------------------------------------
@compiled("void(f4[:, ::1], f4[:, ::1], b1, f4[::1], f4[:, ::1], i8)")
def product(a, b, transposed, bias, y, parts):
    """y = a b or a bᵀ, plus the bias if it is not empty, by rows or columns of y: the more."""
    (n, m), k = y.shape, a.shape[1]
    for part in prange(parts):
        top, bottom, left, right = 0, n, 0, m
        if n >= m:
            top, bottom = share(n, parts, part)
        else:
            left, right = share(m, parts, part)
        if bias.size:
            for i in range(top, bottom):
                y[i, left:right] = bias[left:right]
        some = b[left:right].ctypes if transposed else b[:, left:right].ctypes
        sgemm(
            ROW_MAJOR, AS_IS, TRANSPOSED if transposed else AS_IS, bottom - top, right - left, k,
            np.float32(1.0), a[top:bottom].ctypes, k, some, b.shape[1],
            np.float32(1.0 if bias.size else 0.0), y[top:bottom, left:right].ctypes, m,
        )  # fmt: skip


@compiled("void(f4[:, ::1], f4[:, ::1], f4[:, ::1], i8)")
def columns_times(a, b, y, parts):
    """y = aᵀ b, by columns of a."""
    k, m = b.shape
    for part in prange(parts):
        low, high = share(a.shape[1], parts, part)
        sgemm(
            ROW_MAJOR, TRANSPOSED, AS_IS, high - low, m, k,
            np.float32(1.0), a[:, low:high].ctypes, a.shape[1], b.ctypes, m,
            np.float32(0.0), y[low:high].ctypes, m,
        )  # fmt: skip


@compiled("void(f4[:, ::1], f4[::1], i8)")
def sum_rows(x, y, parts):
    """y = Σ rows of x, by columns."""
    for part in prange(parts):
        low, high = share(y.size, parts, part)
        y[low:high] = np.float32(0.0)
        for i in range(x.shape[0]):
            add_to(y[low:high], x[i, low:high])


# --- the ops ----------------------------------------------------------------------------------
SMALL = 1 << 17  # multiplications; for fewer, NumPy is faster
NO_BIAS = np.empty(0, np.float32)


def times(a: Any, b: Any, transposed: bool = False, bias: Any = NO_BIAS) -> Any:
    """a b or a bᵀ, plus the bias."""
    y = np.empty((a.shape[0], b.shape[0 if transposed else 1]), np.float32)
    product(a, b, transposed, bias, y, parts_for(y.size * a.shape[1]))
    return y


def transposed_times(a: Any, b: Any) -> Any:
    """aᵀ b"""
    y = np.empty((a.shape[1], b.shape[1]), np.float32)
    columns_times(a, b, y, parts_for(y.size * a.shape[0]))
    return y


def column_sum(x: Any) -> Any:
    y = np.empty(x.shape[1], np.float32)
    sum_rows(x, y, parts_for(x.size))
    return y


@kernel(ops.linear, device="cpu")
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    if why := unfit(x, weight, bias):
        return why
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1:] != weight.shape[1:]:
        return Declined("shapes")
    if bias is not None and bias.shape != weight.shape[:1]:
        return Declined("shapes")
    if x.size * weight.shape[0] < SMALL:
        return Declined("small")
    x2, w = rows_of(x).reshape(-1, x.shape[-1]), rows_of(weight)
    y = times(x2, w, True, NO_BIAS if bias is None else rows_of(bias))
    shape, flat = x.shape, y.shape

    return y.reshape(*shape[:-1], flat[1]), (
        lambda g: times(rows_of(g).reshape(flat), w).reshape(shape),
        lambda g: transposed_times(rows_of(g).reshape(flat), x2),
        lambda g: column_sum(rows_of(g).reshape(flat)),
    )


@kernel(ops.matmul, device="cpu")
def matmul(a: Any, b: Any) -> Any:
    if why := unfit(a, b):
        return why
    if b.ndim != 2 or a.ndim < 2 or a.shape[-1] != b.shape[0]:
        return Declined("not a product with one matrix")
    if a.size * b.shape[1] < SMALL:
        return Declined("small")
    a2, b2 = rows_of(a).reshape(-1, a.shape[-1]), rows_of(b)
    y = times(a2, b2)
    shape, flat = a.shape, y.shape
    return y.reshape(*shape[:-1], flat[1]), (
        lambda g: times(rows_of(g).reshape(flat), b2, True).reshape(shape),
        lambda g: transposed_times(a2, rows_of(g).reshape(flat)),
    )
