"""Tensor: an array, and the op that it came from.

A tensor that needs a gradient points at its `Node` in the graph; every other tensor is only an
array with methods. Operators and methods are the ops of `minigrad/ops`, attached by name at the
end of `minigrad/ops/__init__.py`. `backward` comes from `minigrad/transforms.py`, conversions to
NumPy and others from `minigrad/conversions.py`. This file has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.conversions import Conversions
from minigrad.errors import with_text
from minigrad.graph import Array, Node
from minigrad.indices import prepared
from minigrad.inplace import stamp_write
from minigrad.modes import MODE, OFF
from minigrad.protocols import answer, answer_ufunc


class Tensor(Conversions):
    """An n-dimensional array of numbers whose history can be recorded.

    `mg.tensor` and ops make tensors. `data` is the NumPy or CuPy array. `node` is the place in the
    graph, None if the tensor needs no gradient. The graph does not see writes to `data`.
    """

    __slots__ = ("__weakref__", "data", "frozen", "node")
    __array_priority__ = 1000

    def __init__(self, data: Array, node: Node | None = None) -> None:
        self.data = data if data.__class__ is np.ndarray else array_of(data)
        self.node = node

    # --- what it is ---
    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements, NumPy's."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """The name of the device, "cpu" or "cuda:N"."""
        return devices.of(self.data)

    @property
    def T(self) -> Tensor:
        """All axes reversed."""
        return self.transpose()

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped: the transpose of each matrix."""
        return self.swapaxes(-1, -2)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__  # `==` is an elementwise op; a tensor is a dict key by identity

    # --- devices and dtypes ---
    def to(self, device: str) -> Tensor:
        """A copy on "cpu", "cuda" or "cuda:N", or the tensor if it is there. Gradients pass."""
        name = devices.parse(device)
        return self if name == self.device else self.to_device(name)

    def cpu(self) -> Tensor:
        """A copy in the memory of the host, or the tensor if it is there. Gradients pass."""
        return self.to("cpu")

    # --- gradients ---
    @property
    def requires_grad(self) -> bool:
        """Whether backward() gives this tensor a gradient, or passes one on through it."""
        return self.node is not None

    @property
    def is_leaf(self) -> bool:
        """Whether the user made the tensor, and not a recorded op."""
        return self.node is None or self.node.op is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient from backward(), to which further calls add. None before the first."""
        node = self.node or self.frozen_node
        return None if node is None else node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        node = self.node or self.frozen_node
        if value is not None:
            if node is None:
                raise RuntimeError("grad: the tensor does not require a gradient")
            check_gradient("grad", value, self)
        if node is not None:
            node.grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch a leaf's need for a gradient, in place. TypeError unless it is floating point.

        A leaf that is switched off (frozen) is a constant for later ops. The leaf keeps `.grad` and
        its hooks, and gradients of earlier results still arrive.
        """
        if not self.is_leaf:
            raise RuntimeError("requires_grad_: only for leaves; use detach()")
        if requires_grad and self.node is None:
            if self.dtype.kind != "f":
                raise TypeError(
                    f"requires_grad: only floating point tensors carry gradients, got {self.dtype}"
                )
            self.node = self.frozen_node or Node(None, (), None, self.shape, self.dtype)
        elif not requires_grad and self.node is not None:
            self.frozen, self.node = self.node, None
        return self

    @property
    def frozen_node(self) -> Node | None:
        """The node of a frozen leaf, which gets it back when it is released."""
        return getattr(self, "frozen", None)

    def detach(self) -> Tensor:
        """The same memory without the history."""
        return Tensor(self.data)

    def retain_grad(self) -> Tensor:
        """Ask backward() to leave the gradient of this non-leaf in `.grad` too."""
        if self.node is None:
            raise RuntimeError("retain_grad: the tensor does not require a gradient")
        self.node.retains_grad = True
        return self

    def register_hook(self, fn: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `fn` with the complete gradient of this tensor during backward().

        If `fn` returns a tensor, that tensor replaces the gradient. Returns a function that removes
        the hook.
        """
        node = self.node
        if node is None:
            raise RuntimeError("register_hook: the tensor does not require a gradient")

        def hook(g: Any) -> Any:
            # a copy, for other tensors may share g and the hook may write to it
            result = fn(g if isinstance(g, Tensor) else Tensor(g.copy()))
            if result is None:
                return g
            check_gradient("register_hook: what the hook returned", result, g)
            return result if isinstance(g, Tensor) else result.data

        def remove() -> None:
            node.hooks = tuple(h for h in node.hooks if h is not hook)

        node.hooks = (*node.hooks, hook)
        return remove

    # --- in place ---
    def assign_(self, value: Any) -> Tensor:
        """Copy `value` (this shape, or a scalar) into the tensor's memory, unrecorded."""
        shape = np.shape(raw(value))
        if shape not in (self.shape, ()):
            raise ValueError(f"assign_: expected shape {self.shape}, got {shape}")
        self[...] = value
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write in place, unrecorded: only to tensors without history, or under `no_grad`."""
        if MODE.get() != OFF and (self.node is not None or carries_gradient(value)):
            raise RuntimeError(
                "a tensor that carries a gradient cannot be changed in place: use mg.where, "
                "mg.scatter_add or mg.concatenate to make a new one, or write under mg.no_grad()"
            )
        try:
            self.data[prepared(self.data, raw(index))] = raw(value)
        except (IndexError, OverflowError, TypeError, ValueError) as error:
            right = f"{value.shape} {value.dtype}" if hasattr(value, "shape") else repr(value)[:60]
            text = f"t[...] = value: {error}  [t {self.shape} {self.dtype}, value {right}]"
            raise with_text(error, text) from error
        stamp_write(self.data)

    # --- NumPy's protocols: np.exp(t) is mg.exp(t) ---
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return answer_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return answer(func, args, kwargs)


def array_of(data: Any) -> Array:
    """An array or NumPy number as NumPy's or CuPy's own class: `*` of np.matrix is another product.

    TypeError if `data` is no array, and for masked elements, which have no value.
    """
    if isinstance(data, np.generic):
        return np.asarray(data)
    if not devices.is_array(data):
        raise TypeError(
            f"Tensor: expected a NumPy or CuPy array, got {type(data).__name__}; mg.tensor makes "
            f"tensors of numbers and lists"
        )
    if np.any(getattr(data, "mask", False)):
        raise TypeError("masked elements have no value; fill them first: a.filled(0.0)")
    return np.asarray(data) if isinstance(data, np.ndarray) else data


def check_gradient(what: str, value: Any, like: Any) -> None:
    """TypeError or ValueError unless `value` can be the gradient of something of this shape."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{what}: expected a Tensor or None, got {type(value).__name__}")
    if (value.shape, value.dtype) != (like.shape, like.dtype):
        raise ValueError(
            f"{what}: expected {like.shape} {like.dtype}, got {value.shape} {value.dtype}"
        )


def raw(x: Any) -> Any:
    """x with tensors replaced by their arrays, also in lists and tuples of any depth."""
    if isinstance(x, Tensor):
        return x.data
    if isinstance(x, (tuple, list)):
        return type(x)(raw(item) for item in x)
    return x


def carries_gradient(x: Any) -> bool:
    """Whether x is a tensor that needs a gradient, or a list or tuple with one at any depth."""
    if isinstance(x, (list, tuple)):
        return any(map(carries_gradient, x))
    return isinstance(x, Tensor) and x.node is not None
