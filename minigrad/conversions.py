"""Conversions of a tensor: to text, to NumPy, to numbers, to other libraries and processes.

No conversion silently loses a gradient: a tensor that still needs one is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import DEFAULT_DTYPE
from minigrad.operators import Operators


class Conversions(Operators):
    """The conversion methods of Tensor."""

    __slots__ = ()

    def __repr__(self) -> str:
        body = np.array2string(self.detach().cpu().numpy(), separator=", ", prefix="tensor(")
        notes = [] if self.dtype in (DEFAULT_DTYPE, np.int64, np.bool_) else [str(self.dtype)]
        notes += [] if self.device == "cpu" else [self.device]
        if self.node is not None:
            notes.append("requires_grad" if self.is_leaf else f"from {self.node.name}")
        if self.size == 0:
            notes.append(f"shape={self.shape}")
        return f"tensor({', '.join([body, *notes])})"

    # --- NumPy and Python ---
    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a read-only NumPy array that shares the tensor's memory.

        RuntimeError if the tensor needs a gradient (use `.detach().numpy()`) or is on a GPU (use
        `.cpu().numpy()`). Copy it (`np.array(t.numpy())`) to write.
        """
        if self.node is not None:
            raise RuntimeError(
                "numpy: the tensor needs a gradient, which an array would lose; "
                "use t.detach().numpy()"
            )
        if self.device != "cpu":
            raise RuntimeError(f"numpy: the tensor is on {self.device}; use t.cpu().numpy()")
        view = self.data.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> Any:
        """The one value as a Python number. ValueError unless there is exactly one."""
        if self.size != 1:
            raise ValueError(f"item: expected one value, got shape {self.shape}")
        return devices.to_numpy(self.data).item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers; of a 0-d tensor, its number."""
        return devices.to_numpy(self.data).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index, got {self.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else self, spec) if spec else repr(self)

    # --- other libraries ---
    def __dlpack__(self, **kwargs: Any) -> Any:
        """The memory for another library, shared. BufferError if a gradient would be lost."""
        if self.node is not None:
            raise BufferError("dlpack: the tensor needs a gradient; export t.detach()")
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    # --- copies, and other processes ---
    def __getstate__(self) -> tuple[Any, ...]:
        """For pickle and copy: values, `.grad` and `requires_grad`, without hooks.

        RuntimeError for a tensor from an op that needs a gradient: the copy's would not get back.
        """
        if self.node is not None and not self.is_leaf:
            raise RuntimeError(
                f"a tensor from {self.node.name} that needs a gradient cannot be pickled or "
                f"copied, for the gradient of the copy would not get back; use t.detach()"
            )
        return self.data, self.requires_grad, self.grad, getattr(self, "__dict__", {})

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """A leaf of this process, for which node numbers by another clock mean nothing."""
        data, requires_grad, grad, attributes = state
        read_only = isinstance(data, np.ndarray) and not data.flags.writeable  # as Ray's are
        self.data, self.node = data.copy() if read_only else data, None
        self.requires_grad_(requires_grad or grad is not None)
        self.grad = grad
        self.requires_grad_(requires_grad)
        for name, value in attributes.items():
            setattr(self, name, value)
