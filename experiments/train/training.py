"""One trial: a model trained on modular arithmetic, from its settings to the folder it leaves.

The loop of seeds 000 and 001 (IFT6135 W2025, assignment 2; released code train.py, trainer.py and
run_exp.py). A trial that was interrupted continues from its checkpoint, bit for bit on a CPU with
as many BLAS threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Protocol

import numpy as np

import minigrad as mg
from experiments.data import modular
from experiments.grokking import objective
from experiments.grokking.objective import Batch
from experiments.train import records
from minigrad import device as devices
from minigrad import nn, optim
from minigrad.files import load_checkpoint, save_checkpoint
from minigrad.kernel import enabled
from models import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel, PrefixTree
from models.count import count_parameters

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_PERIOD = 1000  # steps
ORDERS = {2: "binary", 3: "ternary"}


@dataclass(frozen=True)
class Trial:
    """The settings of one trial. Defaults are the seeds', Problem 4; the source stands beside."""

    model: Literal["lstm", "gpt"] = "lstm"
    seed: int = 0  # 0 and 42, Problem 4: of the split, the weights and the order of the data

    # data, Problem 4 and released data.py
    p: int = 31  # 11 in 4.4
    operator: str = "+"
    orders: tuple[int, ...] = (2,)  # (2, 3) in 4.4
    r_train: float = 0.5  # .1 ... .9 in 4.3
    split_each_order: bool = False  # True in 4.4
    mask: Literal["code", "handout"] = "code"  # matters to mixed orders only

    # model, Problem 4
    layers: int = 2  # 1, 2, 3 in 4.5
    d: int = 128  # embedding and hidden size; 64, 128, 256 in 4.5
    heads: int = 4  # GPT
    dropout: float = 0.0
    exponent: Literal["vaswani", "halved"] = "vaswani"  # GPT; see GPTConfig

    # training, released run_exp.py
    optimizer: Literal["adamw", "adam", "sgd", "momentum"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1.0  # on every parameter; 1/4 ... 1 in 4.7
    clip: float = 1.0  # greatest norm of the whole gradient, released trainer.py
    batch_size: int = 512  # 32 ... 512 in 4.6; at most the training set
    steps: int = 10_001  # 20,001 in 4.6, 40,001 in 4.7; rounded up to whole epochs

    # evaluation, released train.py
    eval_first: int = 100  # every step up to here,
    eval_period: int = 100  # then every 100th; step 0 and the last always

    # how it is computed: from a `PrefixTree`, which changes rounding alone. Ignored where it would
    # change more, in training with dropout, and where it would cost more: where several trials run
    # together, and on a GPU, where a small batch takes no longer than a part of it
    share_prefixes: bool = True

    def __post_init__(self) -> None:
        modular.check(self.p, self.operator, self.orders, self.seed, self.mask)
        for name in ("layers", "d", "heads", "batch_size", "steps", "eval_period"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay: expected at least 0, got {self.weight_decay}")
        if not 0 < self.r_train <= 1:
            raise ValueError(f"r_train: expected a fraction in (0, 1], got {self.r_train}")
        if self.model == "gpt" and (self.heads < 1 or self.d % self.heads):
            raise ValueError(f"d: expected a multiple of {self.heads} heads, got {self.d}")


def data_of(trial: Trial) -> tuple[modular.Equations, modular.Equations]:
    """The training and the validation equations."""
    t = trial
    equations = modular.make(t.p, t.operator, t.orders, seed=t.seed, mask=t.mask)
    split = modular.split_each_order if t.split_each_order else modular.split
    return split(equations, t.r_train)


def model_of(trial: Trial, words: tuple[str, ...], length: int) -> LSTMLanguageModel | GPT:
    """The untrained model for a vocabulary and sequences of `length` tokens."""
    config = config_of(trial, words, length)
    return LSTMLanguageModel(config) if isinstance(config, LSTMConfig) else GPT(config)


def config_of(trial: Trial, words: tuple[str, ...], length: int) -> LSTMConfig | GPTConfig:
    """The sizes of the model for a vocabulary and sequences of `length` tokens."""
    t, pad = trial, words.index("PAD")
    if t.model == "lstm":
        return LSTMConfig(len(words), t.d, t.d, t.layers, dropout=t.dropout, padding_id=pad)
    return GPTConfig(
        len(words), t.d, t.layers, t.heads, dropout=t.dropout, max_length=length, padding_id=pad,
        exponent=t.exponent,
    )  # fmt: skip


def parameters_of(trial: Trial, *, embeddings: bool) -> int:
    """How many numbers the model learns, with its token embedding or without."""
    words = modular.vocabulary(trial.p, trial.operator)
    config = config_of(trial, words, 2 * max(trial.orders) + 2)
    return count_parameters(config, embeddings=embeddings)


def optimizer_of(trial: Trial, model: nn.Module, others: Sequence[Trial] = ()) -> Any:
    """The optimizer over all parameters.

    others: the trials of the other replicas of a stacked model, each with its learning rate and its
            weight decay.
    """
    parameters = list(model.parameters())
    lr: Any = trial.lr
    decay: Any = trial.weight_decay
    if model.replicas is not None:
        lr, decay = zip(*((t.lr, t.weight_decay) for t in (trial, *others)), strict=True)
    if trial.optimizer == "adamw":
        return optim.AdamW(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
    if trial.optimizer == "adam":
        return optim.Adam(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
    momentum = 0.9 if trial.optimizer == "momentum" else 0.0
    return optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay)


# --- the schedule -------------------------------------------------------------------------------
def total_steps(steps: int, n_train: int, batch_size: int) -> int:
    """Steps rounded up to whole epochs, each of ceil(n_train / batch_size) steps."""
    per_epoch = math.ceil(n_train / batch_size)
    return math.ceil(steps / per_epoch) * per_epoch


def evaluated(step: int, total: int, trial: Trial) -> bool:
    """Whether metrics are recorded after `step`; step 0 is the untrained model."""
    return step <= trial.eval_first or step % trial.eval_period == 0 or step == total


def batch_rows(n: int, batch_size: int, seed: int, step: int) -> Iterator[np.ndarray[Any, Any]]:
    """The rows of the batches after `step`, for ever: every epoch in a new order, nothing dropped.

    The order of an epoch depends on the seed and the number of the epoch alone, so training can
    continue from any step.
    """
    per_epoch = math.ceil(n / batch_size)
    epoch, place = divmod(step, per_epoch)
    while True:
        key = np.array([seed, epoch], dtype=np.uint64)
        order = np.random.Generator(np.random.Philox(key=key)).permutation(n)
        for i in range(place, per_epoch):
            yield order[i * batch_size : (i + 1) * batch_size]
        epoch, place = epoch + 1, 0


# --- one step, one line of metrics ----------------------------------------------------------------
def train_step(model: Any, optimizer: Any, batch: Batch, clip: float) -> mg.Tensor:
    """One update; the loss before it, () or (R,) for replicas. Reads nothing from the device."""
    optimizer.zero_grad()
    loss = objective.loss(model(batch.ids, start=batch.start), batch)
    (loss.sum() if loss.ndim else loss).backward()
    optim.clip_grad_norm(optimizer.parameters(), clip, replicas=model.replicas)
    optimizer.step()
    return loss


class Stepper:
    """`train_step` on rows of one batch, recorded where that is possible (`mg.capture`).

    That is on a GPU with kernels, for Adam on plain batches. There is a
    recording for each size of batch; with dropout too, whose kernel draws what the CPU draws.
    """

    def __init__(self, model: Any, optimizer: Any, drawn_from: Batch, clip: float) -> None:
        self.model, self.optimizer = model, optimizer
        self.drawn_from, self.clip = drawn_from, clip
        self.recorded = (
            drawn_from.ids.device != "cpu"
            and enabled()
            and isinstance(optimizer, optim.Adam)
            and not isinstance(drawn_from.ids, PrefixTree)
        )
        self.steps: dict[int, Any] = {}

    def update(self, rows: Any) -> mg.Tensor:
        """One step on the samples at an index array on the host, (n,) or for replicas (R, n)."""
        if not self.recorded:
            return self.train(rows)
        size = rows.shape[-1]
        if size not in self.steps:
            self.steps[size] = mg.capture(self.train)
        return self.steps[size](mg.Tensor(devices.move(rows, self.drawn_from.ids.device)))

    def train(self, rows: Any) -> mg.Tensor:
        return train_step(self.model, self.optimizer, self.drawn_from.take(rows), self.clip)


def measure(model: Any, step: int, train: Batch, val: Batch) -> Any:
    """Loss and accuracy on both sets, and the norm of all parameters: a record.

    Where equations have two operands and three, also those of the binary and the ternary ones.
    Of a stacked model a list of records, one a replica.
    """
    model.eval()
    orders = np.union1d(train.orders, val.orders).tolist()
    orders = orders if len(orders) > 1 else []
    parts = {"train": train, "val": val}
    found = {name: scores(model, part, orders) for name, part in parts.items()}
    record: dict[str, Any] = {}
    for i, group in enumerate(["", *(f"{ORDERS[n]}_" for n in orders)]):
        for name in parts:
            record[f"{group}{name}_loss"], record[f"{group}{name}_accuracy"] = found[name][i]
        if not group:
            record["norm"] = parameter_norm(model)
    model.train()
    if model.replicas is None:
        return record_of(step, record)
    return [record_of(step, {k: v[r] for k, v in record.items()}) for r in range(model.replicas)]


def scores(model: Any, batch: Batch, orders: Sequence[int]) -> list[tuple[Any, Any]]:
    """(loss, accuracy) of all samples, then of those with each number of operands in `orders`.

    Floats, or for a stacked model lists of one a replica; NaN where there is no sample.
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


def record_of(step: int, values: dict[str, float]) -> records.Record:
    """A line of metrics."""
    return {"step": step, **{name: finite(value) for name, value in values.items()}}


def finite(x: float) -> float | None:
    """x, or None, which JSON can hold, where it is NaN or infinite."""
    return x if math.isfinite(x) else None


def parameter_norm(model: nn.Module) -> Any:
    """||θ||₂: the root of the sum of squares of all parameters, embedding included.

    A float, or for a stacked model a list of one for each replica.
    """
    rows = model.replicas or 1
    squares = [
        devices.to_numpy((p.data.astype(np.float64) ** 2).reshape(rows, -1).sum(axis=1))
        for p in model.parameters()
        if p.requires_grad
    ]
    norms = [math.sqrt(math.fsum(each)) for each in zip(*squares, strict=True)]
    return norms[0] if model.replicas is None else norms


# --- the whole trial ------------------------------------------------------------------------------
class Interrupted(Exception):
    """Training was asked to stop, and has saved a checkpoint."""


class Watcher:
    """What a trial tells while it runs, and asks: a progress bar, the Ctrl-C key. Does nothing."""

    def start(self, step: int, total: int) -> None: ...

    def step(self, step: int) -> None: ...

    def record(self, record: records.Record) -> None: ...

    def end(self) -> None: ...

    def stop(self) -> bool:
        """Whether to save and raise Interrupted now; asked after every step."""
        return False


class TrialRun:
    """A trial under way: its data, its model and optimizer, and the folder that it writes.

    step:     how many steps are done.
    total:    after how many it ends.
    finished: whether it has ended, after the last step or because it diverged.
    """

    def __init__(self, trial: Trial, folder: Path) -> None:
        """Looks into the folder and writes nothing. ValueError if it holds another trial."""
        self.trial, self.folder = trial, folder
        self.train_set, self.val_set = data_of(trial)
        self.batch_size = min(trial.batch_size, len(self.train_set))
        self.total = total_steps(trial.steps, len(self.train_set), self.batch_size)
        check_folder(folder, trial)
        status = read_status(folder)
        self.finished = status["finished"] and (status["diverged"] or status["step"] == self.total)
        self.seconds = float(status["seconds"])

    def load_batches(self, device: str, *, share_prefixes: bool) -> None:
        """Both sets on a device; `drawn_from` is that from which batches are taken."""
        self.train, self.val = (
            objective.batch_of(part, device, share_prefixes=share_prefixes)
            for part in (self.train_set, self.val_set)
        )
        self.drawn_from = self.train
        if share_prefixes and (self.trial.dropout > 0 or device != "cpu"):
            self.drawn_from = objective.batch_of(self.train_set, device)

    def make(self, device: str) -> None:
        """The untrained model and its optimizer; writes nothing."""
        mg.random.seed(self.trial.seed)
        words, length = self.train_set.vocabulary, self.train_set.inputs.shape[1]
        self.model = model_of(self.trial, words, length).to(device)
        self.model.train()
        self.optimizer = optimizer_of(self.trial, self.model)
        self.stepper = Stepper(self.model, self.optimizer, self.drawn_from, self.trial.clip)
        self.step = 0
        self.rows = batch_rows(len(self.train_set), self.batch_size, self.trial.seed, 0)

    def begin(self, device: str, *, keep_on: str | None = None) -> None:
        """Model and optimizer, from the checkpoint if there is one.

        device:  where the trial runs, for its record.
        keep_on: where they lie, if that is elsewhere.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {"version": records.VERSION, **in_json(asdict(self.trial))}
        records.write_json(self.folder / "settings.json", settings)
        self.make(keep_on or device)
        self.step = pick_up(self.folder, self.trial, self.total, device, self.model, self.optimizer)
        self.rows = batch_rows(len(self.train_set), self.batch_size, self.trial.seed, self.step)
        self.random = mg.random.get_state()  # of its own streams, where runs go side by side
        self.seconds = self.seconds if self.step else 0.0
        self.started = perf_counter()
        if self.step == self.total:  # it was stopped after the last checkpoint, before the status
            self.write_status()

    def update(self) -> None:
        """One step of training."""
        self.stepper.update(next(self.rows))
        self.step += 1

    def log(self, watcher: Watcher) -> bool:
        """Record the metrics of this step. Whether to go on: False if the trial has diverged."""
        record = measure(self.model, self.step, self.train, self.val)
        watcher.record(record)
        return self.add_line(record)

    def add_line(self, record: records.Record) -> bool:
        """See `log`."""
        records.append(self.folder / "metrics.jsonl", record)
        if record["norm"] is None:
            self.step = record["step"]
            self.write_status(diverged=True)
        return not self.finished

    def save(self) -> None:
        """Write the checkpoint of this step."""
        save_checkpoint(
            self.folder / CHECKPOINT, model=self.model, optimizer=self.optimizer, step=self.step
        )
        self.write_status()

    def write_status(self, diverged: bool = False) -> None:
        now = perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now
        self.finished = diverged or self.step == self.total
        status = {
            "step": self.step,
            "steps": self.total,
            "finished": self.finished,
            "diverged": diverged,
            "seconds": round(self.seconds, 3),
        }
        records.write_json(self.folder / "status.json", status)


def run_trial(
    trial: Trial,
    folder: Path,
    *,
    device: str = "cpu",
    watcher: Watcher | None = None,
) -> None:
    """Train, from the checkpoint in `folder` if there is one, and leave the folder of `records`.

    Does nothing if the trial is finished; with more `steps` than before it goes on. A trial whose
    parameters are no longer finite is finished, with the last good checkpoint. Raises ValueError if
    the folder holds a trial with other settings, Interrupted if the watcher says so.
    """
    name = devices.parse(device)
    devices.keep_memory()
    run = TrialRun(trial, folder)
    if run.finished:
        return
    with mg.use_device(name):
        run.load_batches(name, share_prefixes=trial.share_prefixes)
        run.begin(name)
        train_until(run, run.total, watcher or Watcher())


class Steps(Protocol):
    """What `train_until` drives: a `TrialRun`, or several as one."""

    trial: Trial
    step: int
    total: int

    def update(self) -> None: ...

    def log(self, watcher: Watcher) -> bool: ...

    def save(self) -> None: ...


def train_until(run: Steps, until: int, watcher: Watcher) -> None:
    """Train up to step `until`, with the metrics and checkpoints that are due on the way.

    Raises Interrupted, with a checkpoint saved, if the watcher says so.
    """
    watcher.start(run.step, until)
    try:
        if run.step == 0 and not run.log(watcher):
            return
        while run.step < until:
            run.update()
            if evaluated(run.step, run.total, run.trial) and not run.log(watcher):
                return
            watcher.step(run.step)
            stop = watcher.stop()
            if stop or run.step % CHECKPOINT_PERIOD == 0 or run.step == until:
                run.save()
            if stop and run.step < run.total:
                raise Interrupted(f"stopped after step {run.step} of {run.total}")
    finally:
        watcher.end()


def pick_up(
    folder: Path, trial: Trial, total: int, device: str, model: nn.Module, optimizer: Any
) -> int:
    """Load the checkpoint if there is one, cut the metrics to its step, note where we run."""
    step, lines = 0, list[records.Record]()
    metrics, checkpoint = folder / "metrics.jsonl", folder / CHECKPOINT
    if checkpoint.exists():
        step = load_checkpoint(checkpoint, model=model, optimizer=optimizer).step
        lines = [
            r for r in records.read_records(metrics)
            if r["step"] <= step and evaluated(r["step"], total, trial)
        ]  # fmt: skip
    records.rewrite(metrics, lines)
    sessions = folder / "environment.json"
    earlier = records.read_json(sessions) if sessions.exists() and step else []
    records.write_json(sessions, [*earlier, {"from_step": step, **records.environment(device)}])
    return step


def in_json(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back: tuples are lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def trial_of(settings: dict[str, Any]) -> Trial:
    """The trial whose settings `in_json` gave."""
    known = {k: v for k, v in settings.items() if k != "version"}
    return Trial(**{**known, "orders": tuple(known["orders"])})


def check_folder(folder: Path, trial: Trial) -> None:
    """ValueError if a folder holds another trial.

    Only `steps` may differ, and only grow, and `share_prefixes`, which as the device changes no
    more than rounding.
    """
    if not (folder / "settings.json").exists():
        return
    found, wanted = records.read_settings(folder), in_json(asdict(trial))
    for k in wanted:
        if k not in ("steps", "share_prefixes") and found.get(k) != wanted[k]:
            raise ValueError(f"{folder}: holds a trial with {k}={found.get(k)}, not {wanted[k]}")
    if wanted["steps"] < found["steps"]:
        raise ValueError(
            f"{folder}: holds a trial of {found['steps']} steps, more than {wanted['steps']}"
        )


def read_status(folder: Path) -> dict[str, Any]:
    path = folder / "status.json"
    nothing = {"step": 0, "finished": False, "diverged": False, "seconds": 0.0}
    return records.read_json(path) if path.exists() else nothing


def load_model(folder: Path) -> tuple[Trial, LSTMLanguageModel | GPT, tuple[str, ...]]:
    """The trial in a folder, its model as last saved, in eval mode, and the vocabulary."""
    trial = trial_of(records.read_settings(folder))
    words = modular.vocabulary(trial.p, trial.operator)
    model = model_of(trial, words, 2 * max(trial.orders) + 2)
    load_checkpoint(folder / CHECKPOINT, model=model)
    return trial, model.eval(), words
