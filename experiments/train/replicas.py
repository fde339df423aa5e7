"""Trials that differ in their seed, learning rate or weight decay, trained as one stacked model.

On a GPU a step of one small trial takes as long as its launches; replicas share them. Each trial
leaves the folder that `run` leaves, so what reads folders sees no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from time import perf_counter

import numpy as np

import minigrad as mg
from experiments.train.loop import Session, Step, Watcher, ended, finite, optimizer_of, train_until
from experiments.train.task import measured
from experiments.train.trial import Trial
from minigrad import device as devices
from minigrad.files import CheckpointError
from minigrad.memory import keep_memory

MAY_DIFFER = ("seed", "lr", "weight_decay")


def run_replicas(
    trials: Sequence[Trial],
    folders: Sequence[Path],
    *,
    device: str = "cpu",
    watcher: Watcher | None = None,
) -> None:
    """Train trials as replicas of one model, each into its folder; errors as `loop.run`.

    Metrics and parameters are those of separate runs to rounding; the seconds are those of all. A
    trial that ends early ends, and the others go on. The watcher follows only the first.

    Trials continue from their checkpoints, bit for bit on a CPU if they are the same as before.
    Those with fewer steps behind them go first, until they are where the others are.

    ValueError, with nothing written, unless all fields but `MAY_DIFFER` are equal and the task can
    be stacked.
    """
    name = devices.parse(device)
    keep_memory()
    check_alike(trials, folders)
    pairs = list(zip(trials, folders, strict=True))
    at_end = [ended(*pair) for pair in pairs]
    if all(at_end):
        return
    with mg.use_device(name):
        sessions = [Session(*pair, name) for pair in pairs]
        for session, done in zip(sessions, at_end, strict=True):
            session.done = done
        replicas = Replicas(sessions)
        for session in replicas.going():
            session.begin()
        while replicas.going():
            train_until(replicas, replicas.until, watcher or Watcher())
            replicas.gather()


def check_alike(trials: Sequence[Trial], folders: Sequence[Path]) -> None:
    """ValueError unless the trials can be replicas of one model."""
    if not trials or not len(trials) == len(folders) == len(set(folders)):
        raise ValueError("expected one or more trials, each with a folder of its own")
    first = trials[0]
    for trial in trials:
        if type(trial) is not type(first):
            raise ValueError("trials of different kinds cannot run together")
        for name in (each.name for each in fields(first) if each.name not in MAY_DIFFER):
            a, b = getattr(first, name), getattr(trial, name)
            if a != b:
                raise ValueError(
                    f"trials with {name}={a} and {name}={b} cannot run together; only "
                    f"{', '.join(MAY_DIFFER)} may differ"
                )
    if not first.stacks():
        raise ValueError(f"trials cannot run together, for they cannot be stacked: {first}")


class Replicas:
    """Sessions as one stacked model. Each session's model gets its values back when it is saved.

    until:  the step at which those that are ahead join.
    places: which sessions are at its step. The others have ended or are ahead, and their places in
            the stack are filled with copies of the first of these, `first`: in a stack of another
            size some sums are rounded differently.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        """ValueError if their tasks cannot be stacked."""
        self.sessions, self.total = sessions, sessions[0].total
        self.gather()

    def going(self) -> list[Session]:
        """Those that have not ended."""
        return [session for session in self.sessions if not session.done]

    def gather(self) -> None:
        """Stack the sessions that are farthest behind; does nothing if all have ended."""
        if not (going := self.going()):
            return
        self.step, self.diverged = min(each.step for each in going), False
        self.until = min((s.step for s in going if s.step > self.step), default=self.total)
        behind = [not each.done and each.step == self.step for each in self.sessions]
        self.places = [i for i, yes in enumerate(behind) if yes]
        self.first = self.sessions[self.places[0]]
        self.filled = filled = [
            each if yes else self.first for each, yes in zip(self.sessions, behind, strict=True)
        ]
        self.task = type(self.first.task).stacked([each.task for each in filled])
        self.task.model.train()
        others = [each.trial for each in filled[1:]]
        self.optimizer = optimizer_of(self.first.trial, self.task.model, others)
        states = [each.optimizer.state_dict() for each in filled]
        slots = {
            name: value if counts(name) else np.stack([state["slots"][name] for state in states])
            for name, value in states[0]["slots"].items()
        }
        before = {"stepped": states[0]["stepped"], "slots": slots}
        self.optimizer.load_state_dict(self.optimizer.state_dict() | before)
        self.advance = Step(self.task, self.optimizer, self.first.trial.clip)
        for i, each in enumerate(filled):
            self.advance.sums[..., i] = each.advance.sums
            each.started = perf_counter()

    @property
    def done(self) -> bool:
        return all(self.sessions[i].done for i in self.places)

    def due(self, step: int) -> bool:
        return self.first.due(step)

    def update(self) -> None:
        """One step of training of every replica."""
        self.optimizer.lr = [t.trial.rate(self.step, t.per_epoch) for t in self.filled]
        self.advance(np.stack([each.rows() for each in self.filled]))
        self.step += 1
        for i in self.places:
            self.sessions[i].step = self.step

    def record(self, watcher: Watcher) -> None:
        """Measure all, and write a line of metrics for each that has not ended."""
        measurements, healthy = measured(self.task), finite(self.task.model)
        sums = devices.to_numpy(self.advance.sums)
        going = [i for i in self.places if not self.sessions[i].done]
        for i in going:
            session = self.sessions[i]
            session.pause()
            line = session.add(measurements[i], sums[..., i], healthy[i])
            if i == going[0]:
                watcher.record(line)
            session.started = perf_counter()
        if self.first.trial.due(self.step, self.first.per_epoch):
            self.advance.sums[...] = 0.0
        self.save([i for i in going if self.sessions[i].done and not self.sessions[i].diverged])
        self.diverged = all(self.sessions[i].diverged for i in self.places)

    def save(self, places: Sequence[int] | None = None) -> None:
        """Write the checkpoint of each that has not ended, or of those at some places.

        CheckpointError, after the others are saved, if one has diverged since the last record.
        """
        if places is None:
            places = [i for i in self.places if not self.sessions[i].done]
        if not places:
            return
        weights, state = self.task.model.state_dict(), self.optimizer.state_dict()
        failed: CheckpointError | None = None
        for i in places:
            session = self.sessions[i]
            session.task.model.load_state_dict({name: value[i] for name, value in weights.items()})
            slots = {k: v if counts(k) else v[i] for k, v in state["slots"].items()}
            after = {"lr": state["lr"][i], "stepped": state["stepped"], "slots": slots}
            session.optimizer.load_state_dict(session.optimizer.state_dict() | after)
            session.advance.sums[...] = self.advance.sums[..., i]
            mg.random.set_state(session.random)
            try:
                session.save()
            except CheckpointError as error:
                failed = error
        if failed is not None:
            raise failed


def counts(name: str) -> bool:
    """Whether a slot of an optimizer is its count of steps, which replicas share."""
    return name.endswith(".step")
