"""Jobs as tasks of a Ray cluster; see `runner.run_all`. Needs the extra "ray".

Every node must see the output folder under the same path, and run this package at the same version.
A job whose node dies starts again on another, from the checkpoint in its folder; that it has the
folder for itself is seen to by `records.held`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.progress import Overview
from experiments.runner import (
    RESTARTS,
    Job,
    Signals,
    TrialFailed,
    caught_signals,
    name_of,
    run_job,
    threads_each,
)
from experiments.training import Interrupted, Watcher
from minigrad import kernel, use_kernels
from minigrad.files import CheckpointError


def connect(address: str | None, workers: int) -> Any:
    """The ray module, connected to a cluster: at an address, else one made on this machine.

    ValueError, in one line, if Ray is not installed or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            f"--launcher ray: Ray cannot be imported ({error}): install minigrad[ray]"
        ) from None
    if ray.is_initialized():
        return ray
    where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
    if not address:
        where |= {"include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level="error")
    except Exception as error:  # of many kinds
        line = " ".join(str(error).split())
        raise ValueError(f"--launcher ray: no cluster at {address}: {line:.200}") from None
    return ray


def run_on_ray(
    jobs: Sequence[Job],
    signals: Signals,
    device: str,
    workers: int,
    overview: Overview,
    *,
    address: str | None,
    gpus: float,
) -> None:
    """Run the jobs as tasks with a CPU and a part of a GPU each, so many at a time."""
    ray = connect(address, workers)
    try:
        follow(ray, jobs, signals, device, workers, overview, gpus)
    finally:
        ray.shutdown()


def follow(
    ray: Any,
    jobs: Sequence[Job],
    signals: Signals,
    device: str,
    workers: int,
    overview: Overview,
    gpus: float,
) -> None:
    """Start tasks as others end, until none is left, or until one fails or a signal comes."""
    threads = {"env_vars": threads_each(workers)}
    how = {"num_cpus": 1, "num_gpus": gpus, "max_retries": RESTARTS, "runtime_env": threads}
    task = ray.remote(**how)(work)
    waiting, running, problems = list(range(len(jobs))), {}, []
    while waiting or running:
        while waiting and len(running) < workers:
            i = waiting.pop(0)
            paths = [(trial, str(folder.resolve())) for trial, folder in jobs[i]]
            running[task.remote(paths, device, kernel.enabled())] = i
            overview.start(i)
        ended, _ = ray.wait(list(running), timeout=0.5)
        overview.show()
        for ref in ended:
            i = running.pop(ref)
            try:
                problem = ray.get(ref)
            except Exception as error:  # of Ray: all nodes that tried it have died, or of the task
                problem = " ".join(str(error).split())[-500:]
            if problem:
                problems.append(f"{name_of(jobs[i])}: error: {problem}")
            else:
                overview.end(i)
        if problems or signals.stopping():
            for ref in running:
                ray.cancel(ref, force=False)  # as Ctrl-C: it saves a checkpoint and ends
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=60)
            break
    if signals.stopping():
        raise Interrupted("stopped")
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise TrialFailed("a trial failed; its message is above")


def work(job: Sequence[tuple[Any, str]], device: str, kernels: bool) -> str | None:
    """One job on a node; what went wrong, in a line, if something did."""
    use_kernels(kernels)
    with caught_signals() as signals:
        watcher = Watcher()
        watcher.stop = signals.stopping
        try:
            run_job([(trial, Path(folder)) for trial, folder in job], device, watcher)
        except Interrupted as stopped:
            return str(stopped)
        except (CheckpointError, ValueError, OSError) as error:
            return str(error)
    return None
