"""Loss and accuracy on the right-hand side of an equation.

Seeds 000 and 001 (IFT6135 W2025, assignment 2), Problem 3: only the tokens after "=" count, in
training and in evaluation. The loss of a sample is the mean of -log p over these tokens, and the
loss of a batch is the mean over its samples, which is not the mean over tokens if samples differ in
length. A sample is right if all of these tokens have the greatest logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

import minigrad as mg
from experiments.data.modular import Equations
from experiments.grokking.prefix import PrefixTree, logits
from minigrad import device as devices
from minigrad.tensor import raw

Array = Any  # numpy.ndarray or cupy.ndarray
Model = Callable[..., mg.Tensor]  # model(ids, start=): (B, S) -> logits (B, S - start, V)
EVALUATION_BATCH = 2**12  # released code, trainer.py


@dataclass(frozen=True)
class Batch:
    """Equations on a device, with targets for the k = S - start positions that may count.

    ids:     (B, S) the input, or the tree of its prefixes.
    start:   the first position whose prediction may count.
    targets: (B, k) the correct next tokens.
    rhs:     (B, k) bool, whether that target is on the right-hand side.
    weights: (B, k) rhs divided by its row sum, so that a weighted sum is the mean of a sample.

    For R replicas every array has a leading axis R, and B is the number of samples of each.
    """

    ids: mg.Tensor | PrefixTree
    start: int
    targets: Array
    rhs: Array
    weights: Array

    def __len__(self) -> int:
        return self.ids.shape[-2]

    @cached_property
    def orders(self) -> np.ndarray[Any, Any]:
        """(B,) or (R, B): the number of operands, on the host; with n of them "=" is at 2 n - 1."""
        return (self.start + devices.to_numpy(self.rhs).argmax(axis=-1)) // 2

    def take(self, rows: Any) -> Batch:
        """The samples at a slice, an index array on the host, or a tensor on the batch's device.

        A batch with a tree gives one with a tree. For replicas an index array is (R, n).
        """
        ids, device = self.ids, self.ids.device
        rows = rows if isinstance(rows, slice) else devices.move(raw(rows), device)
        index = rows
        if self.targets.ndim == 3:
            replicas = devices.namespace(self.targets).arange(len(self.targets))[:, None]
            index = (slice(None) if isinstance(rows, slice) else replicas), rows
        return replace(
            self,
            ids=ids.take(rows) if isinstance(ids, PrefixTree) else mg.Tensor(ids.data[index]),
            targets=self.targets[index],
            rhs=self.rhs[index],
            weights=self.weights[index],
        )

    def parts(self, size: int) -> list[Batch]:
        """The samples in parts of `size`; the batch itself, with its tree, if it is one part."""
        if len(self) <= size:
            return [self]
        return [self.take(slice(i, i + size)) for i in range(0, len(self), size)]


def batch_of(
    equations: Equations,
    device: str = "cpu",
    dtype: Any = np.float32,
    *,
    share_prefixes: bool = False,
) -> Batch:
    """All equations as one batch on `device`. dtype: of the weights, that of the model.

    share_prefixes: the ids as a `PrefixTree`.
    ValueError if an equation has no right-hand side.
    """
    rhs = equations.rhs
    counts = rhs.sum(axis=1, keepdims=True)
    if not counts.all():
        raise ValueError("an equation has no token after '=' inside its mask")
    start = int(equations.eq_position.min()) + 1 if len(equations) else 0
    name = devices.parse(device)
    ids = np.ascontiguousarray(equations.inputs)
    return Batch(
        ids=PrefixTree(ids, name) if share_prefixes else mg.Tensor(devices.move(ids, name)),
        start=start,
        targets=devices.move(np.ascontiguousarray(equations.targets[:, start:]), name),
        rhs=devices.move(np.ascontiguousarray(rhs[:, start:]), name),
        weights=devices.move((rhs / counts)[:, start:].astype(dtype), name),
    )


def check_alike(batches: Sequence[Batch]) -> None:
    """ValueError unless all have the same shape and start."""
    for other in batches:
        shapes = [(*batch.ids.shape, batch.start) for batch in (batches[0], other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"data of {shapes[0]} and {shapes[1]} samples, tokens and first targets cannot be "
                f"stacked"
            )


def stacked(batches: Sequence[Batch]) -> Batch:
    """Plain batches, one for each replica, as one. ValueError if they differ in shape."""
    check_alike(batches)
    return Batch(
        ids=mg.stack([batch.ids for batch in batches]),
        start=batches[0].start,
        targets=np.stack([batch.targets for batch in batches]),
        rhs=np.stack([batch.rhs for batch in batches]),
        weights=np.stack([batch.weights for batch in batches]),
    )


def loss(logits: mg.Tensor, batch: Batch, reduction: str = "mean") -> mg.Tensor:
    """-log p of the right-hand sides.    logits (B, k, V) -> () or, with "none", (B,)

    reduction: over samples: "mean", "sum" or "none". ValueError for any other.
    For replicas, logits (R, B, k, V) -> (R,) or (R, B).
    """
    nll = mg.cross_entropy(logits, batch.targets, reduction="none")
    samples = (nll * batch.weights).sum(axis=-1)
    if reduction == "none":
        return samples
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction: expected "none", "mean" or "sum", got {reduction!r}')
    return samples.mean(axis=-1) if reduction == "mean" else samples.sum(axis=-1)


def correct(logits: mg.Tensor, batch: Batch) -> Array:
    """(B,) or (R, B) bool: every token of the right-hand side has the greatest logit."""
    right = np.argmax(logits.data, axis=-1) == batch.targets
    return (right | ~batch.rhs).all(axis=-1)


def accuracy(logits: mg.Tensor, batch: Batch, reduction: str = "mean") -> Any:
    """The samples that are right: "sum" their number, "mean" their share, "none" (B,) booleans.

    For replicas, a list of R numbers, or (R, B) booleans.
    """
    right = correct(logits, batch)
    if reduction == "none":
        return right
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction: expected "none", "mean" or "sum", got {reduction!r}')
    count = devices.to_numpy(right.sum(axis=-1))
    return (count / len(batch) if reduction == "mean" else count).tolist()


@mg.no_grad()
def evaluate(model: Model, batch: Batch) -> tuple[Any, Any]:
    """(mean loss, accuracy) of all samples, computed in parts of 4,096.

    The model must be in evaluation mode. Two floats; for replicas, two lists of R.
    """
    if len(batch) == 0:
        raise ValueError("evaluate: expected at least one sample")
    total, right = np.float64(0.0), np.int64(0)
    for part in batch.parts(EVALUATION_BATCH):
        words = logits(model, part.ids, part.start)
        total = total + devices.to_numpy(loss(words, part, "sum").data).astype(np.float64)
        right = right + np.asarray(accuracy(words, part, "sum"))
    return (total / len(batch)).tolist(), (right / len(batch)).tolist()


@mg.no_grad()
def evaluate_each(model: Model, batch: Batch) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(loss, whether right) of every sample, on the host: (B,) or (R, B). As in `evaluate`."""
    losses, right = [], []
    for part in batch.parts(EVALUATION_BATCH):
        words = logits(model, part.ids, part.start)
        losses.append(devices.to_numpy(loss(words, part, "none").data))
        right.append(devices.to_numpy(correct(words, part)))
    return np.concatenate(losses, axis=-1), np.concatenate(right, axis=-1)
