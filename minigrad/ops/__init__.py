"""All ops, one file per family, and their attachment to `Tensor` as operators and methods.

`__all__` lists the public ops; each is `mg.NAME`.
"""
# ruff: noqa: F403, F405, RUF022

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.modes import is_grad_enabled
from minigrad.ops import elementwise, index, linalg, move
from minigrad.ops.activation import *
from minigrad.ops.attention import *
from minigrad.ops.elementwise import *
from minigrad.ops.index import *
from minigrad.ops.linalg import *
from minigrad.ops.linear_cross_entropy import *
from minigrad.ops.loss import *
from minigrad.ops.lstm import *
from minigrad.ops.move import *
from minigrad.ops.nn import *
from minigrad.ops.norm import *
from minigrad.ops.reduce import *
from minigrad.ops.shape import *
from minigrad.tensor import Tensor, carries_gradient

# fmt: off
__all__ = [
    # elementwise: arithmetic, exponentials, smooth functions, choices
    "add", "sub", "mul", "div", "floor_divide", "remainder", "pow", "neg", "abs", "sign", "floor",
    "ceil", "round", "square", "sqrt", "rsqrt",
    "reciprocal", "exp", "expm1", "log", "log1p", "logaddexp", "sin", "cos", "tanh", "sigmoid",
    "erf", "erfc", "maximum", "minimum", "where", "masked_fill", "clip", "lerp",
    # elementwise: questions and bits
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isnan", "isinf",
    "isfinite",
    "logical_not", "logical_and", "logical_or",
    "invert", "bitwise_and", "bitwise_or", "bitwise_xor",
    # activation
    "relu", "leaky_relu", "gelu", "silu", "softplus", "logsigmoid", "elu", "glu",
    # reduce
    "sum", "mean", "var", "std", "prod", "max", "min", "argmax", "argmin", "cumsum", "logsumexp",
    "norm", "sort", "topk",
    # shape
    "reshape", "flatten", "squeeze", "unsqueeze", "transpose", "swapaxes", "moveaxis", "flip",
    "roll", "broadcast_to", "repeat", "tile", "concatenate", "stack", "split", "unbind", "tril",
    "triu", "diagonal", "pad",
    # index
    "getitem", "take", "take_along_axis", "scatter_add",
    # linalg
    "matmul", "dot", "outer", "linear", "einsum",
    # move
    "clone", "astype", "to_device",
    # nn, norm, loss, linear_cross_entropy, lstm, attention
    "softmax", "log_softmax", "embedding", "one_hot", "dropout",
    "layer_norm", "rms_norm", "batch_norm", "normalize",
    "cross_entropy", "nll_loss", "mse_loss", "binary_cross_entropy_with_logits", "kl_div",
    "linear_cross_entropy", "lstm_cell", "lstm", "scaled_dot_product_attention",
]

# Ops that read better as functions only. All others are also methods of Tensor.
FUNCTIONS = {
    "where", "concatenate", "stack", "getitem", "einsum", "linear", "embedding", "one_hot",
    "dropout", "layer_norm", "rms_norm", "batch_norm", "normalize", "cross_entropy", "nll_loss",
    "mse_loss", "binary_cross_entropy_with_logits", "kl_div", "linear_cross_entropy", "lstm_cell",
    "lstm", "scaled_dot_product_attention",
}
# fmt: on
for _name in __all__:
    if _name not in FUNCTIONS:
        setattr(Tensor, _name, globals()[_name])


# --- operators --------------------------------------------------------------------------------
Binary = Callable[[Any, Any], Any]


def comparison(fn: Binary) -> Binary:
    """fn for tensors and numbers; after NotImplemented Python tries the other operand's class."""
    return lambda a, b: fn(a, b) if is_operand(b) else NotImplemented


def reflected(fn: Binary) -> Binary:
    return lambda a, b: fn(b, a) if is_operand(b) else NotImplemented


def in_place(name: str, fn: Binary) -> Binary:
    """`t += x` and similar: the values of fn(t, x), written into the memory of t.

    RuntimeError if a gradient would be lost, unless under `no_grad`; ValueError and TypeError if
    the result does not fit into t, as in NumPy.
    """

    def update(t: Tensor, x: Any) -> Tensor:
        if is_grad_enabled() and (t.node is not None or carries_gradient(x)):
            raise RuntimeError(
                f"{name}=: a tensor that carries a gradient cannot be changed in place; write "
                f"t = t {name} x for a new tensor, or change it under mg.no_grad()"
            )
        y = fn(t, x)
        if y.shape != t.shape:
            raise ValueError(f"{name}=: a result of shape {y.shape} does not fit into {t.shape}")
        if not np.can_cast(y.dtype, t.dtype, "same_kind"):
            raise TypeError(f"{name}=: a result of {y.dtype} does not fit into {t.dtype}")
        t[...] = y
        return t

    return update


def is_operand(x: Any) -> bool:
    numbers = (Tensor, int, float, np.generic, list, tuple)
    return isinstance(x, numbers) or devices.is_array(x)


Tensor.__neg__ = elementwise.neg
Tensor.__pos__ = move.clone
Tensor.__abs__ = elementwise.abs
Tensor.__invert__ = elementwise.invert
Tensor.__getitem__ = index.getitem
for _name, _symbol, _fn in (
    ("add", "+", elementwise.add),
    ("sub", "-", elementwise.sub),
    ("mul", "*", elementwise.mul),
    ("truediv", "/", elementwise.div),
    ("floordiv", "//", elementwise.floor_divide),
    ("mod", "%", elementwise.remainder),
    ("pow", "**", elementwise.pow),
    ("matmul", "@", linalg.matmul),
    ("and", "&", elementwise.bitwise_and),
    ("or", "|", elementwise.bitwise_or),
    ("xor", "^", elementwise.bitwise_xor),
):
    setattr(Tensor, f"__{_name}__", _fn)
    setattr(Tensor, f"__r{_name}__", reflected(_fn))
    setattr(Tensor, f"__i{_name}__", in_place(_symbol, _fn))
for _name, _fn in {
    "eq": elementwise.equal,
    "ne": elementwise.not_equal,
    "lt": elementwise.less,
    "le": elementwise.less_equal,
    "gt": elementwise.greater,
    "ge": elementwise.greater_equal,
}.items():
    setattr(Tensor, f"__{_name}__", comparison(_fn))
