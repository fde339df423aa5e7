"""Arrays joined like np.concatenate and np.stack, on a GPU a few at a time.

CuPy joins a few arrays in one launch. For more it copies a table from the host, which a recording
(`mg.capture`) does not allow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array

MOST = 8  # arrays that CuPy joins without a table


def concatenated(parts: Sequence[Array], axis: int) -> Array:
    """np.concatenate."""
    while len(parts) > MOST and on_gpu(parts[0]):
        groups = [parts[i : i + MOST] for i in range(0, len(parts), MOST)]
        parts = [np.concatenate(group, axis) for group in groups]
    return np.concatenate(parts, axis)


def stacked(parts: Sequence[Array], axis: int = 0) -> Array:
    """np.stack."""
    if len(parts) > MOST and on_gpu(parts[0]):
        return concatenated([np.expand_dims(part, axis) for part in parts], axis)
    return np.stack(parts, axis)


def on_gpu(a: Array) -> bool:
    return devices.is_array(a) and not isinstance(a, np.ndarray)
