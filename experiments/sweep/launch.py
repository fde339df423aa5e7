"""Run the jobs of an experiment, here one after the other or elsewhere side by side."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.sweep import cli, folder
from experiments.sweep.estimate import seconds_of
from experiments.sweep.jobs import (
    Job,
    Pool,
    Signals,
    caught_signals,
    jobs_of,
    name_of,
    prerequisites,
)
from experiments.sweep.on_ray import Cluster, check_reachable, connect
from experiments.sweep.processes import Processes
from experiments.sweep.progress import Overview, Progress
from experiments.train import records
from experiments.train.loop import Interrupted, ended
from minigrad import device as devices
from minigrad import use_kernels

if TYPE_CHECKING:
    from experiments.sweep.experiment import Experiment, Options

POOLS = {"here": Pool, "processes": Processes, "ray": Cluster}
RESTARTS = 3  # of a job whose process or node has died


class TrialFailed(Exception):
    """A job in a separate process has failed."""


def device_of(options: Options) -> str:
    """Where trials compute; on Ray with --gpus the GPU that it gives them, seen there as the first.

    DeviceError if they cannot, as far as this machine knows.
    """
    if options.launcher == "ray":
        return "cuda:0" if options.gpus else "cpu"
    if options.device == "auto":
        return "cuda:0" if devices.available() else "cpu"
    return devices.parse(options.device)


def set_up(options: Options, path: Path) -> None:
    """What trials and their launcher need. ValueError before any trial is written below a folder.

    OSError if the folder cannot be made.
    """
    options.check()
    if options.launcher == "ray":
        connect(options.address)
        records.fit_for_writing(path)
        check_reachable(path)


def run(experiment: Experiment, options: Options, path: Path, device: str) -> int:
    """Run into a folder what is not finished; the exit status."""
    prog = experiment.prog
    if not options.trials():
        with cli.one_line(prog):
            folder.prepare(experiment, options, path)
        return 0
    try:
        with use_kernels(options.kernels):
            pass
    except ImportError as error:
        print(f"{prog}: running without kernels: {error}", file=sys.stderr)
        options = replace(options, kernels=False)
    jobs = jobs_of(options, path)
    with caught_signals() as signals, options.how():
        with cli.one_line(prog):  # a task with a mistake shows it before anything is written
            seconds = announced(experiment, options, jobs, device)
            folder.prepare(experiment, options, path)
        try:
            run_all(jobs, signals, options, device=device, seconds=seconds)
        except Interrupted:
            print(f"{prog}: stopped and saved; go on with --resume", file=sys.stderr)
            return 128 + (signals.received or 0)
        except (TrialFailed, ValueError, OSError) as error:
            cli.fail(prog, error, status=1)
    return 0


def announced(
    experiment: Experiment, options: Options, jobs: Sequence[Job], device: str
) -> list[float] | None:
    """Say on stderr what is about to run; the seconds that each job should take, if known."""
    here = device == "cpu" or devices.available()  # else the nodes of a Ray cluster have the GPUs
    seconds = seconds_of(jobs, device) if here else None
    trials = [each for job in jobs for each in job]
    to_go = [trial for trial, path in trials if not ended(trial, path)]
    text = f"{experiment.name}, {options.scale} scale: {len(trials)} trials"
    if finished := len(trials) - len(to_go):
        text += f" ({finished} finished)"
    text += f" of {sum(trial.steps for trial in to_go):,} steps in all to go"
    if seconds and sum(seconds) > 0:
        text += f", about {duration(sum(seconds))} on this machine, by a few steps of each kind"
    print(text, file=sys.stderr)
    return seconds


def duration(seconds: float) -> str:
    """Of at least a second, for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def run_all(
    jobs: Sequence[Job],
    signals: Signals,
    options: Options,
    *,
    device: str = "cpu",
    seconds: Sequence[float] | None = None,
) -> None:
    """Run every job, as far as its trials are not finished, where `options.launcher` says.

    seconds: how long each job should take, from which the end is estimated.

    Whatever kills a process or a node, the job starts again from its checkpoint, `RESTARTS` times.
    Raises Interrupted when a signal was received and every running job has saved a checkpoint,
    TrialFailed if a job failed in a separate process, which has written why to stderr.
    """
    overview = Overview([[path for _, path in job] for job in jobs], seconds)
    watcher = lambda job: Progress(job, signals.stopping, overview=overview)
    pool = POOLS[options.launcher](jobs, options, device, watcher)
    first, deaths, failed = prerequisites(jobs), Counter(), False
    try:
        while not (failed or signals.stopping()) and len(overview.among("done")) < len(jobs):
            done, left = overview.among("done"), sorted(overview.among("left"))
            ready = [i for i in left if first[i] <= done]
            for i in ready[: pool.workers - len(pool.running)]:
                overview.mark(i, "running")
                pool.start(i)
            for i, status in pool.ended():
                if status == 0:
                    overview.mark(i, "done")
                elif status == 1 or deaths[i] == RESTARTS:
                    failed = True
                elif not signals.stopping():  # killed, by the system if memory ran out
                    deaths[i] += 1
                    overview.mark(i, "left")
                    print(
                        f"{name_of(jobs[i])}: its process was killed; starts again from its "
                        f"checkpoint ({deaths[i]} of {RESTARTS})",
                        file=sys.stderr,
                    )
            overview.show()
        pool.stop()
    finally:
        pool.close()
        overview.line.close()
    if signals.stopping():
        raise Interrupted("stopped")
    if failed:
        raise TrialFailed("a trial failed; its message is above")
