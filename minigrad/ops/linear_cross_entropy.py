"""The output layer of a language model with its loss, of which all logits are never in memory.

With the logits z = x Wᵀ + b of a row, p = softmax(z) and lse = log Σ_c e^(z_c), the loss of
`cross_entropy` is (s its smoothing, t the target, w the class weights, C classes)

    loss = h (lse - z_t) + q Σ_c w_c (lse - z_c)            h = (1 - s) w_t        q = s / C
    gz   = (h + q Σ_c w_c) p - q w - h onehot_t             h = q = 0 where the target is ignored
    gx   = gz W        gW = Σ_rows gzᵀ x        gb = Σ_rows gz

gz follows from the logits of the row alone: what comes after the loss only multiplies it. So while
the logits of some rows are in memory, they are turned into gz, which is multiplied into gx and gW,
and the memory serves the next rows. That takes the three products of `linear`, two where W is
frozen, and one without gradients.

Sources: gradients that are made in the forward pass, chunk by chunk, are those of Hsu et al., Liger
Kernel (2024). Wijmans et al., Cut Your Losses in Large-Vocabulary Language Models (2024), leave out
ignored rows, too; they keep no logits of a row either, and compute them again on the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array
from minigrad.modes import is_grad_enabled
from minigrad.op import Result, op
from minigrad.ops.elementwise import where
from minigrad.ops.linalg import linear, one_dtype
from minigrad.ops.loss import cross_entropy, place_weights
from minigrad.ops.products import column_sum, mT, product, row_sum
from minigrad.ops.shape import unsqueeze
from minigrad.tensor import Tensor, carries_gradient, raw
from minigrad.wide import wide


def linear_cross_entropy(
    x: Any,
    weight: Any,
    target: Any,
    bias: Any = None,
    *,
    class_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """cross_entropy(linear(x, weight, bias), target) without all logits (..., C) in memory.

    x (..., D), weight (C, D), bias (C,), target class ids (...)  ->  () or, for "none", (...)

    class_weight (C,) is what `cross_entropy` calls weight, and carries no gradient. (PyTorch's
    function of this name says linear_weight, linear_bias and weight.) The other options, the values
    and the gradients are those of `cross_entropy`. Rows whose target is ignored are not looked at,
    and take no time on the CPU.

    Gradients are made in the forward pass, of what requires one while ops are recorded: products of
    a chunk of rows, three with all gradients, two for a frozen weight, one for none. With "none"
    the gradient of the weight has to wait for those of the losses, and computes the logits again.
    In memory are, besides results and these gradients, the logits of 512 rows, or of more rows if
    they are not more than 32 MiB.

    IndexError for a target outside [0, C-1] that is not ignore_index. TypeError for probabilities:
    their loss is cross_entropy(linear(x, weight, bias), target).
    """
    named = {"x": x, "weight": weight, "bias": bias}
    recorded = is_grad_enabled()
    return _linear_cross_entropy(
        x,
        weight,
        target,
        bias,
        class_weight=class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        wanted=tuple(name for name, a in named.items() if recorded and carries_gradient(a)),
    )


def linear_cross_entropy_composite(
    x: Any,
    weight: Any,
    target: Any,
    bias: Any = None,
    *,
    class_weight: Any = None,
    ignore_index: int = -100,
    wanted: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """`linear_cross_entropy` in smaller ops."""
    counted = Tensor(raw(target) != ignore_index)
    logits = linear(where(unsqueeze(counted, -1), x, 0.0), weight, bias)
    return cross_entropy(logits, target, weight=class_weight, ignore_index=ignore_index, **options)


@op(composite=linear_cross_entropy_composite, stacked=("weight", 2))
@wide
def _linear_cross_entropy(
    x: Array,
    weight: Array,
    target: Array,
    bias: Array = None,
    *,
    class_weight: Array = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    wanted: tuple[str, ...] = (),
) -> Result:
    """See `linear_cross_entropy`. wanted: what needs a gradient, of "x", "weight" and "bias"."""
    options = class_weight, ignore_index, label_smoothing, reduction, wanted
    return swept(sweep, x, weight, target, bias, *options)


# --- all rows -------------------------------------------------------------------------------------
class Terms(NamedTuple):
    """What a row adds to the loss, in the letters above: arrays of one number a row."""

    at: Array  # t, 0 where it is ignored
    hit: Array  # h
    share: Array  # q
    weight: Array  # w (C,), None for ones
    total: Any  # Σ_c w_c
    smooth: bool  # whether there is any q but 0

    def of(self, rows: Any) -> Terms:
        """The terms of some of the rows."""
        return self._replace(at=self.at[rows], hit=self.hit[rows], share=self.share[rows])

    def times(self, g: Array) -> Terms:
        """The terms of g loss."""
        return self._replace(hit=self.hit * g, share=self.share * g)


Sweep = Callable[..., tuple[Array, Array, Array, Array]]  # see `sweep`


def swept(
    sweep: Sweep,
    x: Array,
    weight: Array,
    target: Array,
    bias: Array,
    class_weight: Array,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    wanted: Sequence[str],
) -> Result:
    """The op by a sweep over the rows; a kernel has its own."""
    check(x, weight, target, bias, class_weight, label_smoothing, reduction)
    x, weight, bias = one_dtype(x, weight, bias)
    shape, target, classes = x.shape, target.reshape(-1), len(weight)
    rows, kept = x.reshape(target.size, shape[-1]), None
    if class_weight is not None:
        class_weight = class_weight.astype(x.dtype)
    at, place, counted = place_weights(target, classes, class_weight, ignore_index, x)
    share = counted.astype(x.dtype) * (label_smoothing / classes)
    total = float(classes) if class_weight is None else class_weight.sum()
    hit = (1.0 - label_smoothing) * place
    terms = Terms(at, hit, share, class_weight, total, label_smoothing > 0.0)
    if not isinstance(x, np.ndarray):  # a GPU's host would have to wait to know which rows count
        rows = np.where(counted[:, None], rows, 0.0)
    elif not counted.all():
        kept = np.flatnonzero(counted)
        rows, terms = rows[kept], terms.of(kept)

    def in_place(a: Array) -> Array:
        """What the rows that count have, at their places among all rows."""
        if a is None or kept is None:
            return a
        every = np.zeros((target.size, *a.shape[1:]), a.dtype)
        every[kept] = a
        return every

    later = [name for name in wanted if name != "x" and reduction == "none"]
    loss, gx, gw, gb = sweep(rows, weight, bias, terms, [n for n in wanted if n not in later])
    loss, gx = np.where(counted, in_place(loss), 0.0), in_place(gx)
    with np.errstate(divide="ignore"):
        scale = 1.0 / place.sum() if reduction == "mean" else 1.0

    def of_sum(g: Array) -> tuple[Array, ...]:
        with np.errstate(invalid="ignore"):  # if no row counts, the mean is NaN and its gradient 0
            each = np.where(counted, g * scale, 0.0)[:, None]
            g = np.where(counted.any(), g * scale, 0.0)
            of_x = None if gx is None else (gx * each).reshape(shape)
            return of_x, *(None if a is None else a * g for a in (gw, None, gb))

    def of_each(g: Array) -> tuple[Array, ...]:
        each = np.where(counted, g.reshape(-1), 0.0)
        of_x = None if gx is None else (gx * each[:, None]).reshape(shape)
        if not later:
            return of_x, None, None, None
        weighted = terms.times(each if kept is None else each[kept])
        _, _, gw, gb = sweep(rows, weight, bias, weighted, later)
        return of_x, gw, None, gb

    if reduction == "none":
        return loss.reshape(shape[:-1]), of_each
    with np.errstate(invalid="ignore"):
        return loss.sum() * scale, of_sum


def check(
    x: Array,
    weight: Array,
    target: Array,
    bias: Array,
    class_weight: Array,
    label_smoothing: float,
    reduction: str,
) -> None:
    """The errors of `linear` and `cross_entropy`, in the names of this op."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'reduction: expected "none", "mean" or "sum", got {reduction!r}')
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"expected 0 <= label_smoothing <= 1, got {label_smoothing}")
    if weight.ndim != 2 or not len(weight) or x.shape[-1:] != weight.shape[1:]:
        raise ValueError("expected x (..., D) and weight (C, D) of one class or more")
    for name, a in (("bias", bias), ("class_weight", class_weight)):
        if a is not None and a.shape != weight.shape[:1]:
            raise ValueError(f"expected {name} {weight.shape[:1]}, got {a.shape}")
    if target.dtype.kind == "f":
        raise TypeError(
            f"expected target {x.shape[:-1]} of class ids; the loss of probabilities is "
            f"cross_entropy(linear(x, weight, bias), target)"
        )
    if target.shape != x.shape[:-1]:
        raise ValueError(f"expected target {x.shape[:-1]}: x without its last axis")


