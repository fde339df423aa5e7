"""Arrays that behave as CuPy's where these differ from NumPy's, without a GPU.

They follow NumPy's protocols, and have the limits of CuPy's arrays:

- They do not become NumPy arrays by themselves, so functions of NumPy that do not ask their
  arguments, as `np.ascontiguousarray`, refuse them; and they meet no NumPy array in a call.
- Only indices may come from the host. CuPy copies them without a word; `INDEX_COPIES` has them.
- Arrays of indices wrap around at the end of an axis, and nothing says so.
- Reductions give arrays without axes, no scalars, and take no `initial`.
- What is computed lies in C order, however its arguments lie (CuPy's einsum, and its argsort of
  another axis than the last, may choose another order).
- In `*_like`, where CuPy takes `shape=()` for none given, it is refused.
- Only an array without axes becomes a number, and none is an index of a list.
- Every call fits the signature of CuPy's function, where CuPy is installed (`cupy_signatures`).
- A recording takes no copy to the host or from it, nothing that waits for the GPU, and no product
  of CuPy's, which cuBLAS makes (`fake_cuda`).

An op that passes here has no hidden step through the host. That CuPy computes the same, and its
speed, are not shown.
"""

from __future__ import annotations

import types
from functools import partial

import numpy as np
from cupy_signatures import fit, path_of
from fake_cuda import (
    GPU,
    CaptureUnsupportedError,
    LentMemoryError,
    Stream,
    allocate,
    forbid,
    soon,
)

INDEX_COPIES = []  # the shapes of indices that came from the host


class HostArrayError(TypeError):
    """A NumPy array where CuPy would refuse it."""


# --- what CuPy 14 refuses -------------------------------------------------------------------------
READ_BACK = """argpartition argwhere bincount compress delete extract flatnonzero nanmax nanmin
nonzero unique"""
JOINED = 8  # arrays at most, or CuPy copies a list of their addresses to the GPU


def check(name, args, kwargs):
    """Raise for what CuPy's function of this name does not take, or not while recording."""
    if kwargs.keys() & {"initial", "where"}:
        raise TypeError(f"{name} of CuPy has not all of {[*kwargs]}")
    if name.endswith("_like") and not kwargs.get("shape", [1]) and kwargs["shape"] is not None:
        raise TypeError(f"{name}: CuPy takes shape={kwargs['shape']} for no shape")
    if name == "where" and not isinstance(args[0], FakeArray):
        raise TypeError(f"where: CuPy wants an array as condition, got {args[0]!r}")
    if Stream.current.recording is None:
        return
    if name in READ_BACK.split() or (name == "where" and len(args) == 1):
        forbid(f"{name} reads back how many there are")
    if name in ("concatenate", "stack") and len(args[0]) > JOINED:
        forbid(f"{name} of {len(args[0])} arrays copies their addresses from the host")
    if name == "einsum" and multiplies_and_sums(args[0]) and by_cublas(*args[1:]):
        raise CaptureUnsupportedError("einsum: CuPy calls no cuBLAS while a stream is capturing")
    if name in ("dot", "inner", "matmul", "tensordot") and by_cublas(*args[:2]):
        raise CaptureUnsupportedError(f"{name}: CuPy calls no cuBLAS while a stream is capturing")


def by_cublas(*arrays):
    """Whether CuPy leaves a product to cuBLAS: not of integers, of nothing, or to one number."""
    floating = np.result_type(*(a.dtype for a in arrays)).kind == "f"
    return floating and all(a.size for a in arrays) and max(a.ndim for a in arrays) > 1


def multiplies_and_sums(subscripts):
    """Whether a letter that several operands have is missing in the result."""
    terms, _, result = subscripts.replace(" ", "").partition("->")
    letters = {c for term in terms.split(",") for c in term if c.isalpha()}
    return any(sum(c in term for term in terms.split(",")) > 1 for c in letters - {*result})


# --- one call -------------------------------------------------------------------------------------
WRITING = {"copyto", "fill", "put_along_axis"}
# functions whose result may lie as their argument does
KEEPING = {"astype", "copy", "empty_like", "full_like", "ones_like", "view", "zeros_like"}


def called(func, args, kwargs):
    """func on the values of fake arrays, as fake arrays; while recording also noted."""
    name, out = func.__name__, kwargs.get("out")
    check(name, args, kwargs)
    if name in INDEXING:
        func, args = INDEXING[name], (args[0], on_device(args[1]), *args[2:])
    run = partial(func, *to_host(args), **to_host(kwargs))
    fakes = [a for a in (*args, *kwargs.values()) if isinstance(a, FakeArray)]
    if out is not None or name in WRITING:
        soon(run)
        return out
    with np.errstate(all="ignore"):  # a GPU does not warn; and these may be no numbers yet
        result = to_device(run(), fakes, keep=name in KEEPING)
    places = [a.values if new(a) else None for a in each(result)]

    def launch():
        for place, values in zip(places, each(run()), strict=True):
            if place is not None:
                np.copyto(place, values)

    launched = name not in ("empty", "empty_like") and any(p is not None for p in places)
    if launched and Stream.current.recording is not None:
        soon(launch)
    return result


def each(result):
    """What a function returned, one by one."""
    return result if isinstance(result, (tuple, list)) else (result,)


def new(a):
    """Whether it is a fake array with memory of its own."""
    return isinstance(a, FakeArray) and a.owner is None


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


