"""The loops of the CPU kernels with vectors of 256 and of 512 bits: `python -m benchmarks.vectors`.

Numba compiles them three times: without AVX-512, as its compiler chooses for this processor, and
with 512 bits wherever it can. Each runs in a process of its own on one core, on arrays that its L2
cache holds; the processes take turns. Times are of the processor. The last column says which
registers the arithmetic of the compiler's choice is in, of all instructions on whole vectors.

Attention and the LSTM contain products of BLAS, which chooses its width itself.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from time import process_time
from typing import Any

import numpy as np

from benchmarks.rounds import Rounds, machine
from benchmarks.step import cell, markdown
from experiments.sweep import cli, processes
from experiments.train.records import THREADS

PROG = "python -m benchmarks.vectors"
NARROW, CHOSEN, WIDE = "256 bits", "compiler's choice", "512 bits"
ROWS, COLUMNS = 128, 512  # 256 KiB an array
ARITHMETIC = r"\bv(?:add|sub|mul|div|sqrt|max|min|fn?m(?:add|sub)\d+)ps\s.*%([yz])mm"
Loops = dict[str, tuple[int, Callable[[], Any]]]  # elements, and a call, by name


@dataclass(frozen=True)
class Settings(Rounds):
    """Options of the benchmark."""

    seconds: float = 0.05
    """Of each loop in a round."""


# --- what is compiled and how ---------------------------------------------------------------------
def widths() -> dict[str, dict[str, str]]:
    """The environment in which Numba compiles for each width; the narrow alone without AVX-512."""
    import llvmlite.binding

    features = llvmlite.binding.get_host_cpu_features()
    narrow = {**features, **{name: False for name in features if name.startswith("avx512")}}
    result = {NARROW: {"NUMBA_CPU_FEATURES": flat(narrow)}}
    if features.get("avx512f"):
        wide = flat({**features, "prefer-256-bit": False})
        result |= {CHOSEN: {}, WIDE: {"NUMBA_CPU_FEATURES": wide}}
    return result


def flat(features: Mapping[str, bool]) -> str:
    return ",".join(("+" if on else "-") + name for name, on in sorted(features.items()))


def loops() -> Loops:
    """Every kernel forward, and backward if it has a way back, with its number of elements."""
    from kernels.cpu import adamw, attention, cross_entropy, gelu, layer_norm, lstm, relu

    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    x, g, weight = draw(ROWS, COLUMNS), draw(ROWS, COLUMNS), draw(COLUMNS)
    target, heads = rng.integers(COLUMNS, size=ROWS), draw(4, 4, 64, 32)
    steps, w = draw(4, 32, 4 * 128), draw(4 * 128, 128)
    found: Loops = {}

    def add(name: str, size: int, forward: Callable[[], Any], g: Any) -> None:
        _, pull = forward()
        found[name] = size, forward
        pulls = pull if isinstance(pull, tuple) else (pull,)
        found[f"{name}, backward"] = size, partial(pulls[0], g)

    add("relu", x.size, partial(relu.relu, x), g)
    add("gelu", x.size, partial(gelu.gelu, x), g)
    add("layer norm", x.size, partial(layer_norm.layer_norm, x, weight, weight), g)
    add("cross-entropy", x.size, partial(cross_entropy.cross_entropy, x, target), np.float32(1.0))
    attend = partial(attention.scaled_dot_product_attention, heads, heads, heads, causal=True)
    add("attention, of 64 keys", 4 * 4 * 64 * 64, attend, heads)
    zeros = np.zeros((1, 32, 128), np.float32)
    run = partial(lstm.lstm, steps, None, None, None, 0.1 * w, None, None)
    add("LSTM", steps.size, run, (draw(4, 32, 128), zeros, zeros))
    p, m, v = x.copy(), np.zeros_like(x), np.zeros_like(x)
    rates = lambda: ([[(0.9, 0.999, 1e-8, 1e-6, 0.0, 1.0)]], [0])
    found["AdamW"] = x.size, partial(adamw.adam, None, [(p, g, m, v)], rates)
    found["clipping"] = x.size, partial(adamw.clip, [g.copy()], 1.0, None)
    return found


def registers() -> dict[str, int]:
    """Arithmetic instructions on whole vectors of 256 and 512 bits in what was just compiled."""
    from minigrad.kernel import KERNELS

    counts = {"y": 0, "z": 0}
    modules = {sys.modules[k.body.__module__] for k in KERNELS if k.device == "cpu"}
    for module in modules:
        for f in vars(module).values():
            if hasattr(f, "fast"):
                for text in f.fast.inspect_asm().values():
                    for name in re.findall(ARITHMETIC, text):
                        counts[name] += 1
    return counts


# --- one process ----------------------------------------------------------------------------------
def serve(connection: Any) -> None:
    """Compile, tell the registers, then time the loops for as long as the connection asks."""
    import minigrad as mg

    mg.use_kernels()
    ready = loops()
    connection.send(registers())
    while (seconds := connection.recv()) is not None:
        connection.send({name: timed(call, seconds) / n for name, (n, call) in ready.items()})


def timed(call: Callable[[], Any], seconds: float) -> float:
    """Nanoseconds of a call, the mean over some seconds of the processor, after one call."""
    call()
    calls, start = 0, process_time()
    while process_time() - start < seconds:
        for _ in range(8):
            call()
        calls += 8
    return 1e9 * (process_time() - start) / calls


def measured(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """By width: registers; and nanoseconds an element of each loop, one number a round."""
    context = get_context("spawn")
    with ExitStack() as stack:
        pipes: dict[str, Any] = {}
        for name, flags in widths().items():
            cache = stack.enter_context(tempfile.TemporaryDirectory())
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs,), daemon=True)
            one = dict.fromkeys(THREADS, "1")
            with processes.environment({**one, **flags, "NUMBA_CACHE_DIR": cache}):
                process.start()
            stack.callback(process.join)
            stack.callback(ours.send, None)
            pipes[name] = ours
        counts = {name: pipe.recv() for name, pipe in pipes.items()}
        times: dict[str, dict[str, list[float]]] = {name: {} for name in pipes}
        for _ in range(settings.rounds):
            for name, pipe in pipes.items():
                pipe.send(settings.seconds)
                for loop, nanoseconds in pipe.recv().items():
                    times[name].setdefault(loop, []).append(nanoseconds)
    return counts, times


def table(times: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Nanoseconds an element, and how much faster than with 256 bits, medians over rounds."""
    head = ["ns an element", *times, *(f"{NARROW} / {name}" for name in times if name != NARROW)]
    rows = []
    for loop, narrow in times[NARROW].items():
        row = [loop, *(f"{statistics.median(own[loop]):.3f}" for own in times.values())]
        for name, own in times.items():
            if name != NARROW:
                pairs = zip(narrow, own[loop], strict=True)
                row.append(cell(statistics.median(a / b for a, b in pairs), ".2f"))
        rows.append(row)
    return markdown(head, rows)


# --- the command ----------------------------------------------------------------------------------
def main(args: Sequence[str] | None = None) -> int:
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG):
        settings.check_out()
    measured_on = machine()
    counts, times = measured(settings)
    print(f"{measured_on['processor']}\n\n{table(times)}\n")
    for name, found in counts.items():
        print(f"{name}: {found['y']} instructions on 256 bits, {found['z']} on 512")
    settings.save(measured_on, {"registers": counts, "times": times})
    return 0


if __name__ == "__main__":
    sys.exit(main())
