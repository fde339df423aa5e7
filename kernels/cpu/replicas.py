"""Stacked models (`minigrad.nn.stack`): the kernels of one model, replica by replica.

One replica is work enough for all cores, and its arrays fit the caches better than those of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.kernel import Declined


def each_replica(body: Callable[..., Any], *arrays: Any) -> Any:
    """What a kernel makes of arrays (R, ...), from what it makes of each replica; None stays None.

    Declined if it declines one, or if they are not equally many.
    """
    if any(a is not None and a.shape[:1] != arrays[0].shape[:1] for a in arrays):
        return Declined("shapes")
    answers: list[Any] = []
    for r in range(len(arrays[0])):
        answer = body(*(part(a, r) for a in arrays))
        if isinstance(answer, Declined):
            return answer
        answers.append(answer)
    values, pulls = zip(*answers, strict=True)
    if not isinstance(pulls[0], tuple):
        return stacked(values), lambda g: stacked([p(part(g, r)) for r, p in enumerate(pulls)])

    def pull_of(i: int) -> Callable[[Any], Any]:
        return lambda g: stacked([p[i](g[r]) for r, p in enumerate(pulls)])

    return stacked(values), tuple(pull_of(i) for i in range(len(pulls[0])))


def part(a: Any, r: int) -> Any:
    """One replica of an array, of the arrays in a tuple, or of None."""
    if isinstance(a, tuple):
        return tuple(part(item, r) for item in a)
    return None if a is None else a[r]


def stacked(parts: Any) -> Any:
    """The opposite of `part`."""
    if isinstance(parts[0], tuple):
        return tuple(stacked(items) for items in zip(*parts, strict=True))
    return None if parts[0] is None else np.stack(parts)
