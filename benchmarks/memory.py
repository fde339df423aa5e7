"""Peak memory of the steps of one side: `python -m benchmarks.memory --model gpt --side minigrad`.

Prints the peak of 20 steps in MB (of fewer, if they take longer than 10 s), less the resident
memory before the model was made. A step of a tiny model runs first, so that libraries and kernels
are loaded by then. Only on Linux.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import minigrad as mg
from benchmarks.problems import Model, problem_of, tiny_problem
from benchmarks.sides import BenchmarkError, Unavailable, make_side
from experiments.sweep import cli
from minigrad.memory import keep_memory

PROG = "python -m benchmarks.memory"


@dataclass(frozen=True)
class Settings:
    """Options of the measurement."""

    model: Model = "lstm"
    """The model."""
    side: str = "minigrad"
    """The side, by its name in the table of `benchmarks.step`."""
    keep_memory: bool = True
    """Let the process keep freed memory, as the experiments do."""


def peak_memory(model: Model, side: str) -> float:
    """MB, in this process."""
    tiny = make_side(side, tiny_problem(model))
    tiny.switch()
    tiny.step()
    before = resident("VmRSS")
    mg.debug.restart_peak()
    step = make_side(side, problem_of(model)).step
    end = monotonic() + 10.0
    for n in range(20):
        step()
        if n > 0 and monotonic() > end:
            break
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """Resident memory in MB: now (VmRSS) or at its peak (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {field} on this system")


def peak_memory_apart(model: Model, side: str, keep_memory: bool) -> float:
    """`peak_memory` in a separate process. BenchmarkError with that process's error."""
    command = [sys.executable, "-m", "benchmarks.memory", "--model", model, "--side", side]
    command += [] if keep_memory else ["--no-keep-memory"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError("\n".join(done.stderr.strip().splitlines()[-1:]))
    return float(done.stdout)


def main() -> None:
    settings = cli.parse(Settings, None, prog=PROG, description=__doc__)
    if settings.keep_memory:
        keep_memory()
    try:
        print(peak_memory(settings.model, settings.side))
    except (Unavailable, ValueError, OSError) as error:
        cli.fail(PROG, error)


if __name__ == "__main__":
    main()
