"""The trial of seeds 000 and 001 (IFT6135 W2025, assignment 2, Problem 4): its settings, its task.

The released code is train.py, trainer.py, run_exp.py and data.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import minigrad as mg
from experiments.data import modular
from experiments.grokking import objective, prefix
from experiments.grokking.objective import Batch
from experiments.train import records
from experiments.train.records import CHECKPOINT
from experiments.train.task import Rows, Task, shuffled
from experiments.train.trial import Trial
from minigrad import device as devices
from minigrad import nn
from minigrad.files import load_checkpoint
from models import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel
from models.count import count_parameters

Data = tuple[modular.Equations, modular.Equations]
ORDERS = {2: "binary", 3: "ternary"}


@dataclass(frozen=True)
class Grokking(Trial):
    """One trial. Defaults are those of the seeds, Problem 4; comments give sources and variants."""

    shown: ClassVar[tuple[str, ...]] = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")

    # training, released run_exp.py; seeds 0 and 42
    batch_size: int = 512  # 32 ... 512 in 4.6; at most the training set
    steps: int = 10_001  # 20,001 in 4.6, 40,001 in 4.7
    weight_decay: float = 1.0  # on every parameter; 1/4 ... 1 in 4.7
    clip: float = 1.0  # released trainer.py

    # data, released data.py
    p: int = 31  # 11 in 4.4
    operator: str = "+"
    orders: tuple[int, ...] = (2,)  # (2, 3) in 4.4
    r_train: float = 0.5  # .1 ... .9 in 4.3
    split_each_order: bool = False  # True in 4.4
    mask: Literal["code", "handout"] = "code"  # matters to mixed orders only

    # model
    model: Literal["lstm", "gpt"] = "lstm"
    layers: int = 2  # 1, 2, 3 in 4.5
    d: int = 128  # embedding and hidden size; 64, 128, 256 in 4.5
    heads: int = 4  # GPT
    dropout: float = 0.0
    exponent: Literal["vaswani", "halved"] = "vaswani"  # GPT; see GPTConfig

    # evaluation, released train.py
    eval_first: int = 100  # every step up to here,
    eval_period: int = 100  # then every 100th

    def __post_init__(self) -> None:
        super().__post_init__()
        modular.check(self.p, self.operator, self.orders, self.seed, self.mask)
        for name in ("layers", "d", "heads", "eval_period"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.r_train <= 1:
            raise ValueError(f"r_train: expected a fraction in (0, 1], got {self.r_train}")
        if self.model == "gpt" and self.d % self.heads:
            raise ValueError(f"d: expected a multiple of {self.heads} heads, got {self.d}")

    def task(self, device: str) -> Task:
        return GrokkingTask(self, device)

    def due(self, step: int, per_epoch: int) -> bool:
        return step <= self.eval_first or step % self.eval_period == 0

    def stacks(self) -> bool:
        return self.dropout == 0  # with dropout each replica would need its own masks


class GrokkingTask(Task):
    """Predict the right-hand sides of equations.

    train_set, val_set: the equations.
    train, val:         the equations as batches on the device, for measurements.
    drawn_from:         the training batch from which steps take their samples.

    Batches are prefix trees where that saves time and changes only rounding: on the CPU, but not in
    training with dropout, since sequences would share masks.
    """

    sums = ()

    def __init__(self, trial: Grokking, device: str, data: Data | None = None) -> None:
        """data: training and validation equations to use instead of the trial's."""
        super().__init__(trial, device)
        self.train_set, self.val_set = data or data_of(trial)
        self.size = len(self.train_set)
        self.model = model_of(trial, self.train_set).to(device)
        share = prefix.Switch.on and device == "cpu"
        self.train, self.val = (
            objective.batch_of(part, device, share_prefixes=share)
            for part in (self.train_set, self.val_set)
        )
        self.drawn_from = self.train
        if share and trial.dropout > 0:
            self.drawn_from = objective.batch_of(self.train_set, device)

    def order(self, epoch: int) -> list[Rows]:
        size = min(self.trial.batch_size, self.size)
        return shuffled(self.size, size, self.trial.seed, epoch)

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, tuple[()]]:
        batch = self.drawn_from.take(rows)
        return objective.loss(prefix.logits(self.model, batch.ids, batch.start), batch), ()

    def measure(self) -> dict[str, Any]:
        return measure(self.model, self.train, self.val)

    @classmethod
    def stacked(cls, tasks: Sequence[GrokkingTask]) -> GrokkingTask:
        return StackedTask(tasks)


class StackedTask(GrokkingTask):
    """Tasks of equal shape as one. Replicas have different batches, so prefixes are not shared."""

    def __init__(self, tasks: Sequence[GrokkingTask]) -> None:
        Task.__init__(self, tasks[0].trial, tasks[0].device)
        self.size, dtype = tasks[0].size, tasks[0].train.weights.dtype
        self.train, self.val = (
            objective.stacked([objective.batch_of(part, self.device, dtype) for part in parts])
            for parts in zip(*((task.train_set, task.val_set) for task in tasks), strict=True)
        )
        self.drawn_from = self.train
        self.model = nn.stack([task.model for task in tasks])


