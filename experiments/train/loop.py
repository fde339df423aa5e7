"""One trial, from its settings to the folder of its records: restore, step, record, save.

A trial that was interrupted goes on from its checkpoint, bit for bit on a CPU with as many BLAS
threads. `replicas` drives several trials as one model by the same loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import minigrad as mg
from experiments.train import records
from experiments.train.records import CHECKPOINT, Record
from experiments.train.task import Rows, Task, batches, checked, losses, measured, number
from experiments.train.trial import Trial
from minigrad import device as devices
from minigrad import nn, optim
from minigrad.files import CheckpointError, load_checkpoint, save_checkpoint
from minigrad.kernel import enabled
from minigrad.memory import keep_memory

if TYPE_CHECKING:
    from experiments.train.replicas import Replicas

CHECKPOINT_SECONDS = 60.0  # of training that a killed process may lose


class Interrupted(Exception):
    """Training was asked to stop, and has saved a checkpoint."""


class Watcher:
    """What a trial tells while it runs, and asks: a progress bar, the Ctrl-C key. Shows nothing.

    stopping: asked after every step whether to save and raise Interrupted.
    """

    def __init__(self, stopping: Callable[[], bool] = lambda: False) -> None:
        self.stop = stopping

    def start(self, step: int, total: int) -> None: ...

    def step(self, step: int) -> None: ...

    def record(self, record: Record) -> None: ...

    def end(self) -> None: ...


def run(trial: Trial, folder: Path, *, device: str = "cpu", watcher: Watcher | None = None) -> None:
    """Train, from the checkpoint in `folder` if there is one, and leave the folder of `records`.

    Does nothing if the trial has ended; with more `steps` than before it goes on. A trial whose
    sums or parameters are no longer finite has ended, with the last good checkpoint.

    ValueError, with nothing written, if the folder holds a trial with other settings or damaged
    records, or the loop cannot drive its task; Interrupted if the watcher says so.
    """
    name = devices.parse(device)
    if ended(trial, folder):
        return
    keep_memory()
    with mg.use_device(name):
        session = Session(trial, folder, name)
        session.begin()
        train_until(session, session.total, watcher or Watcher())


def ended(trial: Trial, folder: Path) -> bool:
    """Whether a trial has been run to its end. ValueError as `run`."""
    records.check_settings(folder, trial.settings(), type(trial)().settings())
    if not (folder / "status.json").exists():
        return False
    status = records.read_trial(folder).status
    early = status["diverged"] or status.get("stopped", False)
    return status["finished"] and (early or trial.steps <= status["steps"])


def train_until(session: Session | Replicas, until: int, watcher: Watcher) -> None:
    """Train up to step `until`, with the records and checkpoints that are due on the way.

    Raises Interrupted, with a checkpoint saved, if the watcher says so.
    """
    watcher.start(session.step, until)
    saved = monotonic()
    try:
        if session.step == 0 and session.due(0):
            session.record(watcher)
        while session.step < until and not session.done:
            session.update()
            if session.due(session.step):
                session.record(watcher)
            watcher.step(session.step)
            if session.diverged:
                return
            stop = watcher.stop()
            end = session.done or session.step == until
            if stop or end or monotonic() - saved >= CHECKPOINT_SECONDS:
                session.save()
                saved = monotonic()
            if stop and not session.done:
                raise Interrupted(f"stopped after step {session.step} of {session.total}")
    finally:
        watcher.end()


# --- a trial under way ----------------------------------------------------------------------------
class Session:
    """A trial under way: its task, its optimizer, how far it is, and the folder that it writes.

    step:  how many updates are done, of `total`: its steps, rounded up to whole epochs.
    done:  whether it has ended, after the last step, early, or because it diverged.
    """

    def __init__(self, trial: Trial, folder: Path, device: str) -> None:
        """From the checkpoint if there is one. Writes nothing; errors as `run`."""
        self.trial, self.folder, self.device = trial, folder, device
        self.advance = step_of(trial, device)
        self.task, self.optimizer = self.advance.task, self.advance.optimizer
        self.epoch, self.batches = 0, batches(self.task, 0)
        self.per_epoch = len(self.batches)
        self.total = math.ceil(trial.steps / self.per_epoch) * self.per_epoch
        self.step, self.seconds, self.done, self.diverged = 0, 0.0, False, False
        self.records: list[Record] = []
        self.times: list[Record] = []
        self.environments: list[Any] = []
        if (folder / CHECKPOINT).exists():
            self.restore()
        elif (first := trial.after()) is not None:
            self.task.begin(folder.parent / first / CHECKPOINT)
        self.random = mg.random.get_state()  # sessions that go side by side have one each

    def restore(self) -> None:
        """Model, optimizer, sums and random state of the checkpoint, and the records up to it."""
        path, name = self.folder / CHECKPOINT, type(self.task).__name__
        self.step, extra = load_checkpoint(path, model=self.task.model, optimizer=self.optimizer)
        if not isinstance(extra, dict) or extra.get("task") != name:
            raise CheckpointError(f"{path}: a checkpoint of another task than {name}")
        self.advance.sums[...] = devices.move(np.array(extra["sums"]), self.advance.device)
        metrics, times = (
            [r for r in records.read_records(self.folder / file) if r["step"] <= self.step]
            for file in ("metrics.jsonl", "times.jsonl")
        )
        if self.digest(metrics) != extra["metrics"]:
            problem = f"damaged, not what was written before step {self.step} of the checkpoint"
            raise records.damaged(self.folder, f"{self.folder / 'metrics.jsonl'}: {problem}")
        self.records, self.times = (  # the last line of a shorter trial goes
            [r for r in lines if self.due(r["step"])] for lines in (metrics, times)
        )
        self.seconds = float(records.read_status(self.folder)["seconds"])
        path = self.folder / "environment.json"
        self.environments = records.read_json(path, list) if path.exists() else []

    def begin(self) -> None:
        """Write what is known before the next step: settings, records so far, where it runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {"version": records.VERSION, **self.trial.settings()}
        records.write_json(self.folder / "settings.json", settings)
        # it has ended already if it was killed between the last checkpoint and the status; if not,
        # the status must not say so any more when the last line of a shorter trial goes
        self.done = self.step == self.total or bool(self.records and self.trial.stop(self.records))
        if not self.done:
            self.write_status()
        records.rewrite(self.folder / "metrics.jsonl", self.records)
        records.rewrite(self.folder / "times.jsonl", self.times)
        if self.done:
            self.end()
        here = {"from_step": self.step, **records.environment(self.device)}
        records.write_json(self.folder / "environment.json", [*self.environments, here])
        self.started = perf_counter()

    # --- what `train_until` calls
    def due(self, step: int) -> bool:
        """Whether a step is recorded."""
        return step == self.total or self.trial.due(step, self.per_epoch)

    def update(self) -> None:
        """One step of training."""
        self.optimizer.lr = self.trial.rate(self.step, self.per_epoch)
        self.advance(self.rows())
        self.step += 1

    def record(self, watcher: Watcher) -> None:
        """Measure, and write a line of metrics."""
        self.pause()
        (measurement,) = measured(self.task)
        (healthy,) = finite(self.task.model)
        watcher.record(self.add(measurement, devices.to_numpy(self.advance.sums), healthy))
        if self.trial.due(self.step, self.per_epoch):  # at the end they may go on, with more steps
            self.advance.sums[...] = 0.0
        self.started = perf_counter()

    def save(self) -> None:
        """Write the checkpoint of this step, after what it counts on."""
        self.pause()
        self.done = self.done or self.step == self.total
        extra = {
            "task": type(self.task).__name__,
            "sums": self.advance.sums.tolist(),
            "metrics": self.digest(self.records),
        }
        path = self.folder / CHECKPOINT
        with records.naming(path):
            records.on_disk(self.folder / "metrics.jsonl")
            save_checkpoint(
                path, model=self.task.model, optimizer=self.optimizer, step=self.step, extra=extra
            )
        if self.done:
            self.end()
        else:
            self.write_status()
        self.started = perf_counter()

    # --- what these are made of
    def rows(self) -> Rows:
        """The next batch."""
        epoch, place = divmod(self.step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, batches(self.task, epoch)
            if len(self.batches) != self.per_epoch:
                raise ValueError(
                    f"{type(self.task).__name__}.order: expected {self.per_epoch} batches in epoch "
                    f"{epoch}, as in the first, got {len(self.batches)}"
                )
        return self.batches[place]

    def add(self, measurement: Record, sums: Any, healthy: bool) -> Record:
        """Write a line of metrics and one of times. A trial that is not healthy has diverged.

        sums: (k,) what was added up since the last line, the denominator last.
        """
        means = {
            name: number(name, float(value / sums[-1]) if sums[-1] else math.nan)
            for name, value in zip(self.task.sums[:-1], sums, strict=False)
        }
        record = {"step": self.step, **means, **measurement}
        records.append(self.folder / "metrics.jsonl", record)
        time = {"step": self.step, "seconds": round(self.seconds, 3)}
        time["peak_bytes"] = records.peak_bytes(self.device)
        records.append(self.folder / "times.jsonl", time)
        self.records.append(record)
        self.diverged = not (healthy and np.isfinite(sums).all())
        self.done = self.diverged or self.trial.stop(self.records)
        if self.diverged:
            self.write_status()
        return record

    def digest(self, lines: Sequence[Record]) -> str:
        """Of the records that a longer trial has too: all, or all but the last."""
        return records.digest(r for r in lines if self.trial.due(r["step"], self.per_epoch))

    def pause(self) -> None:
        """Add the time since `started` to the seconds of training."""
        wait(self.device)
        self.seconds += perf_counter() - self.started

    def end(self) -> None:
        """Write what the task leaves, and then that the trial has ended."""
        self.task.model.eval()
        with mg.no_grad():
            self.task.leave(self.folder)
        self.write_status()

    def write_status(self) -> None:
        status = {
            "step": self.step,
            "steps": self.total,
            "finished": self.done,
            "diverged": self.diverged,
            "stopped": self.done and not self.diverged and self.step < self.total,
            "seconds": round(self.seconds, 3),
        }
        if self.done:
            status["metrics"] = records.digest(self.records)
        records.write_json(self.folder / "status.json", status)


def finite(model: Any) -> list[bool]:
    """Whether no parameter is NaN or infinite, for each replica; one value without replicas."""
    rows = model.replicas or 1
    good = [np.isfinite(p.data).reshape(rows, -1).all(axis=1) for p in model.parameters()]
    return [all(each) for each in zip(*(devices.to_numpy(g).tolist() for g in good), strict=True)]


def wait(device: str) -> None:
    """Wait until a GPU has finished its work."""
    if device != "cpu":
        devices.cupy().cuda.Device(int(device[5:])).synchronize()


# --- one step -------------------------------------------------------------------------------------
class Step:
    """One update of a model, from the numbers of a batch. Reads nothing from the device.

    On a GPU with kernels and Adam it is recorded, once for each number of samples (`mg.capture`).

    sums: (k,) float64 what `Task.loss` has added up, for R replicas (k, R); on the device.
    """

    def __init__(self, task: Task, optimizer: Any, clip: float) -> None:
        self.task, self.optimizer, self.clip = task, optimizer, clip
        self.replicas = task.model.replicas
        self.device = optimizer.parameters()[0].device
        shape = (len(task.sums), *([] if self.replicas is None else [self.replicas]))
        self.sums: Any = devices.move(np.zeros(shape), self.device)
        on_gpu = self.device != "cpu" and enabled()
        self.recorded = task.recordable and on_gpu and isinstance(optimizer, optim.Adam)
        self.recordings: dict[int, Any] = {}

    def __call__(self, rows: Rows) -> mg.Tensor:
        """Update on the samples `rows`, (n,) or for replicas (R, n); the loss before."""
        there = mg.Tensor(devices.move(rows, self.device))
        if not self.recorded:
            return self.update(there)
        size = rows.shape[-1]
        if size not in self.recordings:
            self.recordings[size] = mg.capture(self.update)
        return self.recordings[size](there)

    def update(self, rows: mg.Tensor) -> mg.Tensor:
        self.optimizer.zero_grad()
        loss, sums = losses(self.task, rows)
        (loss.sum() if loss.ndim else loss).backward()
        if self.clip < math.inf:
            parameters = self.optimizer.parameters()
            optim.clip_grad_norm(parameters, self.clip, replicas=self.replicas)
        self.optimizer.step()
        for i, value in enumerate(sums):
            self.sums[i] += value
        return loss


def step_of(trial: Trial, device: str) -> Step:
    """The untrained model of a trial and all that trains it."""
    mg.random.seed(trial.seed)
    task = checked(trial.task(device), trial)
    task.model.train()
    return Step(task, optimizer_of(trial, task.model), trial.clip)


def optimizer_of(trial: Trial, model: nn.Module, others: Sequence[Trial] = ()) -> Any:
    """The optimizer of what requires a gradient.

    others: the trials of the other replicas, each with its learning rate and its weight decay.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    lr: Any = trial.lr
    decay: Any = trial.weight_decay
    if model.replicas is not None:
        lr, decay = zip(*((t.lr, t.weight_decay) for t in (trial, *others)), strict=True)
    if trial.optimizer in ("adamw", "adam"):
        kind = optim.AdamW if trial.optimizer == "adamw" else optim.Adam
        return kind(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
    momentum = 0.9 if trial.optimizer == "momentum" else 0.0
    return optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay)
