"""Losses: one number for how wrong a prediction is.

Every loss takes `reduction`: "none" for one value per element or sample, "sum", or "mean". Classes
are the last axis, so logits of a language model (B, T, V) need no transpose.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.errors import EXPLAINED, with_text
from minigrad.graph import Array
from minigrad.indices import check_ids
from minigrad.op import Result, op
from minigrad.ops.elementwise import exp, logistic, mul, square
from minigrad.ops.elementwise import where as where_op
from minigrad.ops.index import take_along_axis
from minigrad.ops.nn import log_softmax
from minigrad.ops.products import row_sum
from minigrad.ops.reduce import mean, sum
from minigrad.ops.shape import unsqueeze
from minigrad.rules import check_constant
from minigrad.tensor import Tensor, raw
from minigrad.wide import wide, wide_function


def reduced(values: Any, reduction: str) -> Any:
    """Values, their sum or their mean."""
    if reduction == "none":
        return values
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction: expected "none", "mean" or "sum", got {reduction!r}')
    return sum(values) if reduction == "sum" else mean(values)


def check_classes(logits: Array, weight: Array) -> None:
    if not logits.ndim or not logits.shape[-1]:
        raise ValueError(f"expected logits (..., C) of one class or more, got {logits.shape}")
    if weight is not None and weight.shape != logits.shape[-1:]:
        raise ValueError(f"expected weight {logits.shape[-1:]}, got {weight.shape}")


# --- probabilities of classes -------------------------------------------------------------------
def soft_composite(logits: Any, target: Any, weight: Any, smoothing: float, reduction: str) -> Any:
    """`soft_cross_entropy` in smaller ops."""
    q = target * (1.0 - smoothing) + smoothing / logits.shape[-1]
    q = q if weight is None else q * weight
    logp = log_softmax(logits)
    counted = (raw(q) != 0.0) | (raw(logp) != -math.inf)
    return reduced(-sum(q * where_op(counted, logp, 0.0), axis=-1), reduction)


def soft_cross_entropy(
    logits: Array, target: Array, weight: Array, smoothing: float, reduction: str
) -> Result:
    """The body of `cross_entropy` for logits and probabilities t of one shape (..., C).

    With s the smoothing and w the class weights, q_c = w_c ((1 - s) t_c + s/C), and place by place
        loss = -Σ_c q_c logp_c        gx = p Σ_c q_c - q        gt = -(1 - s) w logp
    "mean" divides by the number of places. A class with q = 0 adds nothing, even if it is
    impossible (logp = -inf). No place is ignored.
    """
    if target.shape != logits.shape:
        raise ValueError(
            f"expected target {logits.shape[:-1]} of class ids, or {logits.shape} of probabilities"
        )
    w = 1.0 if weight is None else weight
    q = w * ((1.0 - smoothing) * target + smoothing / logits.shape[-1])
    logp, _ = log_softmax.op.body(logits)
    p, logp = np.exp(logp), np.where((q == 0.0) & (logp == -math.inf), 0.0, logp)
    loss = -np.sum(q * logp, axis=-1)
    scale = 1.0 / (loss.size or math.nan) if reduction == "mean" else 1.0
    return (loss if reduction == "none" else loss.sum() * scale), (
        lambda g: (g * scale)[..., None] * (p * np.sum(q, axis=-1, keepdims=True) - q),
        lambda g: (g * scale)[..., None] * (smoothing - 1.0) * w * logp,
    )


# --- class ids --------------------------------------------------------------------------------
def class_weights(
    logits: Array, target: Array, weight: Array, ignore_index: int
) -> tuple[Array, Array, Array]:
    """Class ids, the weight of each place, and which places count; 0 at ignored places."""
    if target.shape != logits.shape[:-1]:
        raise ValueError(f"expected target {logits.shape[:-1]}: the logits without the class axis")
    return place_weights(target, logits.shape[-1], weight, ignore_index, logits)


def place_weights(
    target: Array, classes: int, weight: Array, ignore_index: int, like: Array
) -> tuple[Array, Array, Array]:
    """`class_weights` without the logits, in the dtype and on the device of `like`."""
    counted = target != ignore_index
    check_ids(target, classes, "target", ignored=ignore_index)
    target = np.where(counted, target, 0)
    per_class = devices.ones((1,), like) if weight is None else weight
    place = counted * (per_class[0] if weight is None else per_class[target])
    return target, place.astype(like.dtype), counted


def cross_entropy_composite(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """`cross_entropy` in smaller ops."""
    if target.dtype.kind == "f":
        return soft_composite(logits, target, weight, label_smoothing, reduction)
    counted = Tensor(raw(target) != ignore_index)
    logp = log_softmax(where_op(unsqueeze(counted, -1), logits, 0.0))
    options: dict[str, Any] = {"weight": weight, "ignore_index": ignore_index}
    loss = nll_loss(logp, target, reduction="none", **options)
    if label_smoothing:
        classes = logits.shape[-1]
        spread = logp if weight is None else mul(logp, weight)
        uniform = -sum(spread, axis=-1) * (label_smoothing / classes)
        loss = (1.0 - label_smoothing) * loss + where_op(counted, uniform, 0.0)
    if reduction != "mean":
        return reduced(loss, reduction)
    _, place, _ = class_weights(logits.data, raw(target), raw(weight), ignore_index)
    return sum(loss) / Tensor(place.sum().reshape(()))


@op(composite=cross_entropy_composite)
@wide
def cross_entropy(
    logits: Array,
    target: Array,
    *,
    weight: Array = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Result:
    """-log softmax(logits)[target].    logits (..., C), target class ids (...) -> () or (...)

    The target may also be probabilities t (..., C), with the loss -Σ_c t_c logp_c. They may carry a
    gradient, and "mean" divides by the number of places: see `soft_cross_entropy`.

    With s the smoothing and w the class weights, place by place:
        loss = -(1 - s) w_t logp_t - s/C Σ_c w_c logp_c         0 where the target is ignored
    "mean" divides the sum by Σ w_t. As dlogp_c/dx_j = δ_cj - p_j, the gradient of a place is
        (1 - s) w_t (p - onehot_t) + s/C (p Σ_c w_c - w)
    and only p is kept, as exponentials e and their sum. An ignored place has loss and gradient 0
    whatever its logits are; if all places are ignored, the mean is NaN, as in PyTorch. IndexError
    for a target outside [0, C-1] that is not ignore_index. The weights carry no gradient.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'reduction: expected "none", "mean" or "sum", got {reduction!r}')
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"expected 0 <= label_smoothing <= 1, got {label_smoothing}")
    check_classes(logits, weight)
    classes, dtype = logits.shape[-1], logits.dtype
    weight = None if weight is None else weight.astype(dtype)
    if target.dtype.kind == "f":
        if ignore_index != -100:
            raise ValueError("ignore_index is for class ids, and the target is probabilities")
        return soft_cross_entropy(logits, target, weight, label_smoothing, reduction)
    target, place, counted = class_weights(logits, target, weight, ignore_index)
    x = logits
    if not isinstance(counted, np.ndarray) or not counted.all():  # a GPU's host would have to wait
        x = np.where(counted[..., None], logits, 0.0)  # ignored logits may be infinite or NaN
    with np.errstate(invalid="ignore"):
        e = x - x.max(axis=-1, keepdims=True) if x.size else x.copy()
    picked = np.take_along_axis(e, target[..., None], axis=-1)[..., 0]
    spread = (e if weight is None else e * weight).sum(axis=-1) if label_smoothing else 0.0
    np.exp(e, out=e)
    total = row_sum(e)  # e / total is p; dividing what e is multiplied by takes a pass less
    log_total = np.log(total[..., 0])
    weight_sum = float(classes) if weight is None else weight.sum()
    share = counted.astype(dtype) * (label_smoothing / classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = (1.0 - label_smoothing) * place * (log_total - picked)
        if label_smoothing:
            loss += share * (weight_sum * log_total - spread)
        scale = 1.0 / place.sum() if reduction == "mean" else 1.0

    def pull(g: Array) -> Array:
        each = np.where(counted, g * scale, 0.0)
        hit = ((1.0 - label_smoothing) * place * each)[..., None]
        if label_smoothing:
            smooth = (share * each)[..., None]
            gx = e * ((hit + smooth * weight_sum) / total)
            gx -= smooth if weight is None else smooth * weight
        else:
            gx = e * (hit / total)
        at = target[..., None]
        np.put_along_axis(gx, at, np.take_along_axis(gx, at, axis=-1) - hit, axis=-1)
        return gx

    with np.errstate(invalid="ignore"):
        y = loss if reduction == "none" else loss.sum() * scale
    return y, (pull, None)


@wide_function
def nll_loss(
    logp: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """-w_t logp[target], for log-probabilities (..., C) and class ids (...); see cross_entropy."""
    for name, a in (("target", target), ("weight", weight)):
        if isinstance(a, (list, tuple)):
            raise TypeError(f"nll_loss: expected {name} as a tensor or array, got {a!r}")
    check_constant("nll_loss", "weight", weight)
    try:
        check_classes(logp, weight)
        ids, place, counted = class_weights(raw(logp), raw(target), raw(weight), ignore_index)
    except EXPLAINED as error:
        raise with_text(error, f"nll_loss: {error}") from error
    picked = take_along_axis(logp, ids[..., None], axis=-1)[..., 0]
    loss = -where_op(Tensor(counted), picked, 0.0) * Tensor(place)
    if reduction == "mean":
        with np.errstate(invalid="ignore"):
            return sum(loss) / Tensor(place.sum().reshape(()))
    return reduced(loss, reduction)


# --- numbers ----------------------------------------------------------------------------------
def same_shape(name: str, a: Any, b: Any) -> None:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"{name}: expected equal shapes, got {np.shape(a)} and {np.shape(b)}")


@wide_function
def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """(x - target)², element by element. Equal shapes: broadcasting here is nearly always a bug."""
    same_shape("mse_loss", x, target)
    return reduced(square(x - target), reduction)


@op(broadcast=True)
@wide
def _binary_cross_entropy_with_logits(x: Array, target: Array) -> Result:
    """-t log σ(x) - (1 - t) log(1 - σ(x)) = max(x, 0) - x t + log(1 + e^-|x|), which is safe.

    dy/dx = σ(x) - t = (1 - t) σ(x) - t σ(-x)        dy/dt = -x
    """
    y = np.maximum(x, 0.0) - x * target + np.log1p(np.exp(-np.absolute(x)))

    def pull(g: Array) -> Array:
        return g * ((1.0 - target) * logistic(x) - target * logistic(-x))

    return y, (pull, lambda g: -g * x)


@wide_function
def binary_cross_entropy_with_logits(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Cross-entropy of yes/no answers from logits x and targets in [0, 1], of equal shapes."""
    same_shape("binary_cross_entropy_with_logits", x, target)
    return reduced(_binary_cross_entropy_with_logits(x, target), reduction)


@wide_function
def kl_div(logp: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """KL divergence, target (log target - logp), element by element; 0 where the target is 0.

    logp are log-probabilities; so is the target with log_target. As in PyTorch, "mean" divides by
    the number of elements; sum and divide by the batch for the divergence of distributions.
    """
    same_shape("kl_div", logp, target)
    positive = raw(target) > (-math.inf if log_target else 0.0)
    target, logp = (where_op(positive, x, 0.0 if log_target else 1.0) for x in (target, logp))
    values = exp(target) * (target - logp) if log_target else target * (np.log(target) - logp)
    return reduced(where_op(positive, values, 0.0), reduction)
