"""Run trials, one after the other here or side by side elsewhere, until done or interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from experiments.sweep.jobs import Job, Signals, name_of, run_job
from experiments.sweep.on_ray import run_on_ray
from experiments.sweep.processes import run_in_processes
from experiments.sweep.progress import Overview, Progress

Launcher = Literal["here", "processes", "ray"]


def run_all(
    jobs: Sequence[Job],
    signals: Signals,
    *,
    device: str = "cpu",
    launcher: Launcher = "here",
    workers: int = 2,
    address: str | None = None,
    gpus: float = 0.0,
    seconds: Sequence[float] | None = None,
) -> None:
    """Run every job, as far as its trials are not finished.

    launcher: "here", one after the other in this process; "processes", each in one of its own with
              its share of the cores as threads; "ray", each as a task (`on_ray`, which reads
              address and gpus). All use kernels if this process does.
    workers:  how many run at a time, elsewhere than here.
    seconds:  how long each job should take, by which the end is foretold.

    Whatever kills a process or a node, the job starts again from its checkpoint, `jobs.RESTARTS`
    times. Raises Interrupted when a signal was received and every running job has saved a
    checkpoint, TrialFailed if a job failed, whose own words are on stderr.
    """
    overview = Overview([[folder for _, folder in job] for job in jobs], seconds)
    try:
        if launcher == "processes":
            run_in_processes(jobs, signals, device, workers, overview)
        elif launcher == "ray":
            run_on_ray(jobs, signals, device, workers, overview, address=address, gpus=gpus)
        else:
            for i, job in enumerate(jobs):
                overview.start(i)
                run_job(job, device, Progress(name_of(job), signals.stopping, overview=overview))
                overview.end(i)
    finally:
        overview.close()
