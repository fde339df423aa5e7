"""How long trials will take, from timing a few steps of each kind of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import minigrad as mg
from experiments.sweep.jobs import Job
from experiments.train.loop import ended, step_of, wait
from experiments.train.task import batches, measured
from experiments.train.trial import Trial

ALIKE = ("seed", "lr", "weight_decay", "clip", "steps")
REPEATS = 3


class Times(NamedTuple):
    """Seconds of a step and of a measurement, and how many steps an epoch has."""

    step: float
    measurement: float
    per_epoch: int


def seconds_of(jobs: Sequence[Job], device: str) -> list[float]:
    """How long each job should take here from its first step on, without its finished trials.

    Kinds differ in all settings but `ALIKE`. Trials that run together are taken to last as long as
    one after the other, which on a GPU is too long. Nothing is written. ValueError for a task that
    the loop cannot drive.
    """
    known: dict[Any, Times] = {}

    def seconds(trial: Trial) -> float:
        kind = type(trial), *(getattr(trial, f.name) for f in fields(trial) if f.name not in ALIKE)
        if kind not in known:
            known[kind] = timed(trial, device)
        step, measurement, per_epoch = known[kind]
        total = math.ceil(trial.steps / per_epoch) * per_epoch
        count = sum(trial.due(n, per_epoch) for n in range(total))
        return total * step + (count + 1) * measurement

    with mg.use_device(device):
        return [
            sum(seconds(trial) for trial, folder in job if not ended(trial, folder))
            for job in jobs
        ]  # fmt: skip


def timed(trial: Trial, device: str) -> Times:
    """Of a trial, the least of a few: others may use the machine."""
    advance = step_of(trial, device)
    order = batches(advance.task, 0)
    step, measure = partial(advance, order[0]), partial(measured, advance.task)
    times: dict[Callable[[], Any], list[float]] = {step: [], measure: []}
    for _ in range(1 + REPEATS):  # the first makes what the others find
        for call, seconds in times.items():
            start = perf_counter()
            call()
            wait(device)
            seconds.append(perf_counter() - start)
    return Times(*(min(seconds[1:]) for seconds in times.values()), len(order))
