"""NumPy's functions on tensors: np.exp(t) is mg.exp(t).

A tensor implements `__array_ufunc__` and `__array_function__`; both end here. An op says which
NumPy functions call it (`@op(numpy=np.exp)`). That serves users, and it serves higher derivatives,
where the bodies of ops, which are written in NumPy, run on tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import device as devices

NUMPY: dict[Any, Callable[..., Any]] = {}  # the NumPy function and what it calls


def numpy_op(function: Any) -> Callable[..., Any]:
    """The op that NumPy's `function` calls when it is given a tensor."""
    found = NUMPY.get(function)
    if found is None:
        raise TypeError(
            f"np.{function.__name__} is not an op of minigrad, and a plain call would lose the "
            f"gradient. Use t.detach().numpy() if none is needed, or define the op with @mg.op."
        )
    return found


def answers(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a plain function answer NumPy's, for those that need no gradient rule of their own."""

    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            NUMPY[function] = fn
        return fn

    return register


@answers(np.shape)
def _shape(t: Any) -> tuple[int, ...]:
    return t.shape


@answers(np.ndim)
def _ndim(t: Any) -> int:
    return t.ndim


@answers(np.size)
def _size(t: Any) -> int:
    return t.size


@answers(np.zeros_like)
def _zeros_like(t: Any, dtype: Any = None, shape: Any = None) -> Any:
    return type(t)(devices.zeros(t.shape if shape is None else shape, t.data, dtype))


@answers(np.ones_like)
def _ones_like(t: Any, dtype: Any = None, shape: Any = None) -> Any:
    return type(t)(devices.ones(t.shape if shape is None else shape, t.data, dtype))


@answers(np.empty_like)
def _empty_like(t: Any, dtype: Any = None, shape: Any = None) -> Any:
    return type(t)(devices.empty(t.shape if shape is None else shape, t.data, dtype))
