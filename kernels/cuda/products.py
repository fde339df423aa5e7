"""Matrix products: one cuBLAS call for any stack of matrices, without copies where possible.

    y = cublas_product(a, b)        a (..., n, k), b (..., k, m) -> y (..., n, m), as np.matmul

CuPy's matmul copies stacks that are not in C order, such as transposed keys of attention; passes
broadcast stacks to cuBLAS as a list of pointers; ignores TF32 for stacks; and cannot run while a
CUDA graph is captured. cuBLAS has none of these limits. Its matrices are in column order, with a
leading dimension, a step from one matrix of a stack to the next, and a flag to transpose. Memory in
row order is the transpose in column order, so instead of y = a b it computes yᵀ = bᵀ aᵀ.

cuBLAS is called through nvmath-python if it is installed, else through CuPy. CuPy refuses the call
in a capture; there Triton computes the product (`gemm`). Products of float32 are exact, or TF32 if
CUPY_TF32=1 was set at the start.
"""

from __future__ import annotations

import functools
import math
import os
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda import gemm
from minigrad import device as devices
from minigrad.capture import lasting
from minigrad.kernel import Declined, kernel
from minigrad.ops import products

Array = Any
AS_IS, TRANSPOSED = 0, 1  # cublasOperation_t
DEFAULT_ALGORITHM = -1  # cublasGemmAlgo_t
WORKSPACE = 32 << 20  # bytes, as NVIDIA recommends for Hopper; allocated before a capture
# cudaDataType_t, and the cublasComputeType_t with the dtype of its factors α and β
KINDS = {
    "float64": (1, 70, np.float64),
    "float32": (0, 77 if os.environ.get("CUPY_TF32") == "1" else 68, np.float32),
    "float16": (2, 68, np.float32),
    "bfloat16": (14, 68, np.float32),
}


# --- arguments of cuBLAS --------------------------------------------------------------------------
class Operand(NamedTuple):
    """A stack of matrices as cuBLAS reads it."""

    array: Array
    operation: int  # AS_IS or TRANSPOSED
    leading: int  # elements from one column to the next
    step: int  # elements from one matrix to the next


