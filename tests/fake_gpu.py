"""Arrays that behave as CuPy's do where it matters, without a GPU.

They follow NumPy's protocols, refuse to become NumPy arrays by themselves, refuse to meet NumPy
arrays in one call, and their reductions give 0-d arrays and no scalars, and take no `initial`. An
op that passes here has no hidden step through the host; that CuPy has each function, and its speed,
are not shown.

A stream can capture: calls then compute nothing that counts, and are noted with the arrays that
they read and write, to be made again on these arrays when the graph is launched.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import types

import numpy as np

from minigrad import device as devices
from minigrad import indices


class HostArrayError(TypeError):
    """A NumPy array where CuPy would refuse it."""


class CaptureUnsupportedError(RuntimeError):
    """What CUDA does not do while a stream is capturing."""


class GPU:
    """The current one of two, and what CuPy's pool holds on each: bytes used, and kept."""

    current = 0
    pools = ((3_000_000_000, 500_000_000), (0, 0))

    def __init__(self, number=None):
        self.id = GPU.current if number is None else number

    def __enter__(self):
        self.before, GPU.current = GPU.current, self.id

    def __exit__(self, *error):
        GPU.current = self.before

    def synchronize(self):
        pass


class Pool:
    """A memory pool, which answers for the current GPU."""

    malloc = None

    def used_bytes(self):
        return GPU.pools[GPU.current][0]

    def free_bytes(self):
        return GPU.pools[GPU.current][1]


class Stream:
    """One stream for all; `notes` are the calls of the capture under way, None outside one."""

    notes = None

    def __init__(self, non_blocking=False):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def synchronize(self):
        pass

    def is_capturing(self):
        return Stream.notes is not None

    def begin_capture(self):
        Stream.notes = []

    def end_capture(self):
        graph, Stream.notes = Graph(Stream.notes), None
        return graph


class Graph:
    def __init__(self, notes):
        self.notes = notes

    def launch(self, stream):
        for note in self.notes:
            note()


def item(values, index):
    """values[index], a single element too as a view."""
    found = values[index]
    return found if isinstance(found, np.ndarray) else values[(*np.index_exp[index], ...)]


def forbidden(what):
    if Stream.notes is not None:
        raise CaptureUnsupportedError(f"operation not permitted when stream is capturing: {what}")


def soon(launch):
    """Launch now, or in a capture whenever the graph is."""
    if Stream.notes is None:
        launch()
    else:
        Stream.notes.append(launch)


def called(func, args, kwargs):
    """func on the values of fake arrays, as fake arrays; in a capture also noted."""
    out = kwargs.get("out")
    if kwargs.keys() & {"initial", "where"}:
        raise TypeError(f"{func.__name__} of CuPy has not all of {[*kwargs]}")
    if Stream.notes is None:
        result = func(*to_host(args), **to_host(kwargs))
        return out if out is not None else to_device(result)
    spare = {k: v for k, v in kwargs.items() if k != "out"}
    with np.errstate(all="ignore"):  # of numbers that nobody has computed yet
        result = to_device(func(*to_host(args), **to_host(spare)))
    place = out if out is not None else result
    if func in (np.empty, np.empty_like):  # a place and no launch
        return place
    arrays = [a.values for a in (*args, *kwargs.values()) if isinstance(a, FakeArray)]
    if isinstance(place, FakeArray) and not any(np.shares_memory(place.values, a) for a in arrays):
        Stream.notes.append(lambda: np.copyto(place.values, func(*to_host(args), **to_host(spare))))
    elif out is not None:
        Stream.notes.append(lambda: func(*to_host(args), **to_host(kwargs)))
    elif isinstance(result, tuple):
        raise CaptureUnsupportedError(f"{func.__name__} is not simulated in a capture")
    return place


