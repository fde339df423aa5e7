"""How long trials will take, from timing a few steps of each kind of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from experiments.runner import Job
from experiments.training import Trial, TrialRun, evaluated, measure, read_status
from minigrad import device as devices

ALIKE = ("seed", "lr", "weight_decay", "steps", "eval_first", "eval_period", "mask")
REPEATS = 3


def seconds_of(jobs: Sequence[Job], device: str) -> list[float]:
    """How long each job should take here: its steps and evaluations, without what is done.

    Kinds differ in all settings but `ALIKE`. Trials that run together are taken to last as long as
    one after the other, which on a GPU is too long.
    """
    known: dict[Any, tuple[float, float]] = {}
    found: list[float] = []
    with tempfile.TemporaryDirectory() as nowhere:
        for job in jobs:
            seconds = 0.0
            for trial, folder in job:
                kind = tuple(getattr(trial, f.name) for f in fields(Trial) if f.name not in ALIKE)
                run = TrialRun(trial, Path(nowhere))
                done = run.total if read_status(folder)["finished"] else 0
                if done == 0 and kind not in known:
                    known[kind] = timed(run, device)
                steps = range(done, run.total)
                count = sum(evaluated(step + 1, run.total, trial) for step in steps)
                step, evaluation = known.get(kind, (0.0, 0.0))
                seconds += len(steps) * step + count * evaluation
            found.append(seconds)
    return found


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
