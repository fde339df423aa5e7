"""Trials that differ in their seed, learning rate or weight decay, trained as one stacked model.

On a GPU a step of one small trial takes as long as its launches; replicas share them. Each trial
leaves the folder that `run_trial` leaves, so what reads folders sees no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from time import perf_counter

import numpy as np

import minigrad as mg
from experiments.grokking import objective
from experiments.train.training import (
    Stepper,
    Trial,
    TrialRun,
    Watcher,
    measure,
    optimizer_of,
    train_until,
)
from minigrad import device as devices
from minigrad import nn
from minigrad.files import CheckpointError

MAY_DIFFER = ("seed", "lr", "weight_decay", "share_prefixes")


def run_trials_together(
    trials: Sequence[Trial],
    folders: Sequence[Path],
    *,
    device: str = "cpu",
    watcher: Watcher | None = None,
) -> None:
    """Train trials as replicas of one model, each into its folder; see `run_trial`.

    Metrics and parameters are those of separate runs to rounding; the seconds are those of all.
    Batches are plain, `share_prefixes` or not. A trial that diverges ends, and the others go on.

    Trials continue from their checkpoints, bit for bit on a CPU if the same are given together.
    Those with fewer steps behind them go first, until they are where the others are.

    Raises ValueError, with nothing written, unless all fields but `MAY_DIFFER` are equal and there
    is no dropout, and if a folder holds another trial; Interrupted if the watcher says so, which is
    told about the first trial.
    """
    name = devices.parse(device)
    devices.keep_memory()
    check_together(trials, folders)
    runs = [TrialRun(*pair) for pair in zip(trials, folders, strict=True)]
    if all(run.finished for run in runs):
        return
    with mg.use_device(name):
        for run in runs:
            run.load_batches(name, share_prefixes=False)
        for part in ("train", "val"):
            objective.check_alike([getattr(run, part) for run in runs])
        for run in runs:
            if not run.finished:
                run.begin(name, keep_on="cpu")
        while left := [run for run in runs if not run.finished]:
            step = min(run.step for run in left)
            ahead = [run.step for run in left if run.step > step]
            replicas = Replicas(runs, step, name)
            train_until(replicas, min(ahead, default=replicas.total), watcher or Watcher())


def check_together(trials: Sequence[Trial], folders: Sequence[Path]) -> None:
    """ValueError unless the trials can be replicas of one model."""
    if not trials or len(trials) != len(folders) or len(set(folders)) != len(folders):
        raise ValueError("expected one or more trials, each with a folder of its own")
    first = trials[0]
    for trial in trials:
        for name in (field.name for field in fields(Trial)):
            pair = getattr(first, name), getattr(trial, name)
            if name not in MAY_DIFFER and pair[0] != pair[1]:
                raise ValueError(
                    f"trials with {name}={pair[0]} and {name}={pair[1]} cannot run together; only "
                    f"{', '.join(MAY_DIFFER)} may differ"
                )
    if first.dropout > 0:
        raise ValueError(
            f"trials with dropout={first.dropout} cannot run together: each draws masks of its own"
        )


class Replicas:
    """The runs at a step as one stacked model. They lie on the host, where `save` puts them.

    The places of the others, which have ended or are ahead, are filled with copies of the first: in
    a stack of another size some sums are rounded differently.
    """

    def __init__(self, runs: Sequence[TrialRun], step: int, device: str) -> None:
        at_step = [not run.finished and run.step == step for run in runs]
        self.places = [i for i, yes in enumerate(at_step) if yes]
        first = runs[self.places[0]]
        self.runs = runs = [run if yes else first for run, yes in zip(runs, at_step, strict=True)]
        self.trial, self.step, self.total = first.trial, step, first.total
        self.train = objective.stacked([run.train for run in runs])
        self.val = objective.stacked([run.val for run in runs])
        self.model = nn.stack([run.model for run in runs]).to(device)
        self.optimizer = optimizer_of(self.trial, self.model, [run.trial for run in runs[1:]])
        states = [run.optimizer.state_dict() for run in runs]
        slots = {
            name: value if counts(name) else np.stack([state["slots"][name] for state in states])
            for name, value in states[0]["slots"].items()
        }
        before = {"stepped": states[0]["stepped"], "slots": slots}
        self.optimizer.load_state_dict(self.optimizer.state_dict() | before)
        self.stepper = Stepper(self.model, self.optimizer, self.train, self.trial.clip)
        for i in self.places:
            runs[i].started = perf_counter()

    def update(self) -> None:
        """One step of training of every replica, on batches of its own."""
        rows = {i: next(self.runs[i].rows) for i in self.places}
        filling = rows[self.places[0]]
        self.stepper.update(np.stack([rows.get(i, filling) for i in range(len(self.runs))]))
        self.step += 1

    def log(self, watcher: Watcher) -> bool:
        """Record the metrics of each. Whether to go on: False if all have diverged."""
        found = measure(self.model, self.step, self.train, self.val)
        watcher.record(found[self.places[0]])
        for i in self.places:
            if not self.runs[i].finished:
                self.runs[i].add_line(found[i])
        return not all(self.runs[i].finished for i in self.places)

    def save(self) -> None:
        """Write the checkpoint of each that has not diverged.

        CheckpointError, after the others are saved, if one has since the last metrics.
        """
        weights, state = self.model.state_dict(), self.optimizer.state_dict()
        failed: CheckpointError | None = None
        for i in self.places:
            run = self.runs[i]
            if run.finished:
                continue
            run.model.load_state_dict({name: value[i] for name, value in weights.items()})
            slots = {k: v if counts(k) else v[i] for k, v in state["slots"].items()}
            after = {"stepped": state["stepped"], "slots": slots}
            run.optimizer.load_state_dict(run.optimizer.state_dict() | after)
            mg.random.set_state(run.random)
            run.step = self.step
            try:
                run.save()
            except CheckpointError as error:
                failed = error
        if failed is not None:
            raise failed


def counts(name: str) -> bool:
    """Whether a slot of an optimizer is its count of steps, which replicas share."""
    return name.endswith(".step")
