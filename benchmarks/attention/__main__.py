"""The four forms of attention beside what they cost at least: `python -m benchmarks.attention`.

Work is counted (`work`); times are of the processor, on one core, in float32: medians of turns, of
which the loops in Python take one. The bound of a form is the larger of its FLOPs by the rate of
NumPy's matrix product and its bytes by the rate at which an array of the kind it goes over is
copied. What was timed is compared with the plain op in float64. Triton is timed where there is a
GPU, on which all heads run at once; that was never tried.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl

from benchmarks.attention import arrays, compiled, loops
from benchmarks.sides import BenchmarkError, environment
from experiments.sweep import cli
from experiments.train import records
from minigrad import device as devices
from minigrad.memory import keep_memory
from reference.attention import bounds, reference

PROG = "python -m benchmarks.attention"
PASSES = "forward", "backward"
FORMS = "loops", "NumPy", "compiled", "Triton"
PREDICTED = {  # times by that of NumPy, before anything was measured
    ("forward", "loops"): 600, ("forward", "compiled"): 1.8,
    ("backward", "loops"): 900, ("backward", "compiled"): 2.3,
}  # fmt: skip
FLOAT, OBJECT = 4, 32  # bytes of a float32; of a float of Python and its place in a list
TILE = 32  # `tiles.B`, which needs Triton
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
    turns: int = 21
    """Turns of each form but the loops, after one that is not counted."""
    out: Path | None = None
    """A JSON file for all numbers and the environment."""

    def __post_init__(self) -> None:
        for name in ("length", "width", "heads", "turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}: expected at least 1, got {getattr(self, name)}")


# --- counted --------------------------------------------------------------------------------------
class Work(NamedTuple):
    """FLOPs of the matrix products alone, and bytes that are read or written.

    A row, or a tile, that is in use is read once and written once; all others each time.
    """

    flops: int
    bytes: float


def work(T: int, D: int, tile: int = TILE) -> dict[tuple[str, str], Work]:
    """Of one head, by pass and form. "least": what no form can do without."""
    pairs = T * (T + 1) // 2  # of a query and a key that it sees
    steps = -(-T // tile) * (-(-T // tile) + 1) // 2  # tiles of scores, on the diagonal and below
    tiled, rows = steps * tile * tile, steps * tile  # the pairs in them, and the keys loaded
    counts = {  # FLOPs, numbers
        ("forward", "least"): (4 * D * pairs, 4 * T * D),
        ("forward", "loops"): (4 * D * pairs, 2 * T * D + 2 * D * pairs),
        ("forward", "NumPy"): (4 * D * T * T, 4 * T * D + 14.5 * T * T + 4 * T),
        ("forward", "compiled"): (4 * D * pairs, 2 * T * D + T + 2 * D * pairs),
        ("forward", "Triton"): (4 * D * tiled, 2 * T * D + T + 2 * D * rows),
        ("backward", "least"): (8 * D * pairs, 7 * T * D),
        ("backward", "loops"): (10 * D * pairs, 3 * T * D + 7 * D * pairs),
        ("backward", "NumPy"): (8 * D * T * T, 8 * T * D + 15 * T * T + 2 * T),
        ("backward", "compiled"): (10 * D * pairs, 4 * T * D + T + 6 * D * pairs),
        ("backward", "Triton"): (14 * D * tiled, 11 * T * D + 3 * T + (4 * D + 2) * rows),
    }
    return {
        (which, form): Work(flops, numbers * (OBJECT if form == "loops" else FLOAT))
        for (which, form), (flops, numbers) in counts.items()
    }


# --- measured -------------------------------------------------------------------------------------
def seconds(call: Callable[[], Any], turns: int) -> float:
    """Of the processor, median of turns after one that is not counted."""
    times: list[float] = []
    for _ in range(1 + turns):
        start = process_time()
        call()
        times.append(process_time() - start)
    return statistics.median(times[1:])


def product_rate(turns: int) -> float:
    """FLOPs a second of NumPy's product of two matrices (1024, 1024)."""
    a, b, y = np.ones((3, 1024, 1024), np.float32)
    return 2 * 1024**3 / seconds(lambda: np.matmul(a, b, out=y), turns)


def copy_rate(size: int, turns: int) -> float:
    """Bytes read and written a second, where an array of so many bytes is copied."""
    a, b = np.ones((2, size), np.uint8)
    repeats = 1 + LARGE // 8 // size

    def copies() -> None:
        for _ in range(repeats):
            np.copyto(b, a)

    return 2 * size * repeats / seconds(copies, turns)


Head = tuple[Any, ...]  # q, k, v and the gradient of y
FORWARD: dict[str, Callable[..., Any]] = {
    "loops": lambda *head: loops.forward(*lists(head)),
    "NumPy": arrays.forward,
    "compiled": compiled.forward,
}
BACKWARD: dict[str, Callable[..., Any]] = {  # of a head, and of what its forward pass returned
    "loops": lambda q, k, v, g, y: loops.backward(*lists((q, k, v, g))),
    "NumPy": lambda q, k, v, g, y_p: arrays.backward(q, k, v, g, y_p[1]),
    "compiled": lambda q, k, v, g, y_lse: compiled.backward(q, k, v, g, *y_lse),
}


def lists(arrays: Head) -> list[list[list[float]]]:
    return [x.tolist() for x in arrays]


