"""What holds for every op: the dtype of its arguments and results, and the text of its errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import DEFAULT_DTYPE
from minigrad.tensor import Tensor, raw, retold

FLOAT64 = np.dtype(np.float64)


def same_dtype(args: tuple[Any, ...], arrays: list[Any]) -> list[Any]:
    """Arrays for a broadcasting op: scalars and integers take the dtype of the tensors.

    Booleans stay, for they are masks. Two floating dtypes among tensors are a TypeError.
    """
    tensors = [a for a in args if isinstance(a, Tensor)]
    found = {t.dtype for t in tensors if t.dtype.kind == "f"}
    if len(found) > 1:
        names = " and ".join(sorted(str(d) for d in found))
        raise TypeError(f"{names} tensors do not mix; convert one with .astype()")
    numbers = [
        a.item() if is_scalar(a) and not isinstance(given, Tensor) else a
        for given, a in zip(args, arrays, strict=True)
    ]
    numbers = [np.asarray(a) if isinstance(a, (list, tuple)) else a for a in numbers]
    floating = any(isinstance(a, float) or is_floating(a) for a in numbers)
    if not found and not (tensors and floating):
        return numbers
    dtype = found.pop() if found else DEFAULT_DTYPE
    return [
        a.astype(dtype) if devices.is_array(a) and a.dtype != dtype and a.dtype.kind != "b" else a
        for a in numbers
    ]


def is_scalar(a: Any) -> bool:
    """A NumPy scalar or 0-d array, which counts as a Python number."""
    return isinstance(a, np.generic) or (isinstance(a, np.ndarray) and a.ndim == 0)


def is_floating(a: Any) -> bool:
    return devices.is_array(a) and a.dtype.kind == "f"


def tidy(this: Any, y: Any, arrays: list[Any]) -> Any:
    """An output as an array in the dtype that the inputs ask for: integers alone give float32.

    RuntimeError if arrays are on several devices, or not on the current GPU: CuPy copies indices of
    the host at every use, and where it can reach another GPU's array it computes on the wrong one.
    """
    if isinstance(y, (np.generic, float, int)):
        y = np.asarray(y)
    if isinstance(y, Tensor):
        raise TypeError("its body was given tensors in a list; give them one by one: f(*tensors)")
    on_gpu = not isinstance(y, np.ndarray) and not this.moves
    if on_gpu and (problem := devices.elsewhere(arrays)):
        raise RuntimeError(problem)
    floats = {a.dtype for a in arrays if devices.is_array(a) and a.dtype.kind == "f"}
    if len(floats) > 1:
        names = " and ".join(sorted(str(d) for d in floats))
        raise TypeError(f"{names} do not mix; convert one with .astype()")
    if y.dtype.kind != "f" or y.dtype in floats or this.casts:
        return y
    if floats:
        raise TypeError(f"its body made {y.dtype} of {floats.pop()}: is a constant a NumPy scalar?")
    return y.astype(DEFAULT_DTYPE) if y.dtype == FLOAT64 else y


def explained(error: Exception, this: Any, args: Any, kwargs: Any) -> Exception:
    """The same kind of error, naming the op, each argument with shape and dtype, and the reason."""
    parameters = inspect.signature(this.body).parameters.values()
    names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    described: list[str] = []
    found: set[str] = set()
    for i, a in enumerate(args):
        name = names[min(i, len(names) - 1)]
        if isinstance(a, Tensor) or devices.is_array(a):
            where = devices.of(raw(a))
            found.add(where)
            described.append(f"{name} {tuple(a.shape)} {a.dtype}" + f" {where}" * (where != "cpu"))
        else:
            described.append(f"{name}={a!r}"[:60])
    described += [f"{k}={v!r}"[:60] for k, v in kwargs.items() if not isinstance(v, Tensor)]
    reason = str(error)
    if isinstance(error, AttributeError):  # a list, say, where the body wants an array
        lists = [a for a in kwargs.values() if isinstance(a, (list, tuple))]
        given = [type(a).__name__ for a in (*args, *lists) if not hasattr(a, "dtype")]
        error, reason = TypeError(), f"expected tensors or arrays, got {', '.join(given)}: {reason}"
    reason = devices.elsewhere(map(raw, args)) or reason
    for device in found:
        reason += devices.out_of_memory(error, device)
    return retold(error, f"{this.name}: {reason}  [{', '.join(described)}]")