# --- data and model -----------------------------------------------------------------------------
def data_of(trial: Grokking) -> Data:
    """The training and the validation equations."""
    t = trial
    equations = modular.make(t.p, t.operator, t.orders, seed=t.seed, mask=t.mask)
    split = modular.split_each_order if t.split_each_order else modular.split
    return split(equations, t.r_train)


def model_of(trial: Grokking, data: modular.Equations) -> LSTMLanguageModel | GPT:
    """The untrained model for equations."""
    config = config_of(trial, data.vocabulary, data.inputs.shape[1])
    return LSTMLanguageModel(config) if isinstance(config, LSTMConfig) else GPT(config)


def config_of(trial: Grokking, words: tuple[str, ...], length: int) -> LSTMConfig | GPTConfig:
    """The sizes of the model for a vocabulary and sequences of `length` tokens."""
    t, pad = trial, words.index("PAD")
    if t.model == "lstm":
        return LSTMConfig(len(words), t.d, t.d, t.layers, dropout=t.dropout, padding_id=pad)
    return GPTConfig(
        len(words), t.d, t.layers, t.heads, dropout=t.dropout, max_length=length, padding_id=pad,
        exponent=t.exponent,
    )  # fmt: skip


def parameters_of(trial: Grokking, *, embeddings: bool) -> int:
    """The number of the model's parameters, with its token embedding or without."""
    words = modular.vocabulary(trial.p, trial.operator)
    config = config_of(trial, words, 2 * max(trial.orders) + 2)
    return count_parameters(config, embeddings=embeddings)


def load_model(folder: Path) -> tuple[Grokking, LSTMLanguageModel | GPT, tuple[str, ...]]:
    """The trial in a folder, its model as last saved, in eval mode, and the vocabulary."""
    trial = Grokking.of(records.read_settings(folder))
    data, _ = data_of(trial)
    model = model_of(trial, data)
    load_checkpoint(folder / CHECKPOINT, model=model)
    return trial, model.eval(), data.vocabulary


# --- measurements -------------------------------------------------------------------------------
def measure(model: Any, train: Batch, val: Batch) -> dict[str, Any]:
    """Loss and accuracy on both sets, and the norm of all parameters.

    If there are equations of two and of three operands, also for binary and ternary ones. For a
    stacked model every value is a list with a number for each replica.
    """
    orders = np.union1d(train.orders, val.orders).tolist()
    orders = orders if len(orders) > 1 else []
    parts = {"train": train, "val": val}
    measured = {name: scores(model, part, orders) for name, part in parts.items()}
    record: dict[str, Any] = {}
    for i, group in enumerate(["", *(f"{ORDERS[n]}_" for n in orders)]):
        for name in parts:
            record[f"{group}{name}_loss"], record[f"{group}{name}_accuracy"] = measured[name][i]
        if not group:
            record["norm"] = parameter_norm(model)
    return record


def scores(model: Any, batch: Batch, orders: Sequence[int]) -> list[tuple[Any, Any]]:
    """(loss, accuracy) of all samples, then of those with each number of operands in `orders`.

    Floats, or lists of R floats for a stacked model; NaN without samples.
    """
    if not len(batch):
        unknown = math.nan if model.replicas is None else [math.nan] * model.replicas
        return [(unknown, unknown)] * (1 + len(orders))
    if not orders:
        return [objective.evaluate(model, batch)]
    losses, right = objective.evaluate_each(model, batch)
    of_order = [batch.orders == n for n in orders]
    groups = [np.ones_like(right), *of_order]
    return [(mean_within(losses, group), mean_within(right, group)) for group in groups]


def mean_within(values: np.ndarray[Any, Any], group: np.ndarray[Any, Any]) -> Any:
    """The mean over the last axis of the values in a group, (..., B) bool; NaN if it is empty."""
    with np.errstate(invalid="ignore"):
        total = np.where(group, values, 0.0).sum(axis=-1, dtype=np.float64)
        return (total / group.sum(axis=-1)).tolist()


def parameter_norm(model: nn.Module) -> Any:
    """||θ||₂: the root of the sum of squares of all parameters, with the embedding.

    A float, or a list of R floats for a stacked model.
    """
    rows = model.replicas or 1
    squares = [
        devices.to_numpy((p.data.astype(np.float64) ** 2).reshape(rows, -1).sum(axis=1))
        for p in model.parameters()
        if p.requires_grad
    ]
    norms = [math.sqrt(math.fsum(each)) for each in zip(*squares, strict=True)]
    return norms[0] if model.replicas is None else norms
