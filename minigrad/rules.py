"""Rules for the arguments and results of every op: positions, dtypes, devices."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import DEFAULT_DTYPE
from minigrad.modes import MODE, OFF
from minigrad.tensor import Tensor, array_of, carries_gradient, raw

FLOAT64 = np.dtype(np.float64)
MISSING = inspect.Parameter.empty
PLAIN = frozenset((float, int, bool, str, type(None)))  # arguments that are used as they are


def positional(
    this: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Keyword arguments moved to their positions, for gradients and conversions go by position.

    Keyword-only arguments reach the body as copies, for the user may write to the arrays later.
    TypeError for one that carries a gradient; the call of the body reports all other mistakes.
    """
    moved = list(args)
    for name, default in this.places[len(args) :]:
        if not kwargs or (name not in kwargs and default is MISSING):
            break
        moved.append(kwargs.pop(name, default))
    for name, a in kwargs.items():
        check_constant(this.name, name, a)
        kwargs[name] = owned(raw(a))
    return tuple(moved), kwargs


def check_constant(function: str, name: str, a: Any) -> None:
    """TypeError for an argument that carries a gradient to a function that has none for it."""
    if carries_gradient(a) and MODE.get() != OFF:
        raise TypeError(
            f"{function}: {name} carries a gradient, which would be lost; use {name}.detach()"
        )


def unwrapped(args: tuple[Any, ...]) -> tuple[list[Any], list[Any], Any]:
    """The arrays and the nodes of arguments, and the dtype of all tensors among them.

    The dtype is None unless all tensors have the same one and all other arguments are plain values.
    In that usual case the body can be given the arrays as they are.
    """
    arrays: list[Any] = []
    nodes: list[Any] = []
    dtype, usual = None, True
    for a in args:
        if isinstance(a, Tensor):
            arrays.append(a.data)
            nodes.append(a.node)
            if a.data.dtype is not dtype:
                usual = usual and dtype is None
                dtype = a.data.dtype
        else:
            arrays.append(a)
            nodes.append(None)
            usual = usual and (a.__class__ in PLAIN or is_shape(a))
    return arrays, nodes, dtype if usual else None


def is_shape(a: Any) -> bool:
    """Whether it is a tuple of numbers, such as a shape or axes."""
    return a.__class__ is tuple and {*map(type, a)} <= {int}


def fitted(args: tuple[Any, ...], kept: bool, broadcast: bool) -> tuple[tuple[Any, ...], list[Any]]:
    """The arguments with the user's arrays prepared, and the arrays that the body gets.

    kept:      whether a pullback may keep the arrays of the user, who may write to them later.
    broadcast: whether the op broadcasts its arguments; see `same_dtype`.
    """
    args = tuple(a if isinstance(a, Tensor) else owned(a, copy=kept) for a in args)
    arrays = [a.data if isinstance(a, Tensor) else a for a in args]
    return args, same_dtype(args, arrays) if broadcast else arrays


def owned(a: Any, *, copy: bool = True) -> Any:
    """A copy of the user's array, in NumPy's or CuPy's own class; also of arrays in an index."""
    if devices.is_array(a):
        return array_of(a).copy() if copy else array_of(a)
    return tuple(owned(item, copy=copy) for item in a) if type(a) is tuple else a


def same_dtype(args: tuple[Any, ...], arrays: list[Any]) -> list[Any]:
    """Arrays for a broadcasting op: scalars and integers take the dtype of the tensors.

    Booleans stay, for they are masks. Two floating dtypes among tensors are a TypeError.
    """
    tensors = [a for a in args if isinstance(a, Tensor)]
    floats = floating_dtypes((t.dtype for t in tensors), " tensors")
    numbers = [
        a.item() if is_scalar(a) and not isinstance(argument, Tensor) else a
        for argument, a in zip(args, arrays, strict=True)
    ]
    numbers = [np.asarray(a) if isinstance(a, (list, tuple)) else a for a in numbers]
    floating = any(isinstance(a, float) or is_floating(a) for a in numbers)
    if not floats and not (tensors and floating):
        return numbers
    dtype = floats.pop() if floats else DEFAULT_DTYPE
    return [
        a.astype(dtype) if devices.is_array(a) and a.dtype != dtype and a.dtype.kind != "b" else a
        for a in numbers
    ]


def floating_dtypes(dtypes: Iterable[np.dtype[Any]], kind: str = "") -> set[np.dtype[Any]]:
    """The floating one among dtypes, if there is any. TypeError for two: they do not mix."""
    floats = {dtype for dtype in dtypes if dtype.kind == "f"}
    if len(floats) > 1:
        names = " and ".join(sorted(str(d) for d in floats))
        raise TypeError(f"{names}{kind} do not mix; convert one with .astype()")
    return floats


def is_scalar(a: Any) -> bool:
    """A NumPy scalar or 0-d array, which counts as a Python number."""
    return isinstance(a, np.generic) or (isinstance(a, np.ndarray) and a.ndim == 0)


def is_floating(a: Any) -> bool:
    return devices.is_array(a) and a.dtype.kind == "f"


def tidy(this: Any, y: Any, arrays: list[Any]) -> Any:
    """An output, or several, as arrays in the dtype of the floating inputs.

    If all inputs are integers, float64 becomes float32.

    RuntimeError if arrays are on several devices, or not on the current GPU: CuPy copies indices of
    the host at every use, and where it can reach another GPU's array it computes on the wrong one.
    """
    if type(y) is tuple:
        return tuple(tidy(this, item, arrays) for item in y)
    if isinstance(y, (np.generic, float, int)):
        y = np.asarray(y)
    if isinstance(y, Tensor):
        raise TypeError("its body was given tensors in a list; give them one by one: f(*tensors)")
    on_gpu = not isinstance(y, np.ndarray) and not this.moves
    if on_gpu and (problem := devices.elsewhere(arrays)):
        raise RuntimeError(problem)
    floats = floating_dtypes(a.dtype for a in arrays if devices.is_array(a))
    if y.dtype.kind != "f" or y.dtype in floats or this.casts:
        return y
    if floats:
        raise TypeError(f"its body made {y.dtype} of {floats.pop()}: is a constant a NumPy scalar?")
    return y.astype(DEFAULT_DTYPE) if y.dtype == FLOAT64 else y
