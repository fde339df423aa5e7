"""Which dtypes tensors have: booleans, integers and floating point numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

DEFAULT_DTYPE = np.dtype(np.float32)


def dtype_of(dtype: Any, name: str = "", kinds: str = "biuf") -> np.dtype[Any]:
    """A dtype that tensors have, in the byte order of this machine.

    TypeError for any other, in the words of the function `name`, unless that is added elsewhere.
    """
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind not in kinds:
        known = "floating point" if kinds == "f" else "boolean, integer or floating point"
        text = f"expected a {known} dtype, got {dtype if found is None else found}"
        raise TypeError(f"{name}: {text}" if name else text)
    return found if found.isnative else found.newbyteorder("=")  # which makes a new object


def check_fit(numbers: Any, dtype: np.dtype[Any]) -> None:
    """OverflowError for whole numbers beyond an integer dtype, which NumPy would wrap in places."""
    if dtype.kind in "iu" and (found := np.asarray(numbers)).dtype.kind in "iuO" and found.size:
        for number in (found.min(), found.max()):
            if not np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
                raise OverflowError(f"{number} is out of bounds for {dtype}")
