"""Arrays that behave as CuPy's do where it matters, without a GPU.

They follow NumPy's protocols, refuse to become NumPy arrays by themselves, refuse to meet NumPy
arrays in one call, and their reductions give 0-d arrays and no scalars. An op that passes here
has no hidden step through the host; that CuPy has each function, and its speed, are not shown.
"""

from __future__ import annotations

import contextlib
import math
import sys
import types

import numpy as np

from minigrad import device as devices


class HostArrayError(TypeError):
    """A NumPy array where CuPy would refuse it."""


def to_host(a):
    """The fake arrays in an argument list as NumPy arrays; HostArrayError for NumPy arrays."""
    if isinstance(a, FakeArray):
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

    def __array__(self, *args, **kwargs):
        raise HostArrayError("implicit conversion to a NumPy array")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        out = kwargs.get("out")
        result = getattr(ufunc, method)(*to_host(inputs), **to_host(kwargs))
        return out[0] if out else to_device(result)

    def __array_function__(self, func, kinds, args, kwargs):
        out = kwargs.get("out")
        result = func(*to_host(args), **to_host(kwargs))
        return out if out is not None else to_device(result)

    def __getitem__(self, index):
        return to_device(self.values[to_host(index)])

    def __setitem__(self, index, value):
        self.values[to_host(index)] = to_host(value)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return (to_device(item) for item in self.values)

    def __bool__(self):
        return bool(self.values)

    def __float__(self):
        return float(self.values)

    def __int__(self):
        return int(self.values)

    def __index__(self):
        return self.values.__index__()

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
            "nbytes",
            "flags",
            "item",
            "tolist",
        ):
            return getattr(self.values, name)
        if name in METHODS.split():
            method = getattr(self.values, name)
            return lambda *a, **k: to_device(method(*to_host(a), **to_host(k)))
        raise AttributeError(name)


METHODS = """all any argmax argmin argsort astype copy cumsum diagonal flatten max mean min nonzero
prod ravel repeat reshape squeeze std sum swapaxes take transpose var view"""


class FakeCupy:
    """What stands for the module: NumPy's functions, with fake arrays as results."""

    ndarray = FakeArray
    cuda = types.SimpleNamespace(
        Device=contextlib.nullcontext,
        get_current_stream=lambda: types.SimpleNamespace(is_capturing=lambda: False),
    )
    asnumpy = staticmethod(lambda a: a.values)
    asarray = staticmethod(lambda a: a if isinstance(a, FakeArray) else FakeArray(np.asarray(a)))

    def __getattr__(self, name):
        function = getattr(np, name)
        return lambda *a, **k: to_device(function(*to_host(a), **to_host(k)))


def segment_sum(values, order, starts, width, out, size):
    """What the CUDA kernel of `minigrad.device.segment_sum` computes."""
    rows, bounds = values.values.reshape(-1, width)[order.values], starts.values
    flat = out.values.reshape(-1, width)
    for i in range(size // width):
        flat[i] += rows[bounds[i] : bounds[i + 1]].sum(axis=0)


def install(monkeypatch):
    """Let `minigrad.device` take fake arrays for arrays on cuda:0."""
    module, known = FakeCupy(), devices.is_array
    monkeypatch.setattr(devices, "is_array", lambda a: isinstance(a, FakeArray) or known(a))
    monkeypatch.setattr(devices, "of", lambda a: "cuda:0" if isinstance(a, FakeArray) else "cpu")
    monkeypatch.setattr(devices, "namespace", lambda a: module if isinstance(a, FakeArray) else np)
    monkeypatch.setattr(devices, "cupy", lambda: module)
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    monkeypatch.setattr(devices, "segment_sum", lambda: segment_sum)
    exact = np.vectorize(math.erf, otypes=[np.float64])
    erf = types.SimpleNamespace(erf=lambda a: FakeArray(exact(a.values).astype(a.dtype)))
    for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.special"):
        monkeypatch.setitem(sys.modules, name, erf)
    erf.scipy = erf.special = erf
