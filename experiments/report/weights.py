"""A model in a page: its weights, and the scripts that compute with them and show what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SCRIPTS = (HERE / "tensor.js", HERE / "model_view.js")  # before those of a section with a model

Places = dict[str, dict[str, Any]]


def in_a_row(tensors: Mapping[str, Any], dtype: str) -> tuple[Places, bytes]:
    """For each tensor by name where it begins and its shape, and all numbers in a row.

    dtype: "<f4" or "<f2", which rounds to the nearest. Scripts count on this order of bytes.
    """
    parts: list[bytes] = []
    places: Places = {}
    at = 0
    for name, tensor in tensors.items():
        numbers = np.ascontiguousarray(tensor, dtype=dtype)
        places[name] = {"at": at, "shape": list(numbers.shape)}
        parts.append(numbers.tobytes())
        at += numbers.size
    return places, b"".join(parts)
