"""How the speed against PyTorch depends on sizes: `python -m benchmarks.sweep`.

    python -m benchmarks.sweep --quick                       # some seconds: shows that it works
    python -m benchmarks.sweep --out runs/sweep              # about half an hour
    python -m benchmarks.sweep --out runs/sweep --figure     # the figure again, from the records

Batch, width d and length S of the sequences vary one at a time around (480, 128, 6), for both
models with 2 layers. Where batch and d vary, the data are training sums a + b mod p of the sanity
experiment, p as large as the batch asks for, and the loss counts the right-hand side. Where S
varies, they are random tokens, which share no prefixes, and the loss counts all positions. The
sides take turns as in `benchmarks.step`, after their losses were compared.

The folder receives sweep.jsonl, with one line for each side at each point (or each point that was
too large to be measured, and why), and sweep.png and sweep.pdf, drawn from these lines alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks import gemm
from benchmarks.problems import Problem, SumModel, random_tokens, sums
from benchmarks.sides import (
    EAGER,
    SHARED,
    BenchmarkError,
    check_agreement,
    environment,
    make_sides,
)
from benchmarks.step import PAUSE, alternate, spread
from experiments.sweep import cli
from experiments.train import records
from minigrad.memory import keep_memory

PROG = "python -m benchmarks.sweep"
Axis = Literal["batch", "d", "length"]
MODELS: tuple[SumModel, ...] = ("lstm", "gpt")
SIDES = ("minigrad", f"minigrad{SHARED}", "minigrad, plain", EAGER)
SLOW = 0.5  # seconds a step from which one step a turn is enough: caches matter little


class Point(NamedTuple):
    """Sizes, of which one varies."""

    axis: Axis
    batch: int = 480
    d: int = 128
    length: int = 6

    def problem(self, model: SumModel) -> Problem:
        if self.axis == "length":
            return random_tokens(model, self.batch, self.d, self.length)
        return sums(model, self.batch, self.d)


BATCHES = (32, 64, 128, 256, 480, 1024, 2048, 4096)
WIDTHS = (64, 128, 256, 512)
LENGTHS = (6, 16, 32, 64, 128, 256)
AXES = (
    [Point("batch", batch=n) for n in BATCHES],
    [Point("d", d=n) for n in WIDTHS],
    [Point("length", length=n) for n in LENGTHS],
)
QUICK = (
    [Point("batch", n, 16) for n in (16, 64)],
    [Point("d", 16, n) for n in (16, 32)],
    [Point("length", 16, 16, n) for n in (6, 12)],
)


@dataclass(frozen=True)
class Settings:
    """Options of the sweep."""

    out: Path | None = None
    """Output folder; runs/sweep, or runs/sweep-quick, if not given."""
    quick: bool = False
    """Tiny sizes and few turns: a check that everything works, not a result."""
    figure: bool = False
    """Make the figure from the records in the output folder, and nothing else."""
    turns: int = 15
    """Turns of each side that are counted, at least 3; fewer at a point that takes long."""
    seconds: float = 60.0
    """No new turn at a point after so long, once three are counted."""
    limit_seconds: float = 10.0
    """Leave out points where a step is estimated to take longer,"""
    limit_gigabytes: float = 10.0
    """or to need more memory."""

    def __post_init__(self) -> None:
        if self.turns < 3:
            raise ValueError(f"--turns: expected at least 3, got {self.turns}")

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / ("sweep-quick" if self.quick else "sweep")


# --- estimates ------------------------------------------------------------------------------------
class Pace:
    """Seconds of a step in proportion to its matrix products, from the points measured so far."""

    def __init__(self) -> None:
        self.flops_a_second = 2e10  # before the first; slower than any machine meant here

    def estimate(self, problem: Problem) -> float:
        return gemm.flops(gemm.products_of(problem)) / self.flops_a_second

    def learn(self, problem: Problem, seconds: float) -> None:
        self.flops_a_second = gemm.flops(gemm.products_of(problem)) / seconds


def gigabytes(problem: Problem) -> float:
    """What a step of PyTorch eager keeps, about: as measured at 480 and 120 x 64 and 256 tokens."""
    trial = problem.trial
    a_token = 25 * trial.d
    if problem.model == "gpt":
        a_token = 40 * trial.d + 2 * trial.heads * problem.length
    return 4e-9 * problem.batch * problem.length * trial.layers * a_token


# --- measuring ------------------------------------------------------------------------------------
def sweep(settings: Settings) -> Iterator[records.Record]:
    """The records, point by point."""
    where = environment()
    for model in MODELS:
        for points in QUICK if settings.quick else AXES:
            pace = Pace()
            for point in points:
                problem = point.problem(model)
                sizes = {**point._asdict(), "p": problem.trial.p}
                why = too_large(problem, pace, settings)
                found = [{"skipped": why}] if why else measure(problem, point, pace, settings)
                for record in found:
                    print(said(model, point, record), flush=True)
                    yield {"model": model, **sizes, **record, "environment": where}


def too_large(problem: Problem, pace: Pace, settings: Settings) -> str | None:
    seconds, memory = pace.estimate(problem), gigabytes(problem)
    if seconds > settings.limit_seconds:
        return f"a step would take about {seconds:.1f} s, more than {settings.limit_seconds:g}"
    if memory > settings.limit_gigabytes:
        return f"a step would need about {memory:.1f} GB, more than {settings.limit_gigabytes:g}"
    return None


def measure(problem: Problem, point: Point, pace: Pace, settings: Settings) -> list[records.Record]:
    """One record a side."""
    names = [s for s in SIDES if point.axis != "length" or not s.endswith(SHARED)]
    sides = make_sides(names, problem)
    slow = pace.estimate(problem) > SLOW
    check_agreement(sides, problem, steps=1 if slow else 3)
    times = alternate(
        sides,
        turns=3 if settings.quick else settings.turns,
        uncounted=0 if slow or settings.quick else 2,
        steps=1 if slow else 3,
        pause=0.02 if settings.quick else PAUSE,
        seconds=settings.seconds,
    )
    found = [
        {"side": name, **spread(of_side), "turns": len(of_side)} for name, of_side in times.items()
    ]
    pace.learn(problem, max(record["ms"] for record in found) / 1e3)
    return found


def said(model: SumModel, point: Point, record: records.Record) -> str:
    """One line of the output."""
    sizes = f"{model}  batch {point.batch:>5}  d {point.d:>4}  S {point.length:>4}"
    if "skipped" in record:
        return f"{sizes}  left out: {record['skipped']}"
    deciles = f"{record['low']:.1f}–{record['high']:.1f}"
    return f"{sizes}  {record['side']:<26} {record['ms']:9.1f} ms  ({deciles})"


# --- the command ----------------------------------------------------------------------------------
def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__)
    path = settings.folder / "sweep.jsonl"
    try:
        if settings.figure and not records.read_lines(path):
            raise ValueError(f"{path}: no records to draw; run without --figure")
        if not settings.figure:
            if path.exists():
                raise ValueError(f"{path} exists: choose another --out, or draw it with --figure")
            records.fit_for_writing(settings.folder)
    except (ValueError, OSError) as error:
        cli.fail(PROG, error)
    if not settings.figure:
        keep_memory()
        found: list[records.Record] = []
        try:
            for record in sweep(settings):
                found.append(record)
                records.rewrite(path, found)
        except BenchmarkError as error:
            cli.fail(PROG, error, status=1)
    from benchmarks.sweep_figure import write_figure  # matplotlib takes a second to import

    for written in [path, *write_figure(settings.folder, records.read_lines(path))]:
        print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
