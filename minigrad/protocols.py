"""NumPy's functions on tensors: np.exp(t) is mg.exp(t).

A tensor implements `__array_ufunc__` and `__array_function__`; both end here. An op says which
NumPy functions call it (`@op(numpy=np.exp)`). That serves users, and it serves higher derivatives,
where the bodies of ops, which are written in NumPy, run on tensors.

A call has the arguments of the NumPy function, in its order and with its names. An argument that
the op lacks may be given with its default, as `out=None`; any other value is a TypeError.
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

NUMPY: dict[Any, Callable[..., Any]] = {}  # by NumPy function: what it calls for tensors
RENAMED = {"a_min": "min", "a_max": "max", "ddof": "correction"}  # NumPy's name, and ours
UFUNC = {"where": True, "casting": "same_kind", "order": "K", "dtype": None, "keepdims": False}


def numpy_op(function: Any) -> Callable[..., Any]:
    """The op that NumPy's `function` calls when it is given a tensor."""
    fn = NUMPY.get(function)
    if fn is None:
        raise TypeError(
            f"{name_of(function)} is not an op of minigrad, and a plain call would lose the "
            f"gradient. Use t.detach().numpy() if none is needed, or define the op with @mg.op."
        )
    return fn


def name_of(function: Any) -> str:
    """The full name of a NumPy function, such as np.exp or np.linalg.norm."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{function.__name__}"


# --- the form of a call ---------------------------------------------------------------------------
def answer_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The result of the op, for a call of one of NumPy's elementwise functions."""
    if method != "__call__":
        raise TypeError(f"{name_of(ufunc)}.{method} has no gradient rule for tensors")
    fn = numpy_op(ufunc)
    for name, value in options.items():
        if not is_default(name, value, UFUNC):
            raise unsupported(ufunc, name, value, parameters_of(fn))
    return fn(*inputs)


def answer(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of the op, for a call of any other NumPy function.

    NumPy has checked that the arguments fit its own function. Required arguments go to the op in
    their order, for the op may name them otherwise; optional ones go by name.
    """
    fn, form = numpy_op(function), parameters_of(function)
    kinds = [p.kind for p in form.values()]
    if not form or kinds[0] is inspect.Parameter.VAR_POSITIONAL:
        arguments, placed = kwargs, list(args)
    else:
        values = {**dict(zip(form, args, strict=False)), **kwargs}
        arguments, placed = {name: values[name] for name in (*form, *kwargs) if name in values}, []
    ours, named = parameters_of(fn), {}
    defaults = {name: p.default for name, p in form.items()}
    for name, value in arguments.items():
        our_name = RENAMED.get(name, name)
        parameter = ours.get(our_name)
        if name in form and form[name].kind is inspect.Parameter.POSITIONAL_ONLY:
            placed.append(value)
        elif parameter is not None and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            if our_name in named:
                raise TypeError(f"{name_of(function)}: {our_name} was given twice, as {name} too")
            named[our_name] = value
        elif parameter is not None or defaults.get(name) is inspect.Parameter.empty:
            placed.append(value)
        elif not is_default(name, value, defaults):
            raise unsupported(function, name, value, ours)
    return fn(*placed, **named)


@functools.cache
def parameters_of(function: Any) -> Mapping[str, inspect.Parameter]:
    """Parameters by name; none where an older NumPy has no signature."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return {}


def is_default(name: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    """Whether a value is the default. `subok` has no effect: tensors have no subclasses."""
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
    """Decorator: NumPy's functions call this plain function, which needs no gradient rule."""

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
    """`order` has no effect: tensors do not define their memory order."""
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
    """A tensor like t, with another dtype or shape if given."""
    dtype = None if dtype is None else dtype_of(dtype, make.__name__ + "_like")
    return type(t)(make(t.shape if shape is None else shape, t.data, dtype))
