"""Ops whose numbers need a wider type than that of their arguments.

NumPy adds up float16 in float16 along every axis but the last, so that 5,000 ones make 2,048, where
one more is half a unit in the last place; the square of 300 is beyond float16. It squares int8 in
int8, where 100² is 16, and takes its exponential in float16, where e¹² is infinite.

    @op
    @wide
    def f(x: Array) -> Result: ...

The body then gets float16 as float32, and its value and gradients are rounded to float16 once. The
body gets integers and booleans in the floating type of the other arguments; if all are integers, in
float64, and the value is rounded to float32. `@double` computes float32 in float64, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def wide(
    body: Callable[..., Any], *, to: np.dtype[Any] = SINGLE, integers: bool = True
) -> Callable[..., Any]:
    """The body of an op, computed in a wider type: see the text at the top of this file.

    to:       the type that narrower ones are computed in.
    integers: whether the first array argument is converted if it has integers. Later arguments
              stay as they are, for they may be class ids or masks.
    """

    @functools.wraps(body)
    def widened(*args: Any, **kwargs: Any) -> Any:
        first = getattr(args[0], "dtype", None) if args else None
        if first is to or first is DOUBLE:
            return body(*args, **kwargs)
        dtypes = [a.dtype for a in args if hasattr(a, "dtype")]
        narrower = next((d for d in dtypes if d.kind == "f" and d.itemsize < to.itemsize), None)
        if narrower is not None:
            y, pull = body(*(converted(a, narrower, to) for a in args), **kwargs)
            several = type(pull) is tuple
            back = [rounded(p, narrower, to) for p in (pull if several else (pull,))]
            return converted(y, to, narrower), tuple(back) if several else back[0]
        if not integers:
            return body(*args, **kwargs)
        y, pull = body(*floating(args, DOUBLE), **kwargs)
        return (y if DOUBLE in dtypes else converted(y, DOUBLE, SINGLE)), pull

    return widened


sums = functools.partial(wide, integers=False)  # for ops that keep integers what they are
double = functools.partial(wide, to=DOUBLE)  # for squares that float32 does not hold


def rounded(pull: Any, narrower: np.dtype[Any], to: np.dtype[Any]) -> Any:
    """A pullback in type `to`, as one that takes and returns the narrower type."""
    if pull is None:
        return None
    return lambda g: converted(pull(converted(g, narrower, to)), to, narrower)


def wide_function(f: Callable[..., Any]) -> Callable[..., Any]:
    """Like `wide`, for a function composed of ops."""

    @functools.wraps(f)
    def widened(*args: Any, **kwargs: Any) -> Any:
        if HALF in [a.dtype for a in args if hasattr(a, "dtype")]:
            return narrow(f(*map(widen, args), **kwargs))
        return f(*floating(args, SINGLE), **kwargs)

    return widened


def floating(args: tuple[Any, ...], dtype: Any) -> tuple[Any, ...]:
    """The arguments, the first array in the type of a floating one, else in `dtype`, if integer."""
    place = next((i for i, a in enumerate(args) if hasattr(a, "dtype")), None)
    if place is None or args[place].dtype.kind == "f":
        return args
    types = (a.dtype for a in args if hasattr(a, "dtype") and a.dtype.kind == "f")
    return (*args[:place], args[place].astype(next(types, dtype)), *args[place + 1 :])


def widen(a: Any) -> Any:
    """float16 as float32, also within a tuple; other values unchanged."""
    return converted(a, HALF, SINGLE)


def narrow(a: Any) -> Any:
    """float32 as float16, also within a tuple; other values unchanged."""
    return converted(a, SINGLE, HALF)


def converted(a: Any, before: np.dtype[Any], after: np.dtype[Any]) -> Any:
    """Arrays of one dtype as another, also within a tuple; numbers too large become infinite."""
    if type(a) is tuple:
        return tuple(converted(item, before, after) for item in a)
    with np.errstate(over="ignore"):
        return a.astype(after) if hasattr(a, "dtype") and a.dtype == before else a
