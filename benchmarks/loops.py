"""Training loops in processes of their own, as a user runs them: `python -m benchmarks.loops`.

Every side of `benchmarks.step` trains in a process of its own, which does nothing else. In a round
each side runs alone for some seconds, one after the other, in an order that turns; the ratio of a
round compares what ran within the same seconds. The table has medians over rounds.

The matrix products of a step, alone, are sides too: by NumPy's BLAS and by PyTorch's on all cores,
and by NumPy's with the division of the kernels. A step of minigrad is compared with the fastest.

A second table has the throughput of a sweep: two processes of one thread each, on two cores, train
at the same time, and so many trials of 10,000 steps would end in an hour.

    python -m benchmarks.loops --out docs/results/speed/loops.json

A record keeps one entry a processor: a run on another machine adds to the file.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, get_args

from benchmarks import gemm
from benchmarks.problems import Model, Problem, problem_of
from benchmarks.rounds import Rounds, machine
from benchmarks.sides import (
    EAGER,
    FUSED,
    KINDS,
    SHARED,
    Side,
    Unavailable,
    make_side,
)
from benchmarks.step import FLOOR, PAUSE, TITLES, TORCH_FLOOR, USUAL, cell, markdown, spread
from experiments.sweep import cli, processes
from experiments.train.records import THREADS

PROG = "python -m benchmarks.loops"
WARM = 3  # steps of a process before any is counted
KERNEL_FLOOR = "products, kernels"
FLOORS = {
    FLOOR: gemm.numpy_floor,
    TORCH_FLOOR: gemm.torch_floor,
    KERNEL_FLOOR: gemm.kernel_floor,
}
TRIAL = 10_000  # steps


@dataclass(frozen=True)
class Settings(Rounds):
    """Options of the benchmark."""

    seconds: float = 2.0
    """Of each side in a round; at least two steps."""
    models: tuple[Model, ...] = USUAL
    """Which models."""
    sweep: bool = True
    """Also the throughput of two processes of one thread each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models:
            raise ValueError(f"--models: expected one or more of {', '.join(get_args(Model))}")


# --- one process ----------------------------------------------------------------------------------
def serve(connection: Any, model: Model, name: str) -> None:
    """Make a side, then run it for as long as the connection asks; answers (steps, seconds)."""
    from minigrad.memory import keep_memory

    keep_memory()
    try:
        side = side_of(name, problem_of(model))
    except Unavailable as reason:
        connection.send(str(reason))
        return
    side.switch()
    for _ in range(WARM):
        side.step()
    connection.send(None)
    while (seconds := connection.recv()) is not None:
        steps, start = 0, time.perf_counter()
        while steps < 2 or time.perf_counter() - start < seconds:
            loss = side.step()
            if loss is not None:
                float(loss)  # as a loop that looks at its loss
            steps += 1
        connection.send((steps, time.perf_counter() - start))


def side_of(name: str, problem: Problem) -> Side:
    """A side of `benchmarks.step`, or the products of a step alone."""
    floor, shared = name.removesuffix(SHARED), name.endswith(SHARED)
    if floor not in FLOORS:
        return make_side(name, problem)
    kernels = floor == KERNEL_FLOOR
    return Side(name, FLOORS[floor](gemm.products_of(problem, shared)), kernels)


def names_of(model: Model) -> list[str]:
    """The sides of a model that are not compiled, then its floors."""
    sides = [name for name, kind in KINDS[model].items() if not kind.compiled]
    batches = ("", SHARED) if any(name.endswith(SHARED) for name in sides) else ("",)
    return sides + [floor + batch for floor in FLOORS for batch in batches]


class Runner:
    """A process that trains one side when it is told to."""

    def __init__(self, model: Model, name: str, threads: int | None = None) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, model, name), daemon=True)
        with threads_of(threads):
            self.process.start()
        theirs.close()

    def ready(self) -> str | None:
        """Wait until the side is warm. Why it cannot run here, else None."""
        try:
            return self.connection.recv()
        except EOFError:
            return "its process ended"

    def begin(self, seconds: float) -> None:
        self.connection.send(seconds)

    def end(self) -> float:
        """Milliseconds of a step, of those that were run since `begin`."""
        steps, seconds = self.connection.recv()
        return 1e3 * seconds / steps

    def close(self) -> None:
        if self.process.is_alive():
            self.connection.send(None)
        self.process.join()


def threads_of(count: int | None) -> AbstractContextManager[None]:
    """Processes that start inside compute with so many threads; None: as this one would."""
    return processes.environment({} if count is None else dict.fromkeys(THREADS, str(count)))


