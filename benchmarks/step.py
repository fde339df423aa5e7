"""The time of a training step, compared with PyTorch and JAX: `python -m benchmarks.step`.

Every side trains the same model, from the same weights, on the same batch in float32: forward,
loss, backward, update. For the LSTM and the GPT these are the 480 training sequences of the sanity
experiment, with the loss on the right-hand side, clipping at norm 1 and AdamW; for the models of
speeches 16 sequences of 32 random tokens of 5,755, and Adam; for BERT with MiniLM's six layers of
384 it is a step of fine-tuning, 32 expressions of 7 tokens, or 32 texts of 128, clipping and AdamW;
for the translator 64 or 512 words of 8 letters, and Adam; for the models of WikiText-2 16 chunks of
256 random tokens of 40,479, one layer, and AdamW. First their losses are compared. Then they take
turns within one process, so that a drift of the machine meets all, and pause before each turn,
since threads that still spin after one would slow the next. The matrix products that such a step
needs take turns with them, alone. Memory is measured in processes of its own. Also the cost of
recording and running a tiny op.
"""

from __future__ import annotations

import statistics
import sys
import time
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import minigrad as mg
from benchmarks import gemm
from benchmarks.memory import peak_memory_apart
from benchmarks.problems import Model, Problem, SumModel, UsualModel, problem_of
from benchmarks.sides import (
    EAGER,
    FUSED,
    KINDS,
    SHARED,
    BenchmarkError,
    Side,
    Step,
    check_agreement,
    environment,
    make_sides,
)
from experiments.sweep import cli
from experiments.train import records
from minigrad.memory import keep_memory

PROG = "python -m benchmarks.step"
LONG = 1.0  # seconds of a step for which caches make no difference
PAUSE = 0.2  # seconds before each turn: the threads of OpenBLAS spin for about 0.1 after a step
FLOOR = "products, NumPy"  # the names of the floors among the sides
TORCH_FLOOR = "products, torch.mm"
TITLES = {
    "lstm": "LSTM",
    "gpt": "GPT",
    "speech-classifier": "classifier of speeches",
    "speech-language-model": "language model of speeches",
    "translator": "translator into Pig Latin",
    "translator-512": "translator, 512 words",
    "bert": "BERT, fine-tuning",
    "bert-long": "BERT, 128 tokens",
    "tied-lstm": "LSTM of WikiText-2",
    "tied-gpt": "GPT of WikiText-2",
}
USUAL: tuple[Model, ...] = get_args(UsualModel)


@dataclass(frozen=True)
class Settings:
    """Options of the benchmark."""

    turns: int = 40
    """Turns of each side that are counted, after 2 that are not."""
    models: tuple[Model, ...] = USUAL
    """Which models; of the others those of WikiText-2 and "bert-long" take minutes."""
    compiled: bool = True
    """Also torch.compile, which compiles for a minute, and JAX if it is installed."""
    memory: bool = True
    """Also measure memory."""
    keep_memory: bool = True
    """Let the process keep freed memory, as the experiments do; this helps all sides."""
    out: Path | None = None
    """A JSON file for all numbers and the environment."""

    def __post_init__(self) -> None:
        if self.turns < 2:
            raise ValueError(f"--turns: expected at least 2, got {self.turns}")
        if not self.models:
            raise ValueError(f"--models: expected one or more of {', '.join(get_args(Model))}")
        if self.out is not None and self.out.is_dir():
            raise ValueError(f"--out: expected a file, got the folder {self.out}")


# --- taking turns ---------------------------------------------------------------------------------
def alternate(
    sides: Sequence[Side],
    turns: int,
    *,
    uncounted: int = 2,
    steps: int = 3,
    pause: float = PAUSE,
    seconds: float = float("inf"),
) -> dict[str, list[float]]:
    """Milliseconds of a step in each turn; the sides take turns.

    A turn is a pause, one step that is not counted, because the caches contain the data of other
    sides, and then steps that are counted, one after the other as in training. A step of more than
    `LONG` seconds is the only one of its turn.

    uncounted: turns of each side at the start that are not counted.
    steps:     counted steps in each turn.
    pause:     seconds before each turn.
    seconds:   after this time, and three counted turns, no new turn begins.
    """
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    begin = time.perf_counter()
    for n in range(turns + uncounted):
        if n >= uncounted + 3 and time.perf_counter() - begin > seconds:
            break
        for side in sides:
            time.sleep(pause)
            side.switch()
            seconds_each = timed(side.step)
            if seconds_each < LONG:
                seconds_each = timed(side.step, steps)
            if n >= uncounted:
                times[side.name].append(1e3 * seconds_each)
    return times


