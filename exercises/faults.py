"""Names for wrong numbers: what turns an answer into the right one says what the mistake was.

`sentence` compares an array with the right one. Most mistakes of docs/mistakes.md are among its
rules; those of one exercise only stand with the exercise.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np

from exercises.probes import Trace, same

Array = np.ndarray[Any, Any]


def of_trace(got: Trace, right: Trace) -> str | None:
    """What is wrong with a pullback as such, whatever it computes."""
    if got.changes_g and not right.changes_g:
        return (
            "the pullback changes the gradient that it is given, which other nodes may use too; "
            "write into an array of your own"
        )
    if not got.repeats:
        return (
            "called twice, the pullback gives two results: it changes an array that it has saved, "
            "or a saved array was changed before it was used"
        )
    ignores_g = any(same(got.numbers.get(name), ones) for name, ones in right.with_ones.items())
    if not got.linear and not ignores_g:
        return (
            "twice the incoming gradient does not give twice the result: is there a term without "
            "g, a square of it, or a division by it?"
        )
    return None


def of_gradient(name: str, got: Trace, right: Trace) -> str:
    """A sentence about one gradient that is not the right one."""
    g, wanted = np.asarray(got.numbers[name]), np.asarray(right.numbers[name])
    if same(g, np.zeros_like(g)):
        return "it is 0 everywhere"
    if same(g, right.with_ones[name]):
        return (
            "it does not depend on the incoming gradient: this is the result for a gradient of "
            "ones (g is missing)"
        )
    for other, array in right.numbers.items():
        if other != name and other.startswith("gradient") and same(g, array):
            return f"this is the {other}: two arguments are exchanged"
    for cotangent in right.cotangents:
        if same(g, cotangent):
            return "g is passed on as it is: the local derivative is missing"
        if g.shape == wanted.shape and cotangent.shape == g.shape:
            for value in right.values:
                if value.shape == g.shape and same(g * value, wanted):
                    return "a factor y is missing"
    return sentence(g, wanted, set().union(*(counts(c.shape) for c in right.cotangents)))


def counts(shape: tuple[int, ...]) -> set[int]:
    """How many elements a mean may be taken over: the sizes of neighbouring axes, multiplied."""
    ends = range(len(shape) + 1)
    return {math.prod(shape[i:j]) for j in ends for i in range(j)}


def sentence(got: Any, right: Any, sizes: set[int] | frozenset[int] = frozenset()) -> str:
    """What would turn an array into the right one, as a sentence; or where they differ.

    sizes: numbers over which a mean may have been taken.
    """
    if isinstance(got, str) or isinstance(right, str):
        return f"expected {right!r}, got {got!r}"
    if got is None:
        return "it is None: is there a return?"
    if isinstance(got, list | tuple):
        return f"expected an array or a number, got a {type(got).__name__}"
    got, right = np.asarray(got), np.asarray(right)
    if got.dtype.kind not in "fiub":
        return f"expected numbers, got {got.dtype}"
    if got.dtype != right.dtype and got.dtype.kind == right.dtype.kind == "f":
        return f"it is {got.dtype}, and everything else {right.dtype}"
    if got.shape != right.shape:
        return of_shape(got, right)
    if np.isnan(got).any() and not np.isnan(right).any():
        return f"it has NaN; {where_they_differ(got, right)}"
    if right.size == 1:
        return where_they_differ(got, right)
    if same(got, -right):
        return "the sign is wrong: it is minus the right one"
    if k := common_factor(got, right):
        return of_factor(k, sizes | counts(right.shape))
    for axes in permutations(range(got.ndim)):
        if got.ndim > 1 and same(np.transpose(got, axes), right):
            return "it is transposed" if got.ndim == 2 else f"its axes are exchanged, by {axes}"
    for axis in reversed(range(got.ndim)):
        difference = right - got
        if got.shape[axis] > 1 and same(difference, np.roll(difference, 1, axis)):
            return (
                f"a term is missing, or is one too many, which is the same for all elements along "
                f"axis {axis}"
            )
    return where_they_differ(got, right)


def of_shape(got: Array, right: Array) -> str:
    if got.ndim == 2 and same(got.T, right):
        return "it is transposed"
    extra = got.ndim - right.ndim
    axes = (*range(max(extra, 0)),)
    if extra >= 0:
        axes += tuple(
            extra + i for i, n in enumerate(right.shape) if n == 1 and got.shape[extra + i] != 1
        )
        if axes and same(got.sum(axis=axes).reshape(-1), right.reshape(-1)):
            return (
                f"its shape is {got.shape}: the sum over the broadcast axis is missing "
                f"({'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))})"
            )
    try:
        if same(np.broadcast_to(got, right.shape), right):
            return f"its shape is {got.shape}: it is not repeated to {right.shape}"
    except ValueError:
        pass
    return f"expected shape {right.shape}, got {got.shape}"


def common_factor(got: Array, right: Array) -> float | None:
    """k with got = k right, k other than 0 and 1."""
    if not right.size or not np.any(right):
        return None
    k = float((got * right).sum() / (right * right).sum())
    return k if abs(k) > 1e-9 and same(got, k * right) else None


def of_factor(k: float, sizes: set[int] | frozenset[int]) -> str:
    for n in sorted((n for n in sizes if n > 1), reverse=True):
        if np.isclose(k, n):
            return f"it is {n} times the right one: a mean was forgotten (a sum over {n})"
        if np.isclose(k, 1.0 / n):
            return f"it is 1/{n} of the right one: a mean where a sum belongs"
    digits = 4 if abs(k - 1.0) > 1e-3 else 9
    return f"it is {k:.{digits}g} times the right one"


def where_they_differ(got: Array, right: Array) -> str:
    wrong = ~np.isclose(got, right, rtol=1e-9, atol=1e-11, equal_nan=True)
    index = tuple(int(i[0]) for i in np.nonzero(wrong))
    a, b = got[index].item(), right[index].item()
    digits = next((d for d in (6, 10) if f"{a:.{d}g}" != f"{b:.{d}g}"), 17)
    values = f"expected {b:.{digits}g}, got {a:.{digits}g}"
    if right.size == 1:
        return values
    return (
        f"{int(wrong.sum())} of {wrong.size} numbers are wrong, the first at {[*index]}: {values}"
    )
