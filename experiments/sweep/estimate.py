"""How long trials will take, from timing a few steps of each kind of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from time import perf_counter
from typing import Any

import minigrad as mg
from experiments.train.training import Trial, TrialRun, evaluated, measure
from minigrad import device as devices

ALIKE = ("seed", "lr", "weight_decay", "steps", "eval_first", "eval_period", "mask")
REPEATS = 3


def seconds_of(jobs: Sequence[Sequence[TrialRun]], device: str) -> list[float]:
    """How long each job should take here from its first step on, without its finished trials.

    Kinds differ in all settings but `ALIKE`. Trials that run together are taken to last as long as
    one after the other, which on a GPU is too long. Nothing is written.
    """
    known: dict[Any, tuple[float, float]] = {}

    def seconds(run: TrialRun) -> float:
        if run.finished:
            return 0.0
        trial, steps = run.trial, range(1, run.total + 1)
        kind = tuple(getattr(trial, f.name) for f in fields(Trial) if f.name not in ALIKE)
        if kind not in known:
            known[kind] = timed(run, device)
        step, evaluation = known[kind]
        count = sum(evaluated(n, run.total, trial) for n in steps)
        return len(steps) * step + count * evaluation

    with mg.use_device(device):
        return [sum(map(seconds, job)) for job in jobs]


def timed(run: TrialRun, device: str) -> tuple[float, float]:
    """Seconds of a step and of an evaluation, the least of a few: others may use the machine."""
    run.load_batches(device, share_prefixes=run.trial.share_prefixes)
    run.make(device)
    evaluate = partial(measure, run.model, 0, run.train, run.val)
    times: dict[Any, list[float]] = {run.update: [], evaluate: []}
    for _ in range(1 + REPEATS):  # the first makes what the others find
        for call, seconds in times.items():
            start = perf_counter()
            call()
            wait(device)
            seconds.append(perf_counter() - start)
    step, evaluation = (min(seconds[1:]) for seconds in times.values())
    return step, evaluation


def wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    if device != "cpu":
        devices.cupy().cuda.Device(int(device[5:])).synchronize()
