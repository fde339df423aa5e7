"""State, from a dict or a file: does it fit the model or optimizer that loads it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.create import from_dlpack
from minigrad.graph import Array
from minigrad.tensor import Tensor


def problems(expected: Any, given: Any, name: str = "") -> Iterator[str]:
    """Every reason why `given` cannot replace `expected`, one line each.

    Both are dicts and lists of arrays, numbers and text, nested to any depth. Arrays must have the
    same shape and dtype, and text must be equal; numbers and switches may have other values.
    """
    if isinstance(expected, Mapping) and isinstance(given, Mapping):
        full = {key: f"{name}.{key}" if name else f"{key}" for key in (*expected, *given)}
        yield from (f"missing:    {full[key]}" for key in expected if key not in given)
        yield from (f"unexpected: {full[key]}" for key in given if key not in expected)
        for key in (key for key in expected if key in given):
            yield from problems(expected[key], given[key], full[key])
    elif isinstance(expected, (list, tuple)) and isinstance(given, (list, tuple)):
        if len(expected) != len(given):
            yield f"{name}: expected {len(expected)} items, got {len(given)}: {given!r:.80}"
            return
        for i, pair in enumerate(zip(expected, given, strict=True)):
            yield from problems(*pair, f"{name}[{i}]")
    elif hasattr(expected, "shape"):
        yield from misfits(expected, given, name)
    elif not alike(expected, given):
        wanted = "a dict" if isinstance(expected, Mapping) else f"{expected!r:.80} or its like"
        yield f"{name or 'state'}: expected {wanted}, got {given!r:.80}"


def misfits(expected: Any, given: Any, name: str) -> Iterator[str]:
    """Why `given` is not an array like `expected`."""
    array = as_array(given)
    if array is None:
        kind = getattr(given, "dtype", type(given).__name__)
        yield f"dtype:      {name} expected {expected.dtype}, got {kind}"
    elif array.shape != expected.shape:
        yield f"shape:      {name} expected {expected.shape}, got {array.shape}"
    elif array.dtype != expected.dtype:
        yield f"dtype:      {name} expected {expected.dtype}, got {array.dtype}"


def alike(expected: Any, given: Any) -> bool:
    """Whether both are the same text, two numbers, or two switches."""
    if isinstance(expected, str):
        return given == expected
    switches = isinstance(expected, bool), isinstance(given, bool)
    return (
        isinstance(expected, (int, float))
        and isinstance(given, (int, float))
        and (switches[0] == switches[1])
    )


def same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal bit by bit, NaN and signed zeros included."""
    a, b = (devices.to_numpy(as_array(x)) for x in (a, b))
    return a.tobytes() == b.tobytes()


def report(title: str, lines: list[str]) -> str:
    """One message that lists all problems."""
    return "\n  ".join([f"{title}: {len(lines)} problem(s); nothing was changed", *lines])


def as_array(value: Any) -> Array | None:
    """A NumPy or CuPy array from an array, a Tensor or another library's tensor; else None."""
    value = value.data if isinstance(value, Tensor) else value
    if not devices.is_array(value):
        try:
            value = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):  # a tensor on a GPU, say
            try:
                return from_dlpack(value).data
            except Exception:  # whatever the other library raises
                return None
    if value.dtype.kind not in "biuf":
        return None
    return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
