"""NumPy's functions on tensors: np.exp(t) is mg.exp(t).

A tensor implements `__array_ufunc__` and `__array_function__`; both end here. An op says which
NumPy functions call it (`@op(numpy=np.exp)`). That serves users, and it serves higher derivatives,
where the bodies of ops, which are written in NumPy, run on tensors.

A call has the form that NumPy gives it, its order of arguments and their names. What of these the
op does not know may have its default, as `out=None`; any other value is a TypeError.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import dtype_of

NUMPY: dict[Any, Callable[..., Any]] = {}  # the NumPy function and what it calls
RENAMED = {"a_min": "min", "a_max": "max", "ddof": "correction"}  # NumPy's name, and ours
UFUNC = {"where": True, "casting": "same_kind", "order": "K", "dtype": None, "keepdims": False}


def numpy_op(function: Any) -> Callable[..., Any]:
    """The op that NumPy's `function` calls when it is given a tensor."""
    found = NUMPY.get(function)
    if found is None:
        raise TypeError(
            f"{name_of(function)} is not an op of minigrad, and a plain call would lose the "
            f"gradient. Use t.detach().numpy() if none is needed, or define the op with @mg.op."
        )
    return found


def name_of(function: Any) -> str:
    """np.exp or np.linalg.norm, say."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{function.__name__}"


# --- the form of a call ---------------------------------------------------------------------------
def answer_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What the op makes of a call of NumPy's elementwise functions."""
    if method != "__call__":
        raise TypeError(f"{name_of(ufunc)}.{method} has no gradient rule for tensors")
    fn = numpy_op(ufunc)
    for name, value in options.items():
        if not is_default(name, value, UFUNC):
            raise unsupported(ufunc, name, value, parameters_of(fn))
    return fn(*inputs)


def answer(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the op makes of a call of another function of NumPy.

    NumPy has seen to it that the arguments fit its own form. Those that must be given go to the op
    in their order, for it may call them otherwise; all others go by name.
    """
    fn, form = numpy_op(function), parameters_of(function)
    kinds = [p.kind for p in form.values()]
    if not form or kinds[0] is inspect.Parameter.VAR_POSITIONAL:
        given, placed = kwargs, list(args)
    else:
        found = {**dict(zip(form, args, strict=False)), **kwargs}
        given, placed = {name: found[name] for name in (*form, *kwargs) if name in found}, []
    ours, named = parameters_of(fn), {}
    defaults = {name: p.default for name, p in form.items()}
    for name, value in given.items():
        own = RENAMED.get(name, name)
        parameter = ours.get(own)
        if name in form and form[name].kind is inspect.Parameter.POSITIONAL_ONLY:
            placed.append(value)
        elif parameter is not None and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            if own in named:
                raise TypeError(f"{name_of(function)}: {own} was given twice, as {name} too")
            named[own] = value
        elif parameter is not None or defaults.get(name) is inspect.Parameter.empty:
            placed.append(value)
        elif not is_default(name, value, defaults):
            raise unsupported(function, name, value, ours)
    return fn(*placed, **named)


@functools.cache
def parameters_of(function: Any) -> Mapping[str, inspect.Parameter]:
    """By name; none where older versions of NumPy do not tell."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return {}


def is_default(name: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    """Whether a value says what is so anyway. Of tensors there are no subclasses."""
    if name == "subok" or value is None or (name == "where" and value is True):
        return True
    default = defaults.get(name)
    return value is default or (isinstance(value, (str, int)) and value == default)


def unsupported(function: Any, name: str, value: Any, ours: Mapping[str, Any]) -> TypeError:
    value = value[0] if name == "out" and type(value) is tuple else value
    arrays = hasattr(value, "__array__") and not isinstance(value, type)
    got = f"{value.dtype} {value.shape}" if arrays else repr(value)[:60]
    return TypeError(
        f"{name_of(function)}: no gradient rule for {name}={got}; of a tensor it takes "
        f"({', '.join(ours)})"
    )


# --- functions without a gradient rule of their own -----------------------------------------------
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
def _size(t: Any, axis: Any = None) -> int:
    axes = axis if isinstance(axis, tuple) else (axis,)
    return t.size if axis is None else math.prod(t.shape[i] for i in axes)


@answers(np.copy)
def _copy(t: Any, order: str = "K") -> Any:
    """The order in memory is no matter of a tensor."""
    return t.clone()


@answers(np.zeros_like)
def _zeros_like(t: Any, dtype: Any = None, order: str = "K", shape: Any = None) -> Any:
    return like(devices.zeros, t, dtype, shape)


@answers(np.ones_like)
def _ones_like(t: Any, dtype: Any = None, order: str = "K", shape: Any = None) -> Any:
    return like(devices.ones, t, dtype, shape)


@answers(np.empty_like)
def _empty_like(t: Any, dtype: Any = None, order: str = "K", shape: Any = None) -> Any:
    return like(devices.empty, t, dtype, shape)


def like(make: Callable[..., Any], t: Any, dtype: Any, shape: Any) -> Any:
    """A tensor as t is, where dtype and shape do not say otherwise."""
    dtype = None if dtype is None else dtype_of(dtype, make.__name__ + "_like")
    return type(t)(make(t.shape if shape is None else shape, t.data, dtype))
