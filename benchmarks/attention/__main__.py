"""The four forms of attention beside what they cost at least: `python -m benchmarks.attention`.

Work is counted (`work.py`). Times are of the processor, on one core, in float32: medians of turns;
the loops in Python take one. The bound of a form is the larger of its FLOPs by the rate of NumPy's
matrix product, and of what must be read and written by the rate of a copy. The numbers of a head
are first compared with those of the plain op. Triton is timed where there is a GPU, on which all
heads run at once; that was never tried.

It also times one head of longer and longer sequences, without the loops, in a quarter of the turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import threadpoolctl

from benchmarks.attention import arrays, compiled, loops, tables
from benchmarks.attention.agreement import same
from benchmarks.attention.tables import PASSES
from benchmarks.attention.work import TILE, work
from benchmarks.sides import BenchmarkError, environment, processor
from experiments.sweep import cli
from experiments.train import records
from minigrad import device as devices
from minigrad.memory import keep_memory

PROG = "python -m benchmarks.attention"
LARGE = 1 << 26  # bytes that no cache holds


@dataclass(frozen=True)
class Settings:
    """Options of the benchmark."""

    length: int = 256
    """Queries and keys, T."""
    width: int = 64
    """Numbers of a query, D."""
    heads: int = 8
    """Heads, one after the other."""
    longer: tuple[int, ...] = (1024, 4096, 8192)
    """Lengths of single heads; at the last of these NumPy takes 1.5 GB."""
    turns: int = 21
    """Turns of each form but the loops."""
    out: Path | None = None
    """A JSON file for all numbers and the environment."""

    def __post_init__(self) -> None:
        sizes = self.length, self.width, self.heads, self.turns, *self.longer
        if min(sizes) < 1:
            raise ValueError(f"expected sizes and turns of at least 1, got {min(sizes)}")


# --- measured -------------------------------------------------------------------------------------
Head = Sequence[Any]  # q, k, v and the gradient of y
FORWARD: dict[str, Callable[..., Any]] = {
    "loops": lambda *head: (loops.forward(*lists(head)),),
    "NumPy": arrays.forward,
    "compiled": compiled.forward,
}
BACKWARD: dict[str, Callable[..., Any]] = {  # of a head, and of what its forward pass returned
    "loops": lambda q, k, v, g, y: loops.backward(*lists((q, k, v, g))),
    "NumPy": lambda q, k, v, g, y, p: arrays.backward(q, k, v, g, p),
    "compiled": compiled.backward,
}


def lists(arrays: Iterable[Any]) -> list[list[list[float]]]:
    return [x.tolist() for x in arrays]


def draw(heads: int, T: int, D: int) -> list[Head]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((4, T, D), np.float32) for _ in range(heads)]


def check(head: Head) -> None:
    """BenchmarkError if a form does not compute the numbers of the plain op."""
    for form in FORWARD:
        kept = FORWARD[form](*head[:3])
        agree(form, (kept[0], *BACKWARD[form](*head, *kept)), head)


def agree(form: str, found: Sequence[Any], heads: Head) -> None:
    if not all(same(found, heads)):
        raise BenchmarkError(f"{form}: the numbers are not those of the plain op")


def times_of(forms: Iterable[str], heads: list[Head], turns: int) -> dict[tuple[str, str], float]:
    """Seconds of all heads, by pass and form. The forms take turns."""
    times: dict[tuple[str, str], list[float]] = {}
    for form in turns * [*forms]:
        if form == "loops" and ("forward", form) in times:
            continue
        start = process_time()
        kept = [FORWARD[form](q, k, v) for q, k, v, _ in heads]
        middle = process_time()
        for head, of_head in zip(heads, kept, strict=True):
            BACKWARD[form](*head, *of_head)
        for which, took in zip(PASSES, (middle - start, process_time() - middle), strict=True):
            times.setdefault((which, form), []).append(took)
    return {key: float(np.median(took)) for key, took in times.items()}


def rates(turns: int) -> dict[str, float]:
    """FLOPs a second of a product of two matrices (1024, 1024); bytes a second, read and written,
    of a copy that no cache holds."""
    a, b, y = np.ones((3, 1024, 1024), np.float32)
    x, z = np.ones((2, LARGE), np.uint8)
    calls = {
        "flops": (2 * 1024**3, lambda: np.matmul(a, b, out=y)),
        "bytes": (2 * LARGE, lambda: np.copyto(z, x)),
    }
    found: dict[str, float] = {}
    for name, (amount, call) in calls.items():
        call()
        start = process_time()
        for _ in range(turns):
            call()
        found[name] = amount * turns / (process_time() - start)
    return found


def on_a_gpu(heads: list[Head], turns: int) -> dict[tuple[str, str], float]:
    """Seconds of the form in Triton, all heads in one launch.

    None without a GPU and Triton, and none for sizes that its tiles do not fit.
    """
    if not devices.available() or find_spec("triton") is None:
        return {}
    T, D = heads[0][0].shape
    if T % TILE or D < 16 or D & (D - 1):
        return {}
    from benchmarks.attention import tiles
    from benchmarks.gpu.clock import by_the_gpu

    stacked = np.stack(heads, axis=1)
    q, k, v, g = (devices.move(x, devices.parse("cuda")) for x in stacked)
    y, lse = tiles.forward(q, k, v)
    grads = tiles.backward(q, k, v, g, y, lse)
    agree("Triton", [devices.to_numpy(x) for x in (y, *grads)], stacked)
    calls = {
        "forward": partial(tiles.forward, q, k, v),
        "backward": partial(tiles.backward, q, k, v, g, y, lse),
    }
    took = by_the_gpu(calls, turns=turns)
    return {(which, "Triton"): ms / 1e3 for which, ms in took.items()}


def measure(settings: Settings) -> dict[str, Any]:
    """The rates of this machine, a row for each pass and form, and one for each longer length."""
    heads = draw(settings.heads, settings.length, settings.width)
    with threadpoolctl.threadpool_limits(1):
        check(heads[0])
        rate = rates(settings.turns)
        times = times_of(FORWARD, heads, settings.turns) | on_a_gpu(heads, settings.turns)
        longer = [longer_row(T, settings) for T in settings.longer]
    counts = work(settings.length, settings.width)
    rows: list[dict[str, Any]] = []
    for (which, form), (flops, size) in counts.items():
        row: dict[str, Any] = {"pass": which, "form": form}
        row |= {"flops": settings.heads * flops, "bytes": settings.heads * size}
        if form != "Triton":  # it has the bound of another processor
            needed = settings.heads * counts[which, "least"].bytes
            row["bound_ms"] = 1e3 * max(row["flops"] / rate["flops"], needed / rate["bytes"])
        if (which, form) in times:
            row["ms"] = 1e3 * times[which, form]
        rows.append(row)
    return {"processor": processor()["processor"], "rates": rate, "rows": rows, "longer": longer}


def longer_row(T: int, settings: Settings) -> dict[str, Any]:
    """Milliseconds of one head of length T, in NumPy and compiled."""
    heads, turns = draw(1, T, settings.width), -(-settings.turns // 4)
    times = times_of(("NumPy", "compiled"), heads, turns)
    return {"T": T} | {f"{form}, {which}": 1e3 * took for (which, form), took in times.items()}


def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__ or "")
    keep_memory()  # as the experiments do
    with cli.one_line(PROG):
        try:
            found = measure(settings)
        except BenchmarkError as error:
            cli.fail(PROG, error, status=1)
        print(*tables.lines(found), sep="\n")
        if settings.out is not None:
            about = {"settings": asdict(settings) | {"out": None}, "environment": environment()}
            records.write_json(settings.out, about | found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
