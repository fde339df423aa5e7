"""Jobs as tasks of a Ray cluster. Needs the extra "ray".

Every node must see the output folder under the same path, and run this package at the same version.
A job whose node dies starts again on another, from the checkpoint in its folder. A trial computes
with one thread wherever it runs, so its records do not depend on the cluster.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.sweep.jobs import Job, Pool, exit_status, name_of
from experiments.train.loop import Watcher
from experiments.train.records import THREADS

if TYPE_CHECKING:
    from experiments.sweep.experiment import Options

CONNECT_SECONDS = 5.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # RFC 9113, section 3.4
SETTINGS = 4  # the type of the frame with which HTTP/2, and so gRPC and Ray, answers
STOP_SECONDS = 60.0  # for running trials to save
NO_CLUSTER = "--address {}: no Ray cluster answers: {}"


class Cluster(Pool):
    """Tasks with a CPU and a part of a GPU each."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        connect(self.options.address)
        import ray

        self.ray, self.workers = ray, self.options.workers
        one_thread = {"env_vars": dict.fromkeys(THREADS, "1")}
        self.task = ray.remote(
            num_cpus=1, num_gpus=self.options.gpus, max_retries=0, runtime_env=one_thread
        )(work)

    def start(self, i: int) -> None:
        job = [(trial, folder.resolve()) for trial, folder in self.jobs[i]]
        self.running[self.task.remote(job, self.options, self.device)] = i

    def ended(self) -> list[tuple[int, int]]:
        refs, _ = self.ray.wait([*self.running], timeout=0.5)
        return [(i := self.running.pop(ref), self.status(ref, i)) for ref in refs]

    def status(self, ref: Any, i: int) -> int:
        """The exit status of a task that has ended, with its words printed on stderr."""
        errors, died = self.ray.exceptions, False
        try:
            status = self.ray.get(ref)
        except errors.RayError as error:  # a bug in the task; or its node or its process has died
            died = not isinstance(error, errors.RayTaskError)
            status = f"{name_of(self.jobs[i])}: error: {' '.join(str(error).split())[-500:]}"
        if isinstance(status, str):
            print(status, file=sys.stderr)
            return -signal.SIGKILL if died else 1
        return status or 0

    def stop(self) -> None:
        for ref in self.running:
            self.ray.cancel(ref, force=False)  # as Ctrl-C: it saves a checkpoint and ends
        if self.running:
            self.ray.wait([*self.running], num_returns=len(self.running), timeout=STOP_SECONDS)

    def close(self) -> None:
        self.ray.shutdown()


def work(job: Job, options: Options, device: str) -> int | str | None:
    """One job on a node; see `exit_status`."""
    return exit_status(job, options, device, lambda signals: Watcher(signals.stopping))


# --- the cluster ----------------------------------------------------------------------------------
def connect(address: str | None) -> None:
    """Connect to the cluster at HOST:PORT, or with "auto" to that of which this machine is part.

    Without an address a cluster is started on this machine, for this process only. Does nothing if
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
    how: dict[str, Any] = {"address": address, "log_to_driver": False}
    if address is None:
        how |= {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    handler = signal.getsignal(signal.SIGTERM)  # Ray replaces it
    try:
        ray.init(**how, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(NO_CLUSTER.format(address, error)) from None
    finally:
        signal.signal(signal.SIGTERM, handler)


def knock(address: str) -> None:
    """ValueError unless something at HOST:PORT speaks as Ray does, which would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ValueError(f"--address: expected auto or HOST:PORT, got {address}")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS") == "1":  # an encrypted greeting
                return
            connection.sendall(GREETING)
            answer = connection.makefile("rb").read(9)
    except (OSError, OverflowError) as error:
        raise ValueError(NO_CLUSTER.format(address, error)) from None
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
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    task = ray.remote(num_cpus=0)(Path.exists)
    try:
        seen = ray.get([task.options(scheduling_strategy=at).remote(probe) for at in places])
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
