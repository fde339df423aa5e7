"""How long trials will take, from timing a few steps of each kind of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import minigrad as mg
from experiments.sweep.jobs import Job
from experiments.train.loop import ended, step_of, wait
from experiments.train.task import batches, measured
from experiments.train.trial import Trial

EQUAL_COST = ("seed", "lr", "weight_decay", "clip", "steps")  # settings that a step's time ignores
REPEATS = 3
ENOUGH = 2.0  # seconds, after which nothing is repeated


class Times(NamedTuple):
    """Seconds of a step and of a measurement, and how many steps an epoch has."""

    step: float
    measurement: float
    per_epoch: int


def seconds_of(jobs: Sequence[Job], device: str) -> list[float]:
    """How long each job should take here from its first step on, without its finished trials.

    Trials that run together are taken to last as long as one after the other, which on a GPU is too
    long. Nothing is written. ValueError for a task that the loop cannot drive.
    """
    known: dict[Any, Times] = {}

    def seconds(trial: Trial) -> float:
        kind = trial.apart_from(*EQUAL_COST)
        if kind not in known:
            known[kind] = timed(trial, device)
        step, measurement, per_epoch = known[kind]
        total = math.ceil(trial.steps / per_epoch) * per_epoch
        count = sum(trial.due(n, per_epoch) for n in range(total))
        return total * step + (count + 1) * measurement

    with mg.use_device(device):
        return [sum(seconds(t) for t, folder in job if not ended(t, folder)) for job in jobs]


def timed(trial: Trial, device: str) -> Times:
    """Of a trial, the least of a few: others may use the machine."""
    advance = step_of(trial, device)
    order = batches(advance.task, 0)

    def least(call: partial[Any]) -> float:
        times: list[float] = []
        while len(times) <= REPEATS and sum(times) < ENOUGH:
            start = perf_counter()
            call()
            wait(device)
            times.append(perf_counter() - start)
        return min(times[1:] or times)  # the first compiles

    return Times(
        least(partial(advance, order[0])), least(partial(measured, advance.task)), len(order)
    )
