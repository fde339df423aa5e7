"""Whether a form computes what the plain op computes in float64, up to the rounding of float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from reference.attention import bounds, reference


def same(found: Any, heads: Any, wanted: Any = None) -> list[bool]:
    """Of y, gq, gk and gv.

    heads:  q, k, v and the gradient of y, each (..., T, D).
    wanted: the four arrays of another form; of the plain op if not given.
    """
    exact, others = reference(*heads, causal=True)
    limits = bounds(exact, np.dtype(np.float32), *others)
    return [
        bool((np.abs(np.array(a) - np.array(b)) <= limit).all())
        for a, b, limit in zip(found, wanted or exact, limits, strict=True)
    ]