def to_host(a):
    """The fake arrays in an argument list as NumPy arrays; HostArrayError for NumPy arrays."""
    if isinstance(a, FakeArray):
        if a.device.id != GPU.current:  # what CuPy says if one GPU cannot read the other's memory
            raise ValueError(
                f"The device where the array resides ({a.device.id}) is different from the current "
                f"device ({GPU.current}). Peer access is unavailable between these devices."
            )
        return a.values
    if isinstance(a, np.ndarray):
        raise HostArrayError(f"a NumPy array of shape {a.shape} in a call on the GPU")
    if isinstance(a, (tuple, list)):
        return type(a)(to_host(item) for item in a)
    if isinstance(a, dict):
        return {k: to_host(v) for k, v in a.items()}
    return a


def to_device(a):
    """NumPy's results as fake arrays."""
    if isinstance(a, (np.ndarray, np.generic)):
        return FakeArray(np.asarray(a))
    if isinstance(a, (tuple, list)):
        return type(a)(to_device(item) for item in a)
    return a


class FakeArray(np.lib.mixins.NDArrayOperatorsMixin):
    """See the module's text."""

    __hash__ = None

    def __init__(self, values):
        self.values = values
        self.device = GPU()

    def __array__(self, *args, **kwargs):
        raise HostArrayError("implicit conversion to a NumPy array")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        return called(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, func, kinds, args, kwargs):
        return called(func, args, kwargs)

    def __getitem__(self, index):
        return called(item, (self, index), {})

    def __setitem__(self, index, value):
        def write():
            self.values[to_host(index)] = to_host(value)

        soon(write)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        forbidden("bool()")
        return bool(self.values)

    def __float__(self):
        forbidden("float()")
        return float(self.values)

    def __int__(self):
        forbidden("int()")
        return int(self.values)

    def __index__(self):
        forbidden("index()")
        return self.values.__index__()

    def get(self):
        forbidden("get()")
        return self.values.copy()

    def fill(self, value):
        soon(lambda: self.values.fill(value))

    def set(self, values, stream=None):
        if stream is None:  # that of the capture
            forbidden("a copy from the host")
        self.values[...] = values

    @property
    def base(self):
        return self if self.values.base is not None else None  # a view, as far as one can tell

    @property
    def T(self):
        return FakeArray(self.values.T)

    def __getattr__(self, name):
        if name in (
            "shape",
            "dtype",
            "ndim",
            "size",
            "strides",
            "itemsize",
            "nbytes",
            "flags",
        ):
            return getattr(self.values, name)
        if name in ("item", "tolist"):
            forbidden(f"{name}()")
            return getattr(self.values, name)
        if name in METHODS.split():
            method = getattr(np.ndarray, name)
            return lambda *a, **k: called(method, (self, *a), k)
        raise AttributeError(name)


METHODS = """all any argmax argmin argsort astype copy cumsum diagonal flatten max mean min nonzero
prod ravel repeat reshape squeeze std sum swapaxes take transpose var view"""


class FakeCupy:
    """What stands for the module: NumPy's functions, with fake arrays as results."""

    ndarray = FakeArray
    cuda = types.SimpleNamespace(
        Device=GPU,
        Stream=Stream,
        get_current_stream=Stream,
        MemoryPool=Pool,
        using_allocator=contextlib.nullcontext,
        runtime=types.SimpleNamespace(
            getDevice=lambda: GPU.current,
            setDevice=lambda number: setattr(GPU, "current", number),
            memGetInfo=lambda: (70_000_000_000, 80_000_000_000),
        ),
    )
    get_default_memory_pool = Pool

    @staticmethod
    def asnumpy(a):
        forbidden("a copy to the host")
        return a.values

    @staticmethod
    def asarray(a):
        if not isinstance(a, FakeArray):
            forbidden("a copy from the host")
            return FakeArray(np.asarray(a))
        return a if a.device.id == GPU.current else FakeArray(a.values.copy())

    def __getattr__(self, name):
        function = getattr(np, name)
        return lambda *a, **k: called(function, a, k)


