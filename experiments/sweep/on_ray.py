"""Jobs as tasks of a Ray cluster; see `launch.run_all`. Needs the extra "ray".

Every node must see the output folder under the same path, and run this package at the same version.
A job whose node dies starts again on another, from the checkpoint in its folder; that it has the
folder for itself is seen to by `records.held`. A trial computes with one thread wherever it runs,
so its records do not depend on the cluster.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.sweep.jobs import (
    PROBLEMS,
    RESTARTS,
    Job,
    Signals,
    TrialFailed,
    caught_signals,
    name_of,
    prerequisites,
    run_job,
)
from experiments.sweep.progress import Overview
from experiments.train.loop import Interrupted, Watcher
from experiments.train.records import THREADS

if TYPE_CHECKING:
    from experiments.sweep.experiment import Options

CONNECT_SECONDS = 5.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # RFC 9113, section 3.4
SETTINGS = 4  # the type of the frame with which HTTP/2, and so gRPC and Ray, answers
STOP_SECONDS = 60.0  # for running trials to save


def connect(address: str | None) -> None:
    """Connect to the cluster at HOST:PORT, or with "auto" to that of which this machine is part.

    Without an address a cluster is started on this machine, for this process alone. Does nothing if
    there is a connection. ValueError if Ray is not installed or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise ValueError(
            '--launcher ray needs Ray, extra "ray": pip install "minigrad[ray]"'
        ) from None
    if ray.is_initialized():
        return
    if address not in (None, "auto"):
        knock(str(address))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        quiet |= {"address": "local", **local}
    else:
        quiet |= {"address": address}
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets one of its own
    try:
        ray.init(**quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"--address {address}: no Ray cluster answers: {error}") from None
    finally:
        signal.signal(signal.SIGTERM, handler)


def knock(address: str) -> None:
    """ValueError unless something at HOST:PORT speaks as Ray does, which would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ValueError(f"--address: expected auto or HOST:PORT, got {address}")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS") == "1":  # greeted in secret
                return
            connection.sendall(GREETING)
            answer = connection.makefile("rb").read(9)
    except (OSError, OverflowError) as error:
        raise ValueError(f"--address {address}: no Ray cluster answers: {error}") from None
    if answer[3:4] != bytes([SETTINGS]):
        raise ValueError(f"--address {address}: what answers there is no Ray cluster")


def check_reachable(folder: Path) -> None:
    """ValueError unless every node of the cluster sees this folder under its path."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    folder = folder.resolve()
    probe = folder / f".probe.{socket.gethostname()}.{os.getpid()}"
    probe.write_bytes(b"")
    nodes = [node for node in ray.nodes() if node["Alive"]]
    try:
        task = ray.remote(num_cpus=0)(exists)
        seen = ray.get(
            [
                task.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(probe)
                for node in nodes
            ]
        )
    except ray.exceptions.RayError as error:
        raise ValueError(f"a node of the Ray cluster cannot run trials: {error}") from None
    finally:
        probe.unlink()
    blind = [node["NodeManagerAddress"] for node, ok in zip(nodes, seen, strict=True) if not ok]
    if blind:
        raise ValueError(
            f"{folder}: not seen by {', '.join(blind)}: on Ray, --out must lie on a file system "
            "that all nodes share"
        )


def exists(path: Path) -> bool:
    return path.exists()


def run_on_ray(
    jobs: Sequence[Job], signals: Signals, options: Options, device: str, overview: Overview
) -> None:
    """Run the jobs as tasks with a CPU and a part of a GPU each, so many at a time."""
    connect(options.address)
    import ray

    try:
        follow(ray, jobs, signals, options, device, overview)
    finally:
        ray.shutdown()


def follow(
    ray: Any,
    jobs: Sequence[Job],
    signals: Signals,
    options: Options,
    device: str,
    overview: Overview,
) -> None:
    """Start tasks as others end, until none is left, or until one fails or a signal comes."""
    one_thread = {"env_vars": dict.fromkeys(THREADS, "1")}
    how = {"num_cpus": 1, "num_gpus": options.gpus, "max_retries": RESTARTS}
    how |= {"runtime_env": one_thread}
    task = ray.remote(**how)(work)
    waiting, running, problems = list(range(len(jobs))), {}, []
    first = prerequisites(jobs)
    while waiting or running:
        while len(running) < options.workers:
            i = next((i for i in waiting if first[i] <= overview.done()), None)
            if i is None:
                break
            waiting.remove(i)
            paths = [(trial, str(folder.resolve())) for trial, folder in jobs[i]]
            running[task.remote(paths, options, device)] = i
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
                ray.wait(list(running), num_returns=len(running), timeout=STOP_SECONDS)
            break
    if signals.stopping():
        raise Interrupted("stopped")
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise TrialFailed("a trial failed; its message is above")


class StopWhen(Watcher):
    """Shows nothing, and stops a trial when a function says so."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self.stopping = stopping

    def stop(self) -> bool:
        return self.stopping()


def work(job: Sequence[tuple[Any, str]], options: Options, device: str) -> str | None:
    """One job on a node; what went wrong, in a line, if something did."""
    with caught_signals() as signals, options.how():
        watcher = StopWhen(signals.stopping)
        try:
            run_job([(trial, Path(folder)) for trial, folder in job], device, watcher)
        except Interrupted as stopped:
            return str(stopped)
        except PROBLEMS as error:
            return str(error)
    return None
