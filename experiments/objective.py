"""Loss and accuracy on the right-hand side of an equation.

Seeds 000 and 001 (IFT6135 W2025, assignment 2), Problem 3: a model is judged by the tokens after
"=" alone, in training and in evaluation. The loss of a sample is the mean of -log p over these
tokens, and a batch is the mean over its samples; where samples differ in length that is not the
mean over tokens. A sample is right if all of these tokens have the greatest logit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import minigrad as mg
from experiments.modular import Equations
from minigrad import device as devices

Array = Any  # numpy.ndarray or cupy.ndarray
Model = Callable[..., mg.Tensor]  # model(ids, start=): ids (B, S) -> logits (B, S - start, V)
EVALUATION_BATCH = 2**12  # released code, trainer.py


@dataclass(frozen=True)
class Batch:
    """Equations on a device, cut to the positions that count: k = S - start of them.

    ids:     (B, S) what the model reads.
    start:   the first position whose prediction may count.
    targets: (B, k) what it should predict there.
    rhs:     (B, k) bool, whether that target is on the right-hand side.
    weights: (B, k) rhs divided by its row sum, so that a weighted sum is the mean of a sample.
    """

    ids: mg.Tensor
    start: int
    targets: Array
    rhs: Array
    weights: Array

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Array) -> Batch:
        """The samples at an index array (on the host) or slice."""
        if isinstance(rows, np.ndarray):
            rows = devices.move(rows, self.ids.device)
        return replace(
            self,
            ids=mg.Tensor(self.ids.data[rows]),
            targets=self.targets[rows],
            rhs=self.rhs[rows],
            weights=self.weights[rows],
        )


def batch_of(equations: Equations, device: str = "cpu", dtype: Any = np.float32) -> Batch:
    """All equations as one batch on `device`, with weights in the dtype of the model.

    ValueError if one has no right-hand side.
    """
    rhs = equations.rhs
    counts = rhs.sum(axis=1, keepdims=True)
    if not counts.all():
        raise ValueError("an equation has no token after '=' inside its mask")
    start = int(equations.eq_position.min()) + 1 if len(equations) else 0
    name = devices.parse(device)
    return Batch(
        ids=mg.Tensor(devices.move(np.ascontiguousarray(equations.inputs), name)),
        start=start,
        targets=devices.move(np.ascontiguousarray(equations.targets[:, start:]), name),
        rhs=devices.move(np.ascontiguousarray(rhs[:, start:]), name),
        weights=devices.move((rhs / counts)[:, start:].astype(dtype), name),
    )


def loss(logits: mg.Tensor, batch: Batch, reduction: str = "mean") -> mg.Tensor:
    """-log p of the right-hand sides.    logits (B, k, V) -> () or, with "none", (B,)

    reduction: over samples: "mean", "sum" or "none". ValueError for another word.
    """
    nll = mg.cross_entropy(logits, batch.targets, reduction="none")
    samples = (nll * batch.weights).sum(axis=1)
    if reduction == "none":
        return samples
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction: expected "none", "mean" or "sum", got {reduction!r}')
    return samples.mean() if reduction == "mean" else samples.sum()


def correct(logits: mg.Tensor, batch: Batch) -> Array:
    """(B,) bool: every token of the right-hand side has the greatest logit."""
    right = np.argmax(logits.data, axis=-1) == batch.targets
    return (right | ~batch.rhs).all(axis=1)


def accuracy(logits: mg.Tensor, batch: Batch, reduction: str = "mean") -> Any:
    """How many samples are right: "sum" an int, "mean" that int / B, "none" the (B,) booleans."""
    right = correct(logits, batch)
    if reduction == "none":
        return right
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction: expected "none", "mean" or "sum", got {reduction!r}')
    count = int(right.sum())
    return count / len(batch) if reduction == "mean" else count


@mg.no_grad()
def evaluate(model: Model, batch: Batch) -> tuple[float, float]:
    """(mean loss, accuracy) of all samples, in parts of 4,096. The caller switches to eval mode."""
    if len(batch) == 0:
        raise ValueError("evaluate: expected at least one sample")
    total, right = 0.0, 0
    for i in range(0, len(batch), EVALUATION_BATCH):
        part = batch.take(slice(i, i + EVALUATION_BATCH))
        logits = model(part.ids, start=part.start)
        total += float(loss(logits, part, "sum"))
        right += accuracy(logits, part, "sum")
    return total / len(batch), right / len(batch)