def segment_sum(values, order, starts, width, out, size):
    """What the CUDA kernel of `minigrad.indices.segment_sum` computes."""
    if Stream.notes is not None:
        soon(lambda: segment_sum(values, order, starts, width, out, size))
        return
    rows, bounds = values.values.reshape(-1, width)[order.values], starts.values
    flat = out.values.reshape(-1, width)
    for i in range(size // width):
        flat[i] += rows[bounds[i] : bounds[i + 1]].sum(axis=0)


def scanned_sum(values, rows, length, count, width, out, size):
    """What the CUDA kernel of `minigrad.indices.scanned_sum` computes."""
    if Stream.notes is not None:
        soon(lambda: scanned_sum(values, rows, length, count, width, out, size))
        return
    flat, v = out.values.reshape(count, width), values.values.reshape(-1, width)
    for place in range(count):
        flat[place] += v[rows.values.reshape(-1) % count == place].sum(axis=0)


def first_outside(ids, low, high, ignored, place, size):
    """What the CUDA kernel of `minigrad.indices.first_outside` computes."""
    forbidden("a check of ids, for which the host would have to wait")
    for value in ids.values.reshape(-1):
        if not low <= value <= high and value != ignored:
            place.values[0] = value


def install(monkeypatch):
    """Let `minigrad.device` take fake arrays for arrays on GPUs, of which there are two."""
    module, known = FakeCupy(), devices.is_array
    monkeypatch.setattr(devices, "is_array", lambda a: isinstance(a, FakeArray) or known(a))
    monkeypatch.setattr(GPU, "current", 0)
    monkeypatch.setattr(devices, "namespace", lambda a: module if isinstance(a, FakeArray) else np)
    monkeypatch.setattr(devices, "cupy", lambda: module)
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    monkeypatch.setattr(devices, "CHECKS", {})
    for kernel in (segment_sum, scanned_sum, first_outside):
        monkeypatch.setattr(indices, kernel.__name__, lambda kernel=kernel: kernel)
    special = types.SimpleNamespace(erf=of_each(math.erf), erfc=of_each(math.erfc))
    for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.special"):
        monkeypatch.setitem(sys.modules, name, special)
    special.scipy = special.special = special


def of_each(function):
    """A function as `cupyx.scipy.special` has it, with loops for float32 and float64 alone."""
    exact = np.vectorize(function, otypes=[np.float64])

    def of_array(a):
        dtype = np.float64 if a.dtype == np.float64 else np.float32
        return FakeArray(exact(a.values).astype(dtype))

    return of_array


def install_kernels(monkeypatch):
    """`install`, and the GPU kernels on the memory of fake arrays, in Triton's interpreter."""
    import test_products

    import kernels.cuda
    from kernels.cuda import adamw, products
    from kernels.cuda.launch import launch
    from minigrad.kernel import Declined

    install(monkeypatch)

    def on_host(fn, grid, args, constants, **how):
        assert not any(isinstance(a, np.ndarray) for a in args)
        given = [a.values if isinstance(a, FakeArray) else a for a in args]
        soon(lambda: launch(fn, grid, given, constants, **how))

    def unfit(*arrays, dtypes=("float32", "float16", "bfloat16")):
        for a in arrays:
            if isinstance(a, np.ndarray):
                return Declined("not on the GPU")
            if a is not None and a.dtype.name not in dtypes:
                return Declined(a.dtype.name)
        return None

    class Library(test_products.Library):
        run = staticmethod(soon)

    for module in vars(kernels.cuda).values():
        if hasattr(module, "launch") and module is not kernels.cuda.launch:
            monkeypatch.setattr(module, "launch", on_host)
        if hasattr(module, "unfit"):
            monkeypatch.setattr(module, "unfit", unfit)
    monkeypatch.setattr(products, "cublas", Library)
    for module in (adamw, products):
        name = "address_of" if module is adamw else "address"
        monkeypatch.setattr(module, name, lambda a: a.values.ctypes.data)
    monkeypatch.setattr(adamw, "blocks_of", functools.cache(adamw.blocks_of.__wrapped__))
