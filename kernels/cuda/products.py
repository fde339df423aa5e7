"""Matrix products: one cuBLAS call for any stack of matrices, where it lies.

    y = product(a, b)        a (..., n, k), b (..., k, m) -> y (..., n, m), as np.matmul

CuPy's own matmul copies stacks that are not in C order, as the keys of attention are when they are
transposed; gives broadcast stacks to cuBLAS pointer by pointer; ignores TF32 for stacks; and does
not run while a CUDA graph is captured. cuBLAS itself has none of these limits. It knows matrices
in column order with a leading dimension, a step from one matrix of a stack to the next, and whether
to transpose. Memory in row order is the transpose in column order, so instead of y = a b it is
asked for yᵀ = bᵀ aᵀ.

cuBLAS is called through nvmath-python where it is installed, and else through CuPy; in a capture,
which CuPy refuses, Triton then makes the product (`gemm`). Products of float32 are exact, or TF32
if CUPY_TF32=1 was set at the start.
"""

from __future__ import annotations

import functools
import math
import os
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda import gemm
from kernels.cuda.arrays import capturing
from minigrad import device as devices

Array = Any
AS_IS, TRANSPOSED = 0, 1  # cublasOperation_t
DEFAULT_ALGORITHM = -1  # cublasGemmAlgo_t
WORKSPACE = 32 << 20  # bytes, what NVIDIA recommends for Hopper; a capture must find it there
# cudaDataType_t, and the cublasComputeType_t with the dtype of its factors α and β
KINDS = {
    "float64": (1, 70, np.float64),
    "float32": (0, 77 if os.environ.get("CUPY_TF32") == "1" else 68, np.float32),
    "float16": (2, 68, np.float32),
    "bfloat16": (14, 68, np.float32),
}


# --- what cuBLAS is told --------------------------------------------------------------------------
class Operand(NamedTuple):
    """A stack of matrices as cuBLAS reads it: the array, and three numbers of elements."""

    array: Array
    operation: int
    leading: int  # from one column to the next
    step: int  # from one matrix to the next


def operand(a: Array, lead: tuple[int, ...]) -> Operand:
    """A stack, broadcast to the leading axes `lead`, to be read as the transpose of each matrix.

    The array itself where one leading dimension and one step describe it, else a copy.
    """
    rows, columns = a.shape[-2:]
    down, right = (n // a.itemsize for n in a.strides[-2:])
    step = common_step(np.broadcast_to(a, (*lead, rows, columns)))
    if step is not None and (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return Operand(a, AS_IS, max(1, columns, down), step)
    if step is not None and (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return Operand(a, TRANSPOSED, max(1, rows, right), step)
    if common_step(a) is None or a.shape[:-2] not in ((), lead):  # some axes repeat, and not all
        a = np.broadcast_to(a, (*lead, rows, columns))
    return operand(a.copy(order="C"), lead)


def common_step(a: Array) -> int | None:
    """The number of elements from one matrix to the next, if it is the same for all."""
    step = 0
    expected = None
    for n, stride in zip(reversed(a.shape[:-2]), reversed(a.strides[:-2]), strict=True):
        if n == 1:
            continue
        if expected is None:
            step = stride
        elif stride != expected:
            return None
        expected = n * stride
    return step // a.itemsize


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """a b, see above; into `out` if given, an array in C order of the right shape and dtype."""
    (n, k), m = a.shape[-2:], b.shape[-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty_like(a, shape=(*lead, n, m), order="C") if out is None else out
    if not y.size:
        return y
    if not k:
        y[...] = 0
        return y
    left, right = operand(b, lead), operand(a, lead)
    library = cublas()
    if isinstance(library, Cupy) and capturing(y) and a.dtype.name in gemm.DTYPES:
        gemm.multiply(right.array, right.step, left.array, left.step, y)
        return y
    data, compute, factor = KINDS[a.dtype.name]
    one, zero = np.ones((), factor), np.zeros((), factor)
    library.gemm_strided_batched_ex(
        library.handle(), left.operation, right.operation, m, n, k, one.ctypes.data,
        address(left.array), data, left.leading, left.step,
        address(right.array), data, right.leading, right.step,
        zero.ctypes.data, address(y), data, m, n * m, math.prod(lead), compute, DEFAULT_ALGORITHM,
    )  # fmt: skip
    return y


def address(a: Array) -> int:
    return a.data.ptr


# --- cuBLAS ---------------------------------------------------------------------------------------
class Nvmath:
    """By nvmath-python, with a handle and a workspace for each GPU that a capture may use."""

    def __init__(self) -> None:
        from nvmath.bindings import cublas  # type: ignore[reportMissingImports]

        self.library = cublas
        self.gemm_strided_batched_ex = cublas.gemm_strided_batched_ex
        self.handles: dict[int, tuple[int, Array]] = {}

    def handle(self) -> int:
        """That of the current GPU, set to the current stream."""
        cp = devices.cupy()
        device = cp.cuda.runtime.getDevice()
        if device not in self.handles:
            workspace = cp.empty(WORKSPACE, np.uint8)
            self.handles[device] = self.library.create(), workspace
        handle, workspace = self.handles[device]
        self.library.set_stream(handle, cp.cuda.get_current_stream().ptr)
        self.library.set_workspace(handle, workspace.data.ptr, WORKSPACE)  # a new stream forgets it
        return handle


class Cupy:
    """By CuPy."""

    def __init__(self) -> None:
        self.gemm_strided_batched_ex = devices.cupy().cuda.cublas.gemmStridedBatchedEx

    def handle(self) -> int:
        return devices.cupy().cuda.device.get_cublas_handle()


@functools.cache
def cublas() -> Nvmath | Cupy:
    try:
        return Nvmath()
    except ImportError:
        return Cupy()
