"""What stands for CuPy where there is no GPU, and `install`, which lets minigrad take it for CuPy.

`fake_arrays` says how its arrays behave, `fake_cuda` when what is computed on them happens.
"""

from __future__ import annotations

import functools
import itertools
import math
import sys
import types
from functools import partial

import numpy as np
from cupy_signatures import fit
from fake_arrays import INDEX_COPIES, FakeArray, called, to_host
from fake_cuda import (
    DEFAULT,
    GPU,
    Pool,
    Runtime,
    Stream,
    forbid,
    get_current_stream,
    soon,
    using_allocator,
)

from minigrad import device as devices
from minigrad import indices
from minigrad.capture import streams


# --- the module -----------------------------------------------------------------------------------
class ElementwiseKernel:
    """A kernel in CUDA: it takes what it declares; `KERNELS` has what it computes."""

    def __init__(self, in_params, out_params, operation, name):
        self.parameters = [p.split() for p in f"{in_params}, {out_params}".split(", ")]
        self.function = KERNELS[name]

    def __call__(self, *args, size):
        dtypes = {}  # also those that a letter stands for
        for (*raw, kind, name), a in zip(self.parameters, args, strict=True):
            if bool(raw) is not isinstance(a, FakeArray):
                raise TypeError(f"{name}: expected {'an array' if raw else 'a number'}, got {a!r}")
            if raw and a.dtype != dtypes.setdefault(kind, a.dtype if len(kind) == 1 else kind):
                raise TypeError(f"{name}: expected {dtypes[kind]}, got {a.dtype}")
        soon(partial(self.function, *to_host(args), size))


class FakeCupy:
    """What stands for the module: NumPy's functions, with fake arrays as results."""

    ndarray = FakeArray
    ElementwiseKernel = ElementwiseKernel
    cuda = types.SimpleNamespace(
        Device=GPU,
        Stream=Stream,
        get_current_stream=get_current_stream,
        MemoryPool=Pool,
        using_allocator=using_allocator,
        runtime=Runtime,
    )

    @staticmethod
    def get_default_memory_pool():
        return DEFAULT

    @staticmethod
    def asnumpy(a, stream=None, order="C"):
        forbid("a copy to the host")
        return a.values.copy(order)

    @staticmethod
    def asarray(a, dtype=None, order=None):
        if not isinstance(a, FakeArray):
            forbid("a copy from the host")
            return FakeArray(np.array(a, dtype, order=order))
        return a if a.device.id == GPU.current else FakeArray(a.values.copy())

    def __getattr__(self, name):
        def function(*args, **kwargs):
            fit(name, args, kwargs)
            return called(getattr(np, name), args, kwargs)

        return function


# --- what kernels compute -------------------------------------------------------------------------
def segment_sum(values, order, starts, width, out, size):
    """Of `minigrad.indices`."""
    rows = values.reshape(-1, width)[order]
    sums = [rows[i:j].sum(axis=0) for i, j in itertools.pairwise(starts)]
    out += np.reshape(sums, out.shape)


def scanned_sum(values, rows, length, count, width, out, size):
    """Of `minigrad.indices`; rows that are nowhere are passed over."""
    rows, sums = rows.reshape(-1)[:length], np.zeros((count, width), out.dtype)
    there = (rows >= -count) & (rows < count)
    np.add.at(sums, rows[there], values.reshape(-1, width)[there])
    out += sums.reshape(out.shape)


def first_outside(ids, low, high, ignored, place, size):
    """Of `minigrad.indices`."""
    for value in ids.reshape(-1)[:size]:
        if not low <= value <= high and value != ignored:
            place[0] = value


KERNELS = {f"minigrad_{f.__name__}": f for f in (segment_sum, scanned_sum, first_outside)}


def of_each(function):
    """A function of `cupyx.scipy.special`, which has loops for float32 and float64 alone."""
    exact = np.vectorize(function, otypes=[np.float64])

    def of_array(values):
        wide = np.result_type(values.dtype, np.float16) == np.float64
        return exact(values).astype(np.float64 if wide else np.float32)

    return lambda a: called(of_array, (a,), {})


# --- in the place of CuPy -------------------------------------------------------------------------
def install(monkeypatch):
    """Let `minigrad.device` take fake arrays for arrays on GPUs, of which there are two."""
    module, known = FakeCupy(), devices.is_array
    monkeypatch.setattr(devices, "is_array", lambda a: isinstance(a, FakeArray) or known(a))
    monkeypatch.setattr(GPU, "current", 0)
    monkeypatch.setattr(Stream, "current", Stream(null=True))
    monkeypatch.setattr(Pool, "current", DEFAULT)
    INDEX_COPIES.clear()
    monkeypatch.setattr(devices, "namespace", lambda a: module if isinstance(a, FakeArray) else np)
    monkeypatch.setattr(devices, "cupy", lambda: module)
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    monkeypatch.setattr(devices, "CHECKS", {})
    for kept in (indices.segment_sum, indices.scanned_sum, indices.first_outside, streams):
        afresh = functools.cache(kept.__wrapped__)
        monkeypatch.setattr(sys.modules[kept.__module__], kept.__name__, afresh)
    special = types.SimpleNamespace(erf=of_each(math.erf), erfc=of_each(math.erfc))
    special.scipy = special.special = special
    for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.special"):
        monkeypatch.setitem(sys.modules, name, special)


def install_kernels(monkeypatch):
    """`install`, and the GPU kernels on the memory of fake arrays, in Triton's interpreter."""
    import test_products

    import kernels.cuda
    from kernels.cuda import adamw, launch, products
    from minigrad.kernel import Declined

    install(monkeypatch)
    interpret, unfit_on_gpu = launch.interpret, launch.unfit

    def on_host(fn, grid, args, constants):
        assert not any(isinstance(a, np.ndarray) for a in args)
        given = [a.values if isinstance(a, FakeArray) else a for a in args]
        soon(partial(interpret, fn, grid, given, constants))

    def unfit(*arrays, dtypes=("float32", "float16", "bfloat16")):
        for a in arrays:
            if isinstance(a, np.ndarray):
                return Declined("not on the GPU")
            if a is not None and a.dtype.name not in dtypes:
                return Declined(a.dtype.name)
        return None

    class Library(test_products.Library):
        run = staticmethod(soon)

    monkeypatch.setattr(launch, "interpret", on_host)
    for module in vars(kernels.cuda).values():
        if getattr(module, "unfit", None) is unfit_on_gpu:
            monkeypatch.setattr(module, "unfit", unfit)
    monkeypatch.setattr(products, "cublas", Library)
    monkeypatch.setattr(adamw, "blocks_of", functools.cache(adamw.blocks_of.__wrapped__))
