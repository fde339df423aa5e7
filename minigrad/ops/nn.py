"""Softmax, embedding and dropout: small parts of a network that NumPy lacks."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad import random
from minigrad.capture import live, refuse_recording
from minigrad.dtypes import DEFAULT_DTYPE, dtype_of
from minigrad.graph import Array
from minigrad.indices import add_at, check_ids
from minigrad.op import Result, op
from minigrad.tensor import Tensor, raw
from minigrad.wide import wide


# --- softmax ----------------------------------------------------------------------------------
def top(x: Array, axis: int) -> Array:
    """The maximum along an axis; 0 for an empty array, in which nothing can overflow."""
    return np.max(x, axis=axis, keepdims=True) if x.size else 0.0


@op
@wide
def softmax(x: Array, axis: int = -1) -> Result:
    """y_i = e^(x_i) / Σ_j e^(x_j) along an axis.

    dy_i/dx_j = y_i (δ_ij - y_j), so gx_i = y_i (g_i - Σ_j g_j y_j)

    The maximum is subtracted first, so that no exponential overflows. A row of only -inf, or with
    an inf, gives NaN as in PyTorch. Along an empty axis y is empty.
    """
    with np.errstate(invalid="ignore"):
        e = np.exp(x - top(x, axis))
        y = e / np.sum(e, axis=axis, keepdims=True)
    return y, lambda g: y * (g - np.sum(g * y, axis=axis, keepdims=True))


@op
@wide
def log_softmax(x: Array, axis: int = -1) -> Result:
    """y_i = x_i - log Σ_j e^(x_j) along an axis.

    dy_i/dx_j = δ_ij - softmax_j, so gx_j = g_j - e^(y_j) Σ_i g_i
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = x - top(x, axis)
        y = shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
    return y, lambda g: g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)


# --- embedding --------------------------------------------------------------------------------
def embedding_composite(weight: Any, ids: Any, padding_idx: int | None = None) -> Any:
    """`embedding` in smaller ops."""
    if padding_idx is not None:
        frozen = devices.zeros((len(weight), 1), weight.data, bool)
        frozen[padding_idx] = True
        weight = np.where(Tensor(frozen), weight.detach(), weight)
    return weight[ids]


@op(composite=embedding_composite, stacked=("weight", 2))
def embedding(weight: Array, ids: Array, padding_idx: int | None = None) -> Result:
    """y = weight[ids].    weight (V, D), ids integers of any shape S -> y (*S, D)

    The gradient of a row is the sum over all places that read the row; `padding_idx` gets none.
    IndexError for an id outside [0, V-1], ValueError for such a padding_idx.
    """
    if weight.ndim != 2:
        raise ValueError("expected weight (V, D)")
    if padding_idx is not None and operator.index(padding_idx) not in range(len(weight)):
        raise ValueError(f"expected padding_idx in [0, {len(weight) - 1}], got {padding_idx}")
    check_ids(ids, len(weight), "id")

    def pull(g: Array) -> Array:
        gw = np.zeros_like(weight, order="C")
        add_at(gw, ids, g)
        if padding_idx is not None:
            gw[padding_idx] = 0.0
        return gw

    return np.take(weight, ids, axis=0), (pull, None)


def one_hot(ids: Any, num_classes: int, dtype: Any = DEFAULT_DTYPE) -> Tensor:
    """y[..., k] = 1 where k is the id, else 0.    ids integers (*S) -> y (*S, num_classes)"""
    array = np.asarray(ids) if isinstance(ids, (int, list, tuple)) else raw(ids)
    check_ids(array, num_classes, "id")
    classes = devices.namespace(array).arange(num_classes)
    return Tensor((array[..., None] == classes).astype(dtype_of(dtype, "one_hot")))


# --- dropout ----------------------------------------------------------------------------------
def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """x with each element set to 0 with probability p, the others divided by 1 - p.

    The mask is drawn from the stream "dropout" of `minigrad.random`. Without training, x itself.
    Source: Srivastava et al., Dropout (2014). ValueError unless 0 <= p <= 1.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: expected 0 <= p <= 1, got {p}")
    if not training or p == 0.0:
        return x
    return _dropout(x, p, live(lambda: random.draw("dropout"), raw(x), np.uint64))


@op
def _dropout(x: Array, p: float, draw: Any) -> Result:
    """y = x m, with m = 0 where a uniform number is below p, else 1 / (1 - p).    gx = g m

    draw: the key of the random numbers, from `random.draw`.
    """
    refuse_recording("dropout")
    keep = random.philox(*draw).random(x.shape, dtype=np.float32) >= p
    scale = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    mask = devices.move(keep.astype(x.dtype) * x.dtype.type(scale), devices.of(raw(x)))
    return x * mask, lambda g: g * mask
