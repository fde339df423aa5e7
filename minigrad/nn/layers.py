"""Layers: small modules, one for each op. Default settings and initial values are PyTorch's."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.dtypes import DEFAULT_DTYPE
from minigrad.nn import init
from minigrad.nn.module import Module, Parameter
from minigrad.tensor import Tensor


def empty(*shape: int) -> Parameter:
    """A parameter to be filled by an init function. ValueError for a size below 1."""
    return Parameter(filled(0.0, *shape))


def filled(value: float, *shape: int) -> Tensor:
    if any(n < 1 for n in shape):
        raise ValueError(f"expected sizes of at least 1, got {shape}")
    return Tensor(np.full(shape, value, dtype=DEFAULT_DTYPE))


def drops(module: Module, p: float) -> bool:
    """Whether a module with dropout p drops elements now: in training, unless p is 0.

    ValueError then for a stacked model: trained separately, each replica would draw its masks from
    its own seed.
    """
    if not module.training or p == 0.0:
        return False
    if module.replicas is not None:
        raise ValueError(
            f"{type(module).__name__}: dropout {p} in training of {module.replicas} stacked models"
            f"; train them separately, or without dropout"
        )
    return True


class Linear(Module):
    """y = x Wᵀ + b.    x (..., in) -> y (..., out), weight (out, in), bias (out,)

    weight and bias are initialized uniform in ± 1/√in.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.weight = empty(out_features, in_features)
        bound = 1.0 / math.sqrt(in_features)
        init.uniform_(self.weight, -bound, bound)
        self.bias: Parameter | None = None
        if bias:
            self.bias = empty(out_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)


class Embedding(Module):
    """A row of weight (num, dim) for each id.    ids (...) -> y (..., dim)

    padding_idx: a row that is zero and gets no gradient, so it stays zero.
    Other rows are initialized normal with standard deviation 1. IndexError for an id outside
    [0, num-1].
    """

    def __init__(self, num: int, dim: int, padding_idx: int | None = None) -> None:
        if padding_idx is not None and operator.index(padding_idx) not in range(num):
            raise ValueError(
                f"Embedding: expected padding_idx in [0, {num - 1}], got {padding_idx}"
            )
        self.padding_idx = padding_idx
        self.weight = empty(num, dim)
        init.normal_(self.weight)
        if padding_idx is not None:
            self.weight.data[padding_idx] = 0.0

    def forward(self, ids: Any) -> Tensor:
        return ops.embedding(self.weight, ids, padding_idx=self.padding_idx)

    def extra_repr(self) -> str:
        return "" if self.padding_idx is None else f"padding_idx={self.padding_idx}"


class LayerNorm(Module):
    """Normalize over the last axis to mean 0 and variance 1; then times weight plus bias (dim,).

    The variance is biased: the sum is divided by dim.
    Source: Ba et al., Layer Normalization (2016).
    """

    def __init__(self, dim: int, eps: float = 1e-5, bias: bool = True) -> None:
        self.eps = eps
        self.weight = Parameter(filled(1.0, dim))
        self.bias = Parameter(filled(0.0, dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.weight, self.bias, eps=self.eps)


class RMSNorm(Module):
    """Divide by the root mean square over the last axis; then times weight (dim,).

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019).
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        self.eps = eps
        self.weight = Parameter(filled(1.0, dim))

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight, eps=self.eps)


class BatchNorm1d(Module):
    """Normalize each channel over the batch to mean 0 and variance 1; then times weight plus bias.

    x (N, dim) or (N, dim, L); weight and bias (dim,). Training uses the statistics of the batch
    and updates the running statistics, `running += momentum * (batch - running)`; evaluation uses
    the running statistics. Source: Ioffe and Szegedy, Batch Normalization (2015).
    """

    def __init__(self, dim: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter(filled(1.0, dim))
        self.bias = Parameter(filled(0.0, dim))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor  # not used; it is in PyTorch's state dict
        self.register_buffer("running_mean", filled(0.0, dim))
        self.register_buffer("running_var", filled(1.0, dim))
        self.register_buffer("num_batches_tracked", Tensor(np.array(0)))

    def forward(self, x: Tensor) -> Tensor:
        y = ops.batch_norm(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        if self.training:
            self.num_batches_tracked.data += 1
        return y


class Dropout(Module):
    """In training, set each element to 0 with probability p, else divide it by 1 - p."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: expected 0 <= p <= 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, drops(self, self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class GELU(Module):
    """y = x Φ(x), with Φ the cumulative distribution function of the standard normal."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x)


class Tanh(Module):
    """y = tanh x."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class ModuleList(Module, MutableSequence[Any]):
    """A list of modules, named by their index: "0", "1", ...

    Every change of the list renames them. TypeError for an item that is not a module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self[:] = modules

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Any]:
        return iter([module for name, module in self.named_children() if name.isdecimal()])

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        modules = list(self)
        modules[index] = value
        self._place(modules)

    def __delitem__(self, index: Any) -> None:
        modules = list(self)
        del modules[index]
        self._place(modules)

    def insert(self, index: int, value: Module) -> None:
        modules = list(self)
        modules.insert(index, value)
        self._place(modules)

    def extend(self, values: Iterable[Module]) -> None:
        self[len(self) :] = values

    def _place(self, modules: list[Any]) -> None:
        for module in modules:
            if not isinstance(module, Module):  # its parameters would be missing without an error
                raise TypeError(
                    f"{type(self).__name__}: expected modules, got {module!r:.60}; "
                    f"for a function write a Module whose forward calls it (nn.Tanh is one)"
                )
        for name in [name for name in vars(self) if name.isdecimal()]:
            delattr(self, name)
        for place, module in enumerate(modules):
            setattr(self, str(place), module)


class Sequential(ModuleList):
    """Modules applied one after the other: `Sequential(Linear(8, 16), ReLU(), Linear(16, 1))`."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x
