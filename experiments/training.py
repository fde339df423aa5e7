"""One trial: a model trained on modular arithmetic, from its settings to the folder it leaves.

The loop of seeds 000 and 001 (IFT6135 W2025, assignment 2; released code train.py, trainer.py and
run_exp.py). A trial that was interrupted continues from its checkpoint, bit for bit on a CPU with
as many BLAS threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

import minigrad as mg
from experiments import modular, objective, records
from experiments.objective import Batch
from minigrad import device as devices
from minigrad import nn, optim
from minigrad.files import load_checkpoint, save_checkpoint
from models import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_PERIOD = 1000  # steps


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
    # change more: in training with dropout
    share_prefixes: bool = True

    def __post_init__(self) -> None:
        modular.check(self.p, self.operator, self.orders, self.seed, self.mask)
        for name in ("layers", "d", "heads", "batch_size", "steps", "eval_period"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


def data_of(trial: Trial) -> tuple[modular.Equations, modular.Equations]:
    """The training and the validation equations."""
    t = trial
    equations = modular.make(t.p, t.operator, t.orders, seed=t.seed, mask=t.mask)
    split = modular.split_each_order if t.split_each_order else modular.split
    return split(equations, t.r_train)


def model_of(trial: Trial, words: tuple[str, ...], length: int) -> LSTMLanguageModel | GPT:
    """The untrained model for a vocabulary and sequences of `length` tokens."""
    t, pad = trial, words.index("PAD")
    if t.model == "lstm":
        return LSTMLanguageModel(
            LSTMConfig(len(words), t.d, t.d, t.layers, dropout=t.dropout, padding_id=pad)
        )
    return GPT(
        GPTConfig(
            len(words), t.d, t.layers, t.heads, dropout=t.dropout, max_length=length,
            padding_id=pad, exponent=t.exponent,
        )
    )  # fmt: skip


def optimizer_of(trial: Trial, model: nn.Module) -> Any:
    """The optimizer over all parameters."""
    parameters = list(model.parameters())
    lr, decay = trial.lr, trial.weight_decay
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
    """One update; the loss before it, a 0-d tensor. Reads nothing back from the device."""
    optimizer.zero_grad()
    loss = objective.loss(model(batch.ids, start=batch.start), batch)
    loss.backward()
    optim.clip_grad_norm(optimizer.parameters(), clip)
    optimizer.step()
    return loss


def measure(model: Any, step: int, train: Batch, val: Batch) -> records.Record:
    """Loss and accuracy on both sets, and the norm of all parameters."""
    model.eval()
    found = {"train": objective.evaluate(model, train)}
    found["val"] = objective.evaluate(model, val) if len(val) else (math.nan, math.nan)
    model.train()
    record: records.Record = {"step": step}
    for part, (loss, accuracy) in found.items():
        record[f"{part}_loss"] = finite(loss)
        record[f"{part}_accuracy"] = finite(accuracy)
    record["norm"] = finite(parameter_norm(model))
    return record


def finite(x: float) -> float | None:
    """x, or None, which JSON can hold, where it is NaN or infinite."""
    return x if math.isfinite(x) else None


def parameter_norm(model: nn.Module) -> float:
    """||θ||₂: the root of the sum of squares of all parameters, embedding included."""
    squares = [
        float((p.data.astype(np.float64) ** 2).sum()) for p in model.parameters() if p.requires_grad
    ]
    return math.sqrt(math.fsum(squares))


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
    watcher = watcher or Watcher()
    name = devices.parse(device)
    devices.keep_memory()
    mg.random.seed(trial.seed)
    train_set, val_set = data_of(trial)
    train, val = (
        objective.batch_of(part, name, share_prefixes=trial.share_prefixes)
        for part in (train_set, val_set)
    )
    drawn_from = objective.batch_of(train_set, name) if trial.dropout > 0 else train
    size = min(trial.batch_size, len(train))
    total = total_steps(trial.steps, len(train), size)
    check_folder(folder, trial)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / "settings.json", in_json(asdict(trial)))
    status = read_status(folder)
    if status["finished"] and (status["diverged"] or status["step"] == total):
        return
    model = model_of(trial, train_set.vocabulary, train_set.inputs.shape[1]).to(name)
    optimizer = optimizer_of(trial, model)
    step = pick_up(folder, trial, total, name, model, optimizer)
    seconds = float(status["seconds"]) if step else 0.0
    started = perf_counter()

    def save(step: int, diverged: bool = False) -> None:
        if not diverged:
            save_checkpoint(folder / CHECKPOINT, model=model, optimizer=optimizer, step=step)
        write_status(folder, step, total, diverged, seconds + perf_counter() - started)

    def log(step: int) -> records.Record:
        record = measure(model, step, train, val)
        records.append(folder / "metrics.jsonl", record)
        watcher.record(record)
        return record

    model.train()
    watcher.start(step, total)
    try:
        if step == 0:
            log(step)
        for rows in batch_rows(len(train), size, trial.seed, step):
            if step == total:
                break
            train_step(model, optimizer, drawn_from.take(rows), trial.clip)
            step += 1
            if evaluated(step, total, trial) and log(step)["norm"] is None:
                save(step, diverged=True)
                break
            watcher.step(step)
            stop = watcher.stop()
            if stop or step % CHECKPOINT_PERIOD == 0 or step == total:
                save(step)
            if stop and step < total:
                raise Interrupted(f"stopped after step {step} of {total}")
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


def write_status(folder: Path, step: int, total: int, diverged: bool, seconds: float) -> None:
    status = {
        "step": step,
        "steps": total,
        "finished": diverged or step == total,
        "diverged": diverged,
        "seconds": round(seconds, 3),
    }
    records.write_json(folder / "status.json", status)


def in_json(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back: tuples are lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def check_folder(folder: Path, trial: Trial) -> None:
    """ValueError if a folder holds another trial.

    Only `steps` may differ, and only grow, and `share_prefixes`, which as the device changes no
    more than rounding.
    """
    path = folder / "settings.json"
    if not path.exists():
        return
    found, wanted = records.read_json(path), in_json(asdict(trial))
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
    settings = records.read_json(folder / "settings.json")
    trial = Trial(**{**settings, "orders": tuple(settings["orders"])})
    words = modular.vocabulary(trial.p, trial.operator)
    model = model_of(trial, words, 2 * max(trial.orders) + 2)
    load_checkpoint(folder / CHECKPOINT, model=model)
    return trial, model.eval(), words