def to_device(a, fakes=(), keep=False):
    """NumPy's results as fake arrays: views of what they share memory with, the rest in C order."""
    if isinstance(a, (tuple, list)):
        return type(a)(to_device(item, fakes, keep) for item in a)
    if not isinstance(a, (np.ndarray, np.generic)):
        return a
    a = np.asarray(a)
    for fake in fakes:
        if np.may_share_memory(a, fake.values):
            return FakeArray(a, fake if fake.owner is None else fake.owner)
    return FakeArray(a if keep else np.asarray(a, order="C"))


# --- indices --------------------------------------------------------------------------------------
def on_device(index):
    """An index with its NumPy arrays and lists as fake arrays, copies that CuPy makes unasked."""
    if isinstance(index, tuple):
        return tuple(map(on_device, index))
    if isinstance(index, (list, np.ndarray)):
        forbid("a copy of an index from the host")
        index = FakeArray(np.array(index))
        INDEX_COPIES.append(index.shape)
    if isinstance(index, FakeArray) and index.dtype == np.bool_:
        forbid("an index of booleans reads back how many are true")
    return index


def wrapped(index, shape):
    """A NumPy index as CuPy reads it: integers in arrays wrap around at the end of their axis."""
    items = index if isinstance(index, tuple) else (index,)
    axes = [i.ndim if getattr(i, "dtype", None) == np.bool_ else i is not None for i in items]
    skipped = len(shape) - sum(n for n, i in zip(axes, items, strict=True) if i is not ...)
    found, axis = [], 0
    for n, item in zip(axes, items, strict=True):
        size = shape[axis] if axis < len(shape) else 0
        if isinstance(item, np.ndarray) and item.dtype.kind in "iu" and size:
            item = item % size
        found.append(item)
        axis += skipped if item is ... else n
    return tuple(found)


def item(values, index):
    """values[index], a single element too as a view."""
    index = wrapped(index, values.shape)
    found = values[index]
    return found if isinstance(found, np.ndarray) else values[(*index, ...)]


def take(values, index, axis=None):
    return np.take(values, index, axis, mode="wrap")


def take_along_axis(values, index, axis):
    return np.take_along_axis(values, index % (values.shape[axis] or 1), axis)


def put_along_axis(values, index, new, axis):
    np.put_along_axis(values, index % (values.shape[axis] or 1), new, axis)


INDEXING = {f.__name__: f for f in (item, take, take_along_axis, put_along_axis)}


# --- arrays ---------------------------------------------------------------------------------------
ATTRIBUTES = "T base data device dtype flags itemsize nbytes ndim shape size strides"
METHODS = """all any argmax argmin argsort astype copy cumsum diagonal fill flatten max mean min
nonzero prod ravel repeat reshape squeeze std sum swapaxes take transpose var view"""
NUMBERS = (bool, int, float, complex, np.generic)


class FakeArray(np.lib.mixins.NDArrayOperatorsMixin):
    """See the module's text.

    values: the numbers, in host memory.
    owner:  of a view, the array that has the memory.
    """

    __hash__ = None

    def __init__(self, values, owner=None):
        self.values = values
        self.owner = owner
        self.device = GPU() if owner is None else owner.device
        self.lent = allocate(self) if owner is None else owner.lent

    def __array__(self, *args, **kwargs):
        raise HostArrayError("implicit conversion to a NumPy array")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        for x in (*inputs, kwargs.get("out", self)):
            if not isinstance(x, (FakeArray, np.ndarray, *NUMBERS)):
                return NotImplemented
        if method != "__call__":  # CuPy has them for some functions
            return NotImplemented
        fit(ufunc.__name__, inputs, kwargs)
        return called(ufunc, inputs, kwargs)

    def __array_function__(self, func, kinds, args, kwargs):
        if not {*kinds} <= {FakeArray, np.ndarray}:  # a Tensor's turn
            return NotImplemented
        fit(path_of(func), args, kwargs)
        return called(func, args, kwargs)

    def __getitem__(self, index):
        return called(item, (self, index), {})

    def __setitem__(self, index, value):
        if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim):
            raise HostArrayError(f"{type(value).__name__} written to an array on the GPU")
        place, index = to_host(self), to_host(on_device(index))
        value = to_host(value) if isinstance(value, FakeArray) else value

        def write():
            place[wrapped(index, place.shape)] = value

        soon(write)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        forbid("bool()")
        return bool(self.values)

    def __float__(self):
        return float(self.number())

    def __int__(self):
        return int(self.number())

    def number(self):
        """The one number of an array without axes."""
        if self.ndim:
            raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
        return self.item()

    def item(self):
        forbid("item()")
        return self.values.item()

    def tolist(self):
        forbid("tolist()")
        return self.values.tolist()

    def get(self, stream=None):
        forbid("get()")
        return self.values.copy()

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray) or (arr.shape, arr.dtype) != (self.shape, self.dtype):
            raise ValueError(f"{arr!r:.60} set to an array of {self.shape} {self.dtype}")
        if self.lent:
            raise LentMemoryError("a copy from the host to memory that a recording lends")
        forbid("a copy from the host", stream)
        self.values[...] = arr

    @property
    def base(self):
        return self.owner

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.values.ctypes.data, device_id=self.device.id)

    @property
    def flags(self):
        of = self.values.flags
        return types.SimpleNamespace(c_contiguous=of.c_contiguous, f_contiguous=of.f_contiguous)

    @property
    def T(self):
        return self.transpose()

    def __getattr__(self, name):
        if name in ATTRIBUTES.split():
            return getattr(self.values, name)
        if name not in METHODS.split():
            raise AttributeError(name)

        def method(*args, **kwargs):
            fit(f"ndarray.{name}", (self, *args), kwargs)
            return called(getattr(np.ndarray, name), (self, *args), kwargs)

        return method