def timed(step: Step, steps: int = 1) -> float:
    """Seconds of a step, the mean of several."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def race(problem: Problem, settings: Settings) -> dict[str, Any]:
    """The record of one model: rows of the table, products, floors, and all times."""
    model = problem.model
    kinds = {k: v for k, v in KINDS[model].items() if settings.compiled or not v.compiled}
    sides = make_sides(list(kinds), problem)
    check_agreement(sides, problem)
    floors: list[Side] = []
    products = {"": gemm.products_of(problem)}
    if model in get_args(SumModel):
        products[SHARED] = gemm.products_of(problem, shared=True)
    for batch, needed in products.items():
        floors.append(Side(FLOOR + batch, gemm.numpy_floor(needed)))
        floors.append(Side(TORCH_FLOOR + batch, gemm.torch_floor(needed)))
    times = alternate([*sides, *floors], settings.turns)
    memory = {
        side.name: peak_memory_apart(model, side.name, settings.keep_memory)
        for side in sides
        if settings.memory and not kinds[side.name].compiled
    }
    return {
        "model": model,
        "sides": rows({side.name: times[side.name] for side in sides}, times, memory),
        "floors": [floor_row(side.name, times[side.name], products) for side in floors],
        "products": {k or "plain": [p._asdict() for p in v] for k, v in products.items()},
        "times": times,
    }


# --- the table ------------------------------------------------------------------------------------
def rows(
    sides: Mapping[str, Sequence[float]],
    floors: Mapping[str, Sequence[float]],
    memory: Mapping[str, float],
) -> list[dict[str, Any]]:
    """One row per side, from the milliseconds of its turns; None where a column does not apply.

    eager, fused: the median of PyTorch eager, of torch.nn.LSTM, divided by that of this side.
    outside:      1 - floor / step, for minigrad's sides: the part of the step outside of matrix
                  products, if these take the time of the floor.
    """
    median = {name: statistics.median(times) for name, times in {**floors, **sides}.items()}

    def ratio(peer: str, name: str) -> float | None:
        return median[peer] / median[name] if peer in sides else None

    def outside(name: str) -> float | None:
        if not name.startswith("minigrad"):
            return None
        return 1 - median[FLOOR + SHARED * name.endswith(SHARED)] / median[name]

    return [
        {
            "side": name,
            **spread(times),
            "eager": ratio(EAGER, name),
            "fused": ratio(FUSED, name),
            "outside": outside(name),
            "megabytes": memory.get(name),
        }
        for name, times in sides.items()
    ]


def spread(values: Sequence[float], name: str = "ms") -> dict[str, float]:
    """The median, under this name, and the first and last decile."""
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return {name: statistics.median(values), "low": tenths[0], "high": tenths[-1]}


def floor_row(
    name: str, times: Sequence[float], products: Mapping[str, Sequence[gemm.Product]]
) -> dict[str, Any]:
    """The row of a floor: times, GFLOP, and GFLOP/s."""
    gflop = gemm.flops(products[SHARED if name.endswith(SHARED) else ""]) / 1e9
    ms = spread(times)
    return {"side": name, **ms, "gflop": gflop, "gflop_a_second": 1e3 * gflop / ms["ms"]}


def table(record: Mapping[str, Any]) -> str:
    """The record of one model as Markdown."""
    columns = {
        TITLES[record["model"]]: lambda r: r["side"],
        "ms a step, median": lambda r: f"{r['ms']:.1f}",
        "10 %–90 %": lambda r: f"{r['low']:.1f}–{r['high']:.1f}",
        "PyTorch eager / side": lambda r: cell(r["eager"], ".2f"),
        "torch.nn.LSTM / side": lambda r: cell(r["fused"], ".2f"),
        "outside products": lambda r: cell(r["outside"], ".0%"),
        "peak MB": lambda r: cell(r["megabytes"], ".0f"),
    }
    if record["model"] != "lstm":
        del columns["torch.nn.LSTM / side"]
    rows = [[text(row) for text in columns.values()] for row in record["sides"]]
    floors = [
        f"- {row['side']}: {row['ms']:.1f} ms ({row['low']:.1f}–{row['high']:.1f}) for "
        f"{row['gflop']:.2f} GFLOP, {row['gflop_a_second']:.0f} GFLOP/s"
        for row in record["floors"]
    ]
    return "\n".join([markdown(list(columns), rows), "", "Only the matrix products:", *floors])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def cell(value: float | None, style: str) -> str:
    return "" if value is None else format(value, style)


# --- a tiny op ------------------------------------------------------------------------------------
def tiny_ops() -> dict[str, float]:
    """Microseconds to run and record y = x * x on three numbers, best of 7."""
    import torch

    ours = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    theirs = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    best: dict[str, float] = {}
    for _ in range(7):
        for name, x in (("minigrad", ours), ("torch", theirs)):
            seconds = timeit.timeit(lambda x=x: x * x, number=20_000)
            best[name] = min(best.get(name, 1e9), seconds / 20_000 * 1e6)
    return best


# --- the command ----------------------------------------------------------------------------------
def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG):
        if settings.out is not None:
            records.fit_for_writing(settings.out.parent)
    if settings.keep_memory:
        keep_memory()
    measured_on = environment()
    models: list[dict[str, Any]] = []
    for model in settings.models:
        try:
            models.append(race(problem_of(model), settings))
        except BenchmarkError as error:
            cli.fail(PROG, error, status=1)
        print(table(models[-1]), end="\n\n", flush=True)
    print(
        "Outside products: 1 - floor / step, the part of a step that is not its matrix products, "
        "at the speed of NumPy's BLAS on all cores.\n"
    )
    mg.use_kernels(False)
    tiny = tiny_ops()
    print(
        f"A tiny op, run and recorded: minigrad {tiny['minigrad']:.2f} µs, PyTorch "
        f"{tiny['torch']:.2f} µs, ratio minigrad / PyTorch {tiny['minigrad'] / tiny['torch']:.2f}"
    )
    if settings.out is not None:
        options = {k: v for k, v in asdict(settings).items() if k != "out"}
        records.write_json(
            settings.out,
            {"settings": options, "environment": measured_on, "models": models, "tiny_us": tiny},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
