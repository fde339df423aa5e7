"""Speed relative to PyTorch for different sizes: `python -m benchmarks.sweep`.

    python -m benchmarks.sweep --quick                       # some seconds: shows that it works
    python -m benchmarks.sweep --out runs/sweep              # about half an hour
    python -m benchmarks.sweep --out runs/sweep --figure     # the figure again, from the records

Batch size, width d and length S of the sequences vary one at a time around (480, 128, 6), for both
models with 2 layers. Where batch size or d varies, the data are training sums a + b mod p of the
sanity experiment, with p large enough for the batch, and the loss counts the right-hand side. Where
S varies, the data are random tokens, which share no prefixes, and the loss counts all positions.
The sides take turns as in `benchmarks.step`, after their losses were compared.

The folder receives sweep.jsonl, with one line for each side at each point (or the reason why a
point was too large to be measured), and sweep.png and sweep.pdf, drawn only from these lines.
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
SLOW = 0.5  # seconds; from here on a turn has one step, since caches matter little


class Point(NamedTuple):
    """Sizes; the one named by `axis` varies."""

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
    """At each point, no new turn begins after this time, once three are counted."""
    limit_seconds: float = 10.0
    """Skip points where a step is estimated to take longer."""
    limit_gigabytes: float = 10.0
    """Skip points where a step is estimated to need more memory."""

    def __post_init__(self) -> None:
        if self.turns < 3:
            raise ValueError(f"--turns: expected at least 3, got {self.turns}")

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / ("sweep-quick" if self.quick else "sweep")


# --- estimates ------------------------------------------------------------------------------------
class Pace:
    """Estimates the seconds of a step from its matrix products and the last point measured."""

    def __init__(self) -> None:
        self.flops_a_second = 2e10  # for the first point; slower than any current machine

    def estimate(self, problem: Problem) -> float:
        return gemm.flops(gemm.products_of(problem)) / self.flops_a_second

    def learn(self, problem: Problem, seconds: float) -> None:
        self.flops_a_second = gemm.flops(gemm.products_of(problem)) / seconds


def gigabytes(problem: Problem) -> float:
    """An estimate for PyTorch eager, from measurements with 480 x 64 and 120 x 256 tokens."""
    trial = problem.trial
    a_token = 25 * trial.d
    if problem.model == "gpt":
        a_token = 40 * trial.d + 2 * trial.heads * problem.length
    return 4e-9 * problem.batch * problem.length * trial.layers * a_token


# --- measuring ------------------------------------------------------------------------------------
def sweep(settings: Settings) -> Iterator[records.Record]:
    """The records, point by point."""
    measured_on = environment()
    for model in MODELS:
        for points in QUICK if settings.quick else AXES:
            pace = Pace()
            for point in points:
                problem = point.problem(model)
                sizes = {**point._asdict(), "p": problem.trial.p}
                why = too_large(problem, pace, settings)
                by_side = [{"skipped": why}] if why else measure(problem, point, pace, settings)
                for record in by_side:
                    print(line_of(model, point, record), flush=True)
                    yield {"model": model, **sizes, **record, "environment": measured_on}


def too_large(problem: Problem, pace: Pace, settings: Settings) -> str | None:
    seconds, memory = pace.estimate(problem), gigabytes(problem)
    if seconds > settings.limit_seconds:
        return f"a step would take about {seconds:.1f} s, more than {settings.limit_seconds:g}"
    if memory > settings.limit_gigabytes:
        return f"a step would need about {memory:.1f} GB, more than {settings.limit_gigabytes:g}"
    return None


def measure(problem: Problem, point: Point, pace: Pace, settings: Settings) -> list[records.Record]:
    """One record per side."""
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
    by_side = [
        {"side": name, **spread(of_side), "turns": len(of_side)} for name, of_side in times.items()
    ]
    pace.learn(problem, max(record["ms"] for record in by_side) / 1e3)
    return by_side


def line_of(model: SumModel, point: Point, record: records.Record) -> str:
    """A record as one line of text."""
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
        so_far: list[records.Record] = []
        try:
            for record in sweep(settings):
                so_far.append(record)
                records.rewrite(path, so_far)
        except BenchmarkError as error:
            cli.fail(PROG, error, status=1)
    from benchmarks.sweep_figure import write_figure  # matplotlib takes a second to import

    for written in [path, *write_figure(settings.folder, records.read_lines(path))]:
        print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
