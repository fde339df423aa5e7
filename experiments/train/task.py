"""What is trained: a model, its batches, its loss, and what is measured of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

import minigrad as mg
from experiments.train.records import Record
from experiments.train.trial import Trial
from minigrad import nn
from minigrad.files import load_checkpoint
from minigrad.tensor import raw

RESERVED = ("name", "step", "finished", "diverged", "seconds")  # in trials.jsonl, with settings
Rows = np.ndarray[Any, np.dtype[np.integer[Any]]]  # (n,) the samples of a batch by their numbers


class Task:
    """The work of a trial. A kind of task is a subclass that sets `model` and `size`, and whose
    `loss` and `measure` say what is minimized and what is recorded.

    Data go to the device once, in `__init__`. From then on a batch is the numbers of its samples.

    model:      on the device; what of it requires a gradient is trained.
    size:       how many samples there are to train on.
    sums:       names of what `loss` adds up between two records. The last is the denominator of the
                others, which the records hold: so a mean over batches of unequal size is exact.
    recordable: whether a GPU may record the steps (`mg.capture`): not if `loss` reads something
                back, or computes otherwise for other samples, as many as they may be.
    """

    model: nn.Module
    size: int
    sums: tuple[str, ...] = ("loss", "count")
    recordable: bool = True

    def __init__(self, trial: Trial, device: str) -> None:
        self.trial, self.device = trial, device

    def order(self, epoch: int) -> list[Rows]:
        """The batches of an epoch; it depends on nothing else, so that training can go on anywhere.

        Every epoch has as many. Here: every sample once, in a new order.
        """
        return shuffled(self.size, self.trial.batch_size, self.trial.seed, epoch)

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor | float]]:
        """The loss of a batch, (), and a number for each of `sums`.

        rows: (n,) integers on the device. For R replicas (R, n), and the loss is (R,).
        """
        raise NotImplementedError

    def measure(self) -> Record:
        """Numbers by name for the records, in evaluation mode and without gradients."""
        raise NotImplementedError

    def begin(self, checkpoint: Path) -> None:
        """Take over what the trial that this one comes `after` has learnt: here all its weights."""
        load_checkpoint(checkpoint, model=self.model)

    def leave(self, folder: Path) -> None:
        """Files beside the records, for figures, once the trial has ended and has not diverged.

        In evaluation mode and without gradients. If the process dies here, it is called again.
        """

    @classmethod
    def stacked(cls, tasks: Sequence[Self]) -> Task:
        """Tasks of equal shape as one over `nn.stack` of their models.

        Its `loss` gives (R,), and its `measure` lists of R numbers by name.
        """
        raise ValueError(f"{cls.__name__}: cannot be stacked")


def shuffled(n: int, batch_size: int, seed: int, epoch: int) -> list[Rows]:
    """The numbers below n in an order of this seed and epoch, in batches; the last may be short."""
    if batch_size > n:
        raise ValueError(f"batch_size: {batch_size} is more than the {n} samples to train on")
    key = np.array([seed, epoch], dtype=np.uint64)
    order = np.random.Generator(np.random.Philox(key=key)).permutation(n)
    return [order[i : i + batch_size] for i in range(0, n, batch_size)]


# --- what a task must keep to ---------------------------------------------------------------------
def checked(task: Any, trial: Trial) -> Task:
    """The task. ValueError, in one line, if the loop cannot drive it."""
    name = type(task).__name__
    if not isinstance(task, Task):
        raise ValueError(f"{type(trial).__name__}.task: expected a Task, got {name}")
    model, size = getattr(task, "model", None), getattr(task, "size", None)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name}.model: expected a Module, got {type(model).__name__}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"{name}.model: no parameter requires a gradient")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"{name}.size: expected samples to train on, got {size}")
    taken = {*RESERVED, *trial.settings()}
    if len({*task.sums}) != len(task.sums) or taken & {*task.sums}:
        expected = "expected different names, not of something else"
        raise ValueError(f"{name}.sums: {expected}: {task.sums}")
    return task


def batches(task: Task, epoch: int) -> list[Rows]:
    """`Task.order`. ValueError unless it is batches of sample numbers."""
    order, name = task.order(epoch), f"{type(task).__name__}.order"
    if not order:
        raise ValueError(f"{name}: epoch {epoch} has no batch")
    for rows in order:
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise ValueError(f"{name}: expected arrays (n,) of integers, got {rows!r:.60}")
        if not rows.size or rows.min() < 0 or rows.max() >= task.size:
            raise ValueError(f"{name}: expected numbers 0..{task.size - 1}, got {rows!r:.60}")
    return order


def losses(task: Task, rows: mg.Tensor) -> tuple[mg.Tensor, list[Any]]:
    """`Task.loss` and the arrays of its sums. ValueError for a wrong shape or number of them."""
    loss, sums = task.loss(rows)
    name, shape = f"{type(task).__name__}.loss", rows.shape[:-1]
    if not isinstance(loss, mg.Tensor) or loss.shape != shape:
        got = loss.shape if isinstance(loss, mg.Tensor) else type(loss).__name__
        raise ValueError(f"{name}: expected a loss of shape {shape}, got {got}")
    if len(sums) != len(task.sums):
        expected = ", ".join(task.sums) or "no sums"
        raise ValueError(f"{name}: expected {expected}, got {len(sums)} sums")
    return loss, [raw(each) for each in sums]


def measured(task: Task) -> list[Record]:
    """`Task.measure` of each replica, one without; NaN and infinity, which JSON lacks, are None."""
    task.model.eval()
    with mg.no_grad():
        values = task.measure()
    task.model.train()
    name = f"{type(task).__name__}.measure"
    if not isinstance(values, dict):
        raise ValueError(f"{name}: expected numbers by name, got {type(values).__name__}")
    taken = {*RESERVED, *task.sums, *task.trial.settings()}
    for key in values:
        if not isinstance(key, str) or key in taken:
            raise ValueError(f"{name}: {key!r} is no name, or is the name of something else")
    replicas = task.model.replicas
    of_each = [values] if replicas is None else [
        {key: value[r] for key, value in values.items()} for r in range(replicas)
    ]  # fmt: skip
    return [{k: number(f"{name}: {k!r}", v) for k, v in record.items()} for record in of_each]


def number(name: str, value: Any) -> int | float | None:
    """A number as JSON holds it."""
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    got = " ".join(repr(value).split())
    raise ValueError(f"{name}: expected a number, which JSON can hold, got {got:.60}")