def operand(a: Array, lead: tuple[int, ...]) -> Operand:
    """A stack, broadcast to the leading axes `lead`, read by cuBLAS as transposed matrices.

    The array itself if one leading dimension and one step describe it, else a copy.
    """
    rows, columns = a.shape[-2:]
    down, right = (n // a.itemsize for n in a.strides[-2:])
    step = common_step(np.broadcast_to(a, (*lead, rows, columns)))
    if step is not None and (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return Operand(a, AS_IS, max(1, columns, down), step)
    if step is not None and (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return Operand(a, TRANSPOSED, max(1, rows, right), step)
    if common_step(a) is None or a.shape[:-2] not in ((), lead):  # only some axes repeat
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


def cublas_product(a: Array, b: Array, out: Array | None = None) -> Array:
    """a b, written into `out` if given, which is in C order and has the right shape and dtype."""
    (n, k), m = a.shape[-2:], b.shape[-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = devices.empty((*lead, n, m), a) if out is None else out
    if not y.size:
        return y
    if not k:
        y[...] = 0
        return y
    left, right = operand(b, lead), operand(a, lead)
    library = cublas()
    if isinstance(library, Cupy) and devices.capturing() and a.dtype.name in gemm.DTYPES:
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


# --- for the bodies of ops ------------------------------------------------------------------------
@kernel(products.product, device="cuda")
def product(a: Array, b: Array, out: Array | None = None) -> Any:
    if why := unfit(a, b):
        return why
    left = a if a.ndim > 1 else a[None]
    right = b if b.ndim > 1 else b[:, None]
    if left.shape[-1] != right.shape[-2]:
        return Declined("shapes")
    if out is not None and out.flags.c_contiguous and out.dtype == a.dtype:
        return cublas_product(left, right, out)
    y = cublas_product(left, right)
    y = y if b.ndim > 1 else y[..., 0]
    y = y if a.ndim > 1 else y[0] if b.ndim == 1 else y[..., 0, :]
    if out is None:
        return y
    out[...] = y
    return out


def unfit(*arrays: Array) -> Declined | None:
    for x in arrays:
        if not devices.is_array(x) or devices.of(x) == "cpu":
            return Declined("not on the GPU")
        if not x.ndim or x.dtype != arrays[0].dtype or x.dtype.name not in KINDS:
            return Declined("dtypes")
    return None


@kernel(products.einsum, device="cuda")
def einsum(subscripts: str, *operands: Array, optimize: Any = True) -> Any:
    """Contracts the operands from left to right, each time two as a stack of products."""
    if why := unfit(*operands):
        return why
    left, output = subscripts.split("->")
    first, *others = left.split(",")
    if any(len(set(letters)) < len(letters) for letters in (first, *others)):
        return Declined("diagonal")
    sizes: dict[str, set[int]] = {}
    for letters, x in zip((first, *others), operands, strict=True):
        for letter, n in zip(letters, x.shape, strict=True):
            sizes.setdefault(letter, set()).add(n)
    if any(len(n) > 1 for n in sizes.values()):
        return Declined("broadcast")
    y = operands[0]
    for i, letters in enumerate(others):
        later = {*output, *"".join(others[i + 1 :])}
        first, y = contracted(first, y, letters, operands[i + 1], later)
    y = y.sum(axis=tuple(first.index(c) for c in first if c not in output))
    kept = [c for c in first if c in output]
    return y.transpose([kept.index(c) for c in output])


def contracted(
    a_letters: str, a: Array, b_letters: str, b: Array, later: set[str]
) -> tuple[str, Array]:
    """Σ a b over the letters of both that are not in `later`; the remaining letters, and the sum.

    Letters of both that are in `later` are the axes of the stack; letters of a are rows, letters of
    b columns.
    """
    both = [c for c in a_letters if c in b_letters]
    stack, summed = [c for c in both if c in later], [c for c in both if c not in later]
    rows, columns = ([c for c in x if c not in both] for x in (a_letters, b_letters))
    size = {
        **dict(zip(a_letters, a.shape, strict=True)),
        **dict(zip(b_letters, b.shape, strict=True)),
    }

    def ordered(letters: str, x: Array, *groups: list[str]) -> Array:
        x = x.transpose([letters.index(c) for group in (stack, *groups) for c in group])
        sides = [math.prod(size[c] for c in group) for group in groups]
        return x.reshape(*(size[c] for c in stack), *sides)

    y = cublas_product(ordered(a_letters, a, rows, summed), ordered(b_letters, b, summed, columns))
    remaining = [*stack, *rows, *columns]
    return "".join(remaining), y.reshape([size[c] for c in remaining])


# --- cuBLAS ---------------------------------------------------------------------------------------
class Nvmath:
    """cuBLAS through nvmath-python. Each GPU has a handle and a workspace, also for captures."""

    def __init__(self) -> None:
        from nvmath.bindings import cublas  # type: ignore[reportMissingImports]

        self.library = cublas
        self.gemm_strided_batched_ex = cublas.gemm_strided_batched_ex
        self.handles: dict[int, tuple[int, Array]] = {}

    def handle(self) -> int:
        """The handle of the current GPU, set to the current stream."""
        cp = devices.cupy()
        device = cp.cuda.runtime.getDevice()
        if device not in self.handles:
            workspace = lasting((WORKSPACE,), cp.empty(0), np.uint8)
            self.handles[device] = self.library.create(), workspace
        handle, workspace = self.handles[device]
        self.library.set_stream(handle, cp.cuda.get_current_stream().ptr)
        self.library.set_workspace(handle, workspace.data.ptr, WORKSPACE)  # set_stream resets it
        return handle


class Cupy:
    """cuBLAS through CuPy."""

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
