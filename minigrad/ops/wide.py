"""Ops whose numbers need a wider type than that of their arguments.

NumPy adds up float16 in float16 along every axis but the last, so that 5,000 ones make 2,048, where
one more is half a unit in the last place; the square of 300 is beyond float16. It squares int8 in
int8, where 100² is 16, and takes its exponential in float16, where e¹² is infinite.

    @op
    @wide
    def f(x: Array) -> Result: ...

The body then gets float16 as float32, and its value and gradients are rounded to float16 once. It
gets integers and booleans as numbers of the other arguments' floating type, or of float64 if there
are integers alone: the op makes that float32 at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def wide(body: Callable[..., Any], *, integers: bool = True) -> Callable[..., Any]:
    """The body in a wider type, see above.

    integers: whether the first array among the arguments is converted if it is of integers. Later
              ones stay, for they may be class ids or masks.
    """

    @functools.wraps(body)
    def widened(*args: Any, **kwargs: Any) -> Any:
        first = getattr(args[0], "dtype", None) if args else None
        if first is SINGLE or first is DOUBLE:
            return body(*args, **kwargs)
        dtypes = [a.dtype for a in args if hasattr(a, "dtype")]
        if HALF in dtypes:
            y, pull = body(*map(widen, args), **kwargs)
            several = type(pull) is tuple
            return narrow(y), tuple(map(rounded, pull)) if several else rounded(pull)
        if integers and dtypes and dtypes[0].kind in "biu":
            place = next(i for i, a in enumerate(args) if hasattr(a, "dtype"))
            dtype = next((d for d in dtypes if d.kind == "f"), DOUBLE)
            args = (*args[:place], args[place].astype(dtype), *args[place + 1 :])
        return body(*args, **kwargs)

    return widened


sums = functools.partial(wide, integers=False)  # for ops that keep integers what they are


def widen(a: Any) -> Any:
    """float16 as float32, also within a tuple; all else as it is."""
    if type(a) is tuple:
        return tuple(map(widen, a))
    return a.astype(SINGLE) if getattr(a, "dtype", None) == HALF else a


def narrow(a: Any) -> Any:
    """float32 as float16, also within a tuple; infinite where that has no such number."""
    if type(a) is tuple:
        return tuple(map(narrow, a))
    with np.errstate(over="ignore"):
        return a.astype(HALF) if getattr(a, "dtype", None) == SINGLE else a


def rounded(pull: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """The pullback with float32 inside."""
    return None if pull is None else lambda g: narrow(pull(widen(g)))
