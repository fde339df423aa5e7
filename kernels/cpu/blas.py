"""Matrix products in compiled loops: direct calls of the BLAS that comes with NumPy.

`sgemm` is a symbol that Numba resolves when it loads compiled code. In a parallel loop, with one
BLAS thread, each core multiplies its part of the rows and then works on them while they are in its
cache.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding
import numpy as np
import threadpoolctl
from numba import types

ROW_MAJOR, AS_IS, TRANSPOSED = 101, 111, 112  # constants of CBLAS

# names of sgemm in different libraries, and the type of its sizes
SPELLINGS = {
    "scipy_cblas_sgemm64_": types.int64,  # OpenBLAS in NumPy's wheels
    "cblas_sgemm64_": types.int64,
    "scipy_cblas_sgemm": types.int32,
    "cblas_sgemm": types.int32,  # MKL, BLIS, a system's OpenBLAS
}


def find() -> tuple[int, Any]:
    """The address of sgemm in the BLAS that NumPy has loaded, and the type of its sizes."""
    np.ones((2, 2), np.float32) @ np.ones((2, 2), np.float32)  # some are loaded at the first use
    paths = [i["filepath"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]
    for path in sorted(paths, key=lambda p: "numpy" not in p):  # SciPy may have loaded another
        library = ctypes.CDLL(path)
        for name, size in SPELLINGS.items():
            if hasattr(library, name):
                return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0, size
    raise ImportError("NumPy's BLAS has no CBLAS interface that can be found")


def declare(address: int, n: Any) -> Any:
    """sgemm at an address, C = alpha A B + beta C. n: the type of sizes.

    Arguments: order, transA, transB, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc.
    """
    llvmlite.binding.add_symbol("minigrad_sgemm", address)
    i, real, array = types.int32, types.float32, types.CPointer(types.float32)
    signature = types.void(i, i, i, n, n, n, real, array, n, array, n, real, array, n)
    return types.ExternalFunction("minigrad_sgemm", signature)


sgemm = declare(*find())

limits: list[Any] = []  # the limit that is set, or empty


def use_threads(count: int | None) -> None:
    """Set the number of BLAS threads; None restores the number before."""
    if count is not None and not limits:
        limits.append(threadpoolctl.threadpool_limits(count, user_api="blas"))
    elif count is None and limits:
        limits.pop().restore_original_limits()
