"""Matrix products inside of compiled loops: the BLAS that NumPy itself brings, called directly.

`sgemm` is a symbol which Numba resolves when it loads compiled code. Called from a parallel loop,
with BLAS at one thread, each core multiplies its own rows, and goes on with them while they are in
its cache.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding
import numpy as np
import threadpoolctl
from numba import types

ROW_MAJOR, AS_IS, TRANSPOSED = 101, 111, 112  # of the CBLAS interface

# name of the product in a library, and the type of its sizes
SPELLINGS = {
    "scipy_cblas_sgemm64_": types.int64,  # OpenBLAS in NumPy's wheels
    "cblas_sgemm64_": types.int64,
    "scipy_cblas_sgemm": types.int32,
    "cblas_sgemm": types.int32,  # MKL, BLIS, a system's OpenBLAS
}


def find() -> tuple[int, Any]:
    """The address of sgemm in the BLAS that NumPy has loaded, and the type of its sizes."""
    np.ones((2, 2), np.float32) @ np.ones((2, 2), np.float32)  # some are loaded when first used
    paths = [i["filepath"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]
    for path in sorted(paths, key=lambda p: "numpy" not in p):  # SciPy may have brought another
        library = ctypes.CDLL(path)
        for name, size in SPELLINGS.items():
            if hasattr(library, name):
                return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0, size
    raise ImportError("NumPy's BLAS has no CBLAS interface that can be found")


def declare(address: int, n: Any) -> Any:
    """C = alpha A B + beta C: (order, transposeA, transposeB, m, n, k, alpha, A, row of A, ...)."""
    llvmlite.binding.add_symbol("minigrad_sgemm", address)
    i, real, array = types.int32, types.float32, types.CPointer(types.float32)
    signature = types.void(i, i, i, n, n, n, real, array, n, array, n, real, array, n)
    return types.ExternalFunction("minigrad_sgemm", signature)


sgemm = declare(*find())

limits: list[Any] = []  # the limit that is in force


def use_threads(count: int | None) -> None:
    """Give BLAS `count` threads; None gives back what it had before."""
    if count is not None and not limits:
        limits.append(threadpoolctl.threadpool_limits(count, user_api="blas"))
    elif count is None and limits:
        limits.pop().restore_original_limits()
