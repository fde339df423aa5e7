"""The output layer of a language model with its loss: `python -m benchmarks.output_layer`.

`mg.linear_cross_entropy` beside the two ops that it replaces and beside its matrix products alone:
one without gradients, two where the table is frozen, three where it is trained. All sides take
turns in one process, with a pause before each, in which the spinning threads of BLAS come to rest.
Times are of the wall, of which other programs take their part, and of the processor. Memory is the
peak above what was resident before, in a process of its own. Only on Linux.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any, Literal

import numpy as np

import minigrad as mg
from benchmarks.memory import resident
from benchmarks.sides import environment
from experiments.sweep import cli
from experiments.train import records
from minigrad.memory import keep_memory

PROG = "python -m benchmarks.output_layer"
NEEDED = ("nothing", "x", "x and table")  # what gets a gradient: a product more each
SIDES = ("products", "op", "op, plain", "two ops")
PAUSE = 0.2  # seconds


@dataclass(frozen=True)
class Settings:
    """Options of the benchmark."""

    rows: int = 4096
    """Rows, N."""
    width: int = 768
    """Numbers in a row, D."""
    classes: int = 40_479
    """Classes, V."""
    turns: int = 7
    """Turns of each side that are counted, after one that is not."""
    out: Path | None = None
    """A JSON file for all numbers and the environment."""
    only: Literal["", "op", "op, plain", "two ops"] = ""
    """Print the peak memory of a step of this side with all gradients, in MB, and nothing else."""

    def __post_init__(self) -> None:
        for name in ("rows", "width", "classes", "turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}: expected at least 1, got {getattr(self, name)}")


def make(settings: Settings, products: bool) -> Callable[[str, str], None]:
    """A function that runs one side once. products: whether there is memory for all logits."""
    rng = np.random.default_rng(0)
    n, d, classes = settings.rows, settings.width, settings.classes
    x, table = (rng.standard_normal(s, np.float32) for s in ((n, d), (classes, d)))
    table /= np.float32(d**0.5)
    leaves = mg.Tensor(x).requires_grad_(), mg.Tensor(table).requires_grad_()
    frozen, target = mg.Tensor(table), mg.Tensor(rng.integers(0, classes, n))
    shapes = ((n, classes), x.shape, table.shape) if products else ()
    results = [np.empty(shape, np.float32) for shape in shapes]

    def run(side: str, needed: str) -> None:
        count = 1 + NEEDED.index(needed)
        if side == "products":
            np.matmul(x, table.T, out=results[0])
            if count > 1:
                np.matmul(results[0], table, out=results[1])
            if count > 2:
                np.matmul(results[0].T, x, out=results[2])
            return
        w = leaves[1] if count > 2 else frozen
        with mg.no_grad() if count == 1 else mg.enable_grad():
            if side == "two ops":
                y = mg.cross_entropy(mg.linear(leaves[0], w), target)
            else:
                y = mg.linear_cross_entropy(leaves[0], w, target)
        if count > 1:
            y.backward()
            for leaf in leaves:
                leaf.grad = None

    return run


def with_kernels(side: str) -> mg.use_kernels:
    return mg.use_kernels(side in ("op", "two ops"))


def measure(settings: Settings) -> list[dict[str, Any]]:
    """A row for each side and gradient: medians of its times, and of their ratios to products."""
    run = make(settings, products=True)
    wall: dict[tuple[str, str], list[float]] = {}
    cpu: dict[tuple[str, str], list[float]] = {}
    for _ in range(1 + settings.turns):
        for needed in NEEDED:
            for side in SIDES:
                sleep(PAUSE)
                with with_kernels(side):
                    start = perf_counter(), process_time()
                    run(side, needed)
                    end = perf_counter(), process_time()
                for times, a, b in zip((wall, cpu), start, end, strict=True):
                    times.setdefault((side, needed), []).append(b - a)

    def ratio(times: dict[tuple[str, str], list[float]], side: str, needed: str) -> float:
        pairs = zip(times[side, needed][1:], times["products", needed][1:], strict=True)
        return statistics.median(a / b for a, b in pairs)

    return [
        {
            "side": side, "gradients": needed,
            "ms": 1e3 * statistics.median(wall[side, needed][1:]),
            "cpu_ms": 1e3 * statistics.median(cpu[side, needed][1:]),
            "to_products": ratio(wall, side, needed), "cpu_to_products": ratio(cpu, side, needed),
        }
        for needed in NEEDED for side in SIDES
    ]  # fmt: skip


def peak_memory(settings: Settings) -> float:
    """MB of one step with all gradients, in this process; a small step has loaded all code."""
    with with_kernels(settings.only):
        make(replace(settings, rows=2, classes=2), products=False)(settings.only, NEEDED[-1])
        run = make(settings, products=False)
        before = resident("VmRSS")
        mg.debug.restart_peak()
        run(settings.only, NEEDED[-1])
    return resident("VmHWM") - before


def peaks(settings: Settings) -> dict[str, float]:
    """`peak_memory` of each side, in a process of its own."""
    sizes = [f"--{name}={getattr(settings, name)}" for name in ("rows", "width", "classes")]
    found: dict[str, float] = {}
    for side in SIDES[1:]:
        command = [sys.executable, "-m", "benchmarks.output_layer", *sizes, "--only", side]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[side] = float(done.stdout)
    return found


def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__ or "")
    keep_memory()  # as the experiments do
    with cli.one_line(PROG):
        if settings.only:
            print(peak_memory(settings))
            return 0
        rows, memory = measure(settings), peaks(settings)
        print(f"{'gradients':<14}{'side':<12}{'ms':>9}{'/ products':>12}{'of CPU':>9}{'MB':>8}")
        for row in rows:
            mb = memory.get(row["side"]) if row["gradients"] == NEEDED[-1] else None
            print(
                f"{row['gradients']:<14}{row['side']:<12}{row['ms']:>9.1f}"
                f"{row['to_products']:>12.3f}{row['cpu_to_products']:>9.3f}"
                f"{'' if mb is None else f'{mb:.0f}':>8}"
            )
        if settings.out is not None:
            found = {"environment": environment(), "rows": rows, "peak_mb": memory}
            records.write_json(settings.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
