"""The dtypes of tensors: booleans, integers and floating point numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

DEFAULT_DTYPE = np.dtype(np.float32)


def dtype_of(dtype: Any, name: str = "", kinds: str = "biuf") -> np.dtype[Any]:
    """A dtype for tensors, in the byte order of this machine.

    TypeError for any other dtype; the message begins with `name`, the function, if it is given.
    """
    try:
        parsed = np.dtype(dtype)
    except TypeError:
        parsed = None
    if parsed is None or parsed.kind not in kinds:
        known = "floating point" if kinds == "f" else "boolean, integer or floating point"
        text = f"expected a {known} dtype, got {dtype if parsed is None else parsed}"
        raise TypeError(f"{name}: {text}" if name else text)
    return parsed if parsed.isnative else parsed.newbyteorder("=")  # always a new object


def check_fit(numbers: Any, dtype: np.dtype[Any]) -> None:
    """OverflowError for integers that an integer dtype cannot hold; NumPy wraps some of them."""
    if dtype.kind in "iu" and (array := np.asarray(numbers)).dtype.kind in "iuO" and array.size:
        for number in (array.min(), array.max()):
            if not np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
                raise OverflowError(f"{number} is out of bounds for {dtype}")