# --- rounds ---------------------------------------------------------------------------------------
def rounds_of(
    model: Model, names: Sequence[str], settings: Settings, workers: int | None = None
) -> dict[str, list[float]]:
    """Milliseconds of a step by side, one number a round.

    workers: so many processes of one thread each run a side at the same time. The number is then
             the time in which one of all steps ends: that of a step divided by the processes.
    """
    count, threads = (1, None) if workers is None else (workers, 1)
    with ExitStack() as stack:
        runners: dict[str, list[Runner]] = {}
        for name in names:
            made = [Runner(model, name, threads) for _ in range(count)]
            for runner in made:
                stack.callback(runner.close)
            if problem := next(filter(None, [runner.ready() for runner in made]), None):
                print(f"{model}: {name} is left out: {problem}", file=sys.stderr)
            else:
                runners[name] = made
        times: dict[str, list[float]] = {name: [] for name in runners}
        for n in range(settings.rounds):
            order = list(runners)
            for name in order[n % len(order) :] + order[: n % len(order)]:
                time.sleep(PAUSE)  # until the threads of the side before have gone to sleep
                for runner in runners[name]:
                    runner.begin(settings.seconds)
                each = [runner.end() for runner in runners[name]]
                times[name].append(1.0 / sum(1.0 / ms for ms in each))
    return times


def ratios(times: Mapping[str, Sequence[float]], peer: str) -> dict[str, dict[str, float]]:
    """Time of a peer divided by that of each side, round by round: median, first, last decile."""
    if peer not in times:
        return {}
    return {
        name: spread([a / b for a, b in zip(times[peer], own, strict=True)], "median")
        for name, own in times.items()
    }


def over_products(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Time of each side of minigrad, divided round by round by that of its fastest products."""
    found = {}
    for name, own in times.items():
        if name.startswith("minigrad"):
            batch = SHARED if name.endswith(SHARED) else ""
            floors = [times[f + batch] for f in FLOORS if f + batch in times]
            best = min(floors, key=statistics.median)
            found[name] = spread([a / b for a, b in zip(own, best, strict=True)], "median")
    return found


def table(record: Mapping[str, Any]) -> str:
    """The record of one model as Markdown."""
    times, eager, fused = record["times"], record["eager"], record["fused"]
    head = [TITLES[record["model"]], "ms a step", "PyTorch eager / side"]
    head += ["torch.nn.LSTM / side"] * bool(fused) + ["step / products"]
    sweep = record.get("sweep") or {}
    head += ["trials an hour", "of PyTorch's best"] * bool(sweep)
    best = max((an_hour(ms) for name, ms in sweep.items() if "torch" in name.lower()), default=None)
    rows = []
    for name, own in times.items():
        if name.removesuffix(SHARED) in FLOORS:
            speed = 1e3 * record["gflop"][name] / statistics.median(own)
            rows.append([f"{name}, {speed:.0f} GFLOP/s", f"{statistics.median(own):.2f}"])
            rows[-1] += [""] * (len(head) - 2)
            continue
        row = [name, f"{statistics.median(own):.2f}", with_range(eager.get(name))]
        row += [with_range(fused.get(name))] * bool(fused)
        row.append(with_range(record["over_products"].get(name)))
        if sweep:
            trials = an_hour(sweep[name]) if name in sweep else None
            share = trials / best if trials and best else None
            row += [cell(trials, ".1f"), cell(share, ".2f")]
        rows.append(row)
    return markdown(head, rows)


def an_hour(times: Sequence[float]) -> float:
    """Trials of `TRIAL` steps that end in an hour."""
    return 3.6e6 / (statistics.median(times) * TRIAL)


def with_range(ratio: Mapping[str, float] | None) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" if ratio else ""


# --- the command ----------------------------------------------------------------------------------
def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG):
        settings.check_out()
    measured_on = machine()
    print(f"{measured_on['processor']}, vectors of {measured_on['vector_bits']} bits\n")
    found = []
    for model in settings.models:
        names, problem = names_of(model), problem_of(model)
        times = rounds_of(model, names, settings)
        record: dict[str, Any] = {
            "model": model,
            "times": times,
            "eager": ratios(times, EAGER),
            "fused": ratios(times, FUSED),
            "over_products": over_products(times),
            "gflop": {
                name: gemm.flops(gemm.products_of(problem, name.endswith(SHARED))) / 1e9
                for name in times
                if name.removesuffix(SHARED) in FLOORS
            },
        }
        if settings.sweep:
            trained = [name for name in names if name not in record["gflop"]]
            record["sweep"] = rounds_of(model, trained, settings, workers=2)
        found.append(record)
        print(table(record), end="\n\n", flush=True)
    settings.save(measured_on, {"models": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