# --- rows by chunks -------------------------------------------------------------------------------
# The rows of a chunk are as many as have so many bytes of logits, but not fewer than BLAS needs: it
# packs W anew for each chunk, and a row of 64 takes four times as long as one of 512.
BYTES, ROWS = 1 << 25, 512
PIECE = 1 << 17  # logits that stay in the processor's cache through all passes over them
TILE = 1 << 20  # elements of the gradient of W that are added at a time


def sweep(
    rows: Array, weight: Array, bias: Array, terms: Terms, wanted: Sequence[str]
) -> tuple[Array, Array, Array, Array]:
    """The losses (N,) of rows (N, D), and the gradients of their sum that are wanted, else None."""
    (classes, width), count = weight.shape, len(rows)
    size = max(ROWS, BYTES // (classes * rows.itemsize))
    buffer = devices.empty((min(count, size), classes), rows)
    loss = devices.empty((count,), rows)
    gx = devices.empty(rows.shape, rows) if "x" in wanted else None
    gw = devices.zeros(weight.shape, rows) if "weight" in wanted else None
    gb = devices.zeros((classes,), rows) if "bias" in wanted else None
    for low in range(0, count, size):
        part = slice(low, low + size)
        x, of_part = rows[part], terms.of(part)
        z = product(x, mT(weight), out=buffer[: len(x)])
        if bias is not None:
            z += bias
        step = max(1, PIECE // classes) if isinstance(z, np.ndarray) else len(z)
        for start in range(0, len(z), step):
            piece = slice(start, start + step)
            loss[part][piece] = losses(z[piece], of_part.of(piece), bool(wanted))
        if gx is not None:
            product(z, weight, out=gx[part])
        if gw is not None:
            tile = max(1, TILE // max(1, width))
            for first in range(0, classes, tile):
                some = slice(first, first + tile)
                gw[some] += product(mT(z[:, some]), x)
        if gb is not None:
            gb += column_sum(z)
    return loss, gx, gw, gb


def losses(z: Array, terms: Terms, gradient: bool) -> Array:
    """The losses (N,) of logits (N, C), which become gz if a gradient is needed."""
    at, hit, share = terms.at[:, None], terms.hit[:, None], terms.share[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        z -= z.max(axis=-1, keepdims=True)
        picked = np.take_along_axis(z, at, axis=-1)
        spread = 0.0
        if terms.smooth:
            spread = row_sum(z if terms.weight is None else z * terms.weight)
        np.exp(z, out=z)
        total = row_sum(z)
        log_total = np.log(total)
        loss = hit * (log_total - picked)
        if terms.smooth:
            loss += share * (terms.total * log_total - spread)
        if gradient:
            z *= (hit + share * terms.total) / total
            if terms.smooth:
                z -= share if terms.weight is None else share * terms.weight
            np.put_along_axis(z, at, np.take_along_axis(z, at, axis=-1) - hit, axis=-1)
    return loss[:, 0]