def turn(form: str, heads: list[Head]) -> tuple[list[float], list[Any], list[Any]]:
    """Seconds of both passes, what the first returned for each head, and the gradients."""
    start = process_time()
    found = [FORWARD[form](q, k, v) for q, k, v, _ in heads]
    middle = process_time()
    grads = [BACKWARD[form](*head, y) for head, y in zip(heads, found, strict=True)]
    return [middle - start, process_time() - middle], found, grads


def times_of(heads: list[Head], turns: int) -> dict[tuple[str, str], float]:
    """Seconds of all heads, by pass and form. BenchmarkError if a number is wrong."""
    times: dict[str, list[list[float]]] = {form: [] for form in FORWARD}
    for n in range(1 + turns):
        for form in FORWARD:
            if form == "loops" and n:
                continue
            took, found, grads = turn(form, heads)
            times[form].append(took)
            if n == 0:
                for head, y, grad in zip(heads, found, grads, strict=True):
                    check(form, head, y if form == "loops" else y[0], grad)
    counted = {form: took if form == "loops" else took[1:] for form, took in times.items()}
    return {
        (which, form): statistics.median(pair[i] for pair in took)
        for form, took in counted.items()
        for i, which in enumerate(PASSES)
    }


def check(form: str, head: Sequence[Any], y: Any, grads: Any) -> None:
    """BenchmarkError if y or a gradient is further from the plain op than rounding explains."""
    exact, others = reference(*head, causal=True)
    for found, wanted, bound in zip(
        (y, *grads), exact, bounds(exact, head[0].dtype, *others), strict=True
    ):
        if not (np.abs(np.asarray(found, float) - wanted) <= bound).all():
            raise BenchmarkError(f"{form}: the numbers are not those of the plain op")


def on_a_gpu(heads: list[Head], turns: int) -> dict[tuple[str, str], float]:
    """Seconds of the form in Triton, all heads in one launch; where they cannot be had, none."""
    if not devices.available() or find_spec("triton") is None:
        return {}
    from benchmarks.attention import tiles
    from benchmarks.gpu.clock import by_the_gpu

    stacked = [np.stack(x) for x in zip(*heads, strict=True)]
    q, k, v, g = (devices.move(x, "cuda") for x in stacked)
    y, lse = tiles.forward(q, k, v)
    grads = tiles.backward(q, k, v, g, y, lse)
    check("Triton", stacked, devices.to_numpy(y), [devices.to_numpy(x) for x in grads])
    calls = {
        "forward": partial(tiles.forward, q, k, v),
        "backward": partial(tiles.backward, q, k, v, g, y, lse),
    }
    return {(which, "Triton"): ms / 1e3 for which, ms in by_the_gpu(calls, turns=turns).items()}


def measure(settings: Settings) -> dict[str, Any]:
    """The rates of this machine, and a row for each pass and form."""
    T, D, H = settings.length, settings.width, settings.heads
    rng = np.random.default_rng(0)
    heads = [tuple(rng.standard_normal((4, T, D), np.float32)) for _ in range(H)]
    with threadpoolctl.threadpool_limits(1):
        rates = {
            "flops": product_rate(settings.turns),
            "memory": copy_rate(LARGE, settings.turns),
            "scores": copy_rate(FLOAT * T * T, settings.turns),
            "keys": copy_rate(FLOAT * T * D, settings.turns),
        }
        times = times_of(heads, settings.turns)
    times |= on_a_gpu(heads, settings.turns)
    goes_over = {"least": "memory", "NumPy": "scores"}
    rows: list[dict[str, Any]] = []
    for (which, form), (flops, size) in work(T, D).items():
        row: dict[str, Any] = {"pass": which, "form": form, "flops": H * flops, "bytes": H * size}
        if form != "Triton":  # whose rates would be those of a GPU
            bandwidth = rates[goes_over.get(form, "keys")]
            row["bound_ms"] = 1e3 * max(row["flops"] / rates["flops"], row["bytes"] / bandwidth)
        if (which, form) in times:
            row["ms"] = 1e3 * times[which, form]
            row["to_numpy"] = times[which, form] / times[which, "NumPy"]
        rows.append(row)
    return {"processor": processor(), "rates": rates, "rows": rows}


def processor() -> str | None:
    """The name that Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


# --- printed --------------------------------------------------------------------------------------
HEADINGS = "", "MFLOP", "MB", "FLOP/byte", "bound, ms", "ms", "of NumPy", "predicted"


def table(found: dict[str, Any], which: str) -> list[str]:
    """The rows of one pass, in Markdown. Of Triton without a GPU there is no time."""
    lines = [" | ".join(HEADINGS), "|".join(["---"] + ["---:"] * (len(HEADINGS) - 1))]
    for row in found["rows"]:
        if row["pass"] == which:
            cells = (
                row["flops"] / 1e6, row["bytes"] / 1e6, row["flops"] / row["bytes"],
                row.get("bound_ms"), row.get("ms"), row.get("to_numpy"),
                PREDICTED.get((which, row["form"])),
            )  # fmt: skip
            lines.append(" | ".join([row["form"], *map(digits, cells)]))
    return [f"| {line} |".replace("|  |", "| |") for line in lines]


def digits(x: float | None) -> str:
    """Three digits; a dash for what there is not."""
    if x is None:
        return "–"
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__ or "")
    keep_memory()  # as the experiments do
    with cli.one_line(PROG):
        found = measure(settings)
        for which in PASSES:
            print(f"\n{which}:\n", *table(found, which), sep="\n")
        print("\nrates, G a second:", {k: round(x / 1e9, 1) for k, x in found["rates"].items()})
        if settings.out is not None:
            about = {"settings": {**asdict(settings), "out": None}, "environment": environment()}
            records.write_json(settings.out, about | found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
