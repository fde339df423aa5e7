"""Checks and measurements of everything that needs a GPU, in 8 minutes: `make gpu-check`.

    python -m benchmarks.gpu                       # a table; exit status 1 if something failed
    python -m benchmarks.gpu --only ops train      # some groups of checks
    python -m benchmarks.gpu --out runs/gpu.json   # the file of the record

Needs CuPy, Triton and NumPy. If PyTorch is installed, it is timed too; if pytest is installed, it
runs the tests of the kernels on the GPU. Each group is a separate process, so that a group that
breaks the state of the GPU does not affect others. Groups that measure no time run first, at the
same time.
"""

from __future__ import annotations

import argparse  # not tyro, as in the experiments: this must run with few packages installed
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.groups import Group, Running, rows_of
from benchmarks.gpu.rows import Row, table
from experiments.sweep.processes import environment as variables
from experiments.sweep.processes import threads_each
from experiments.train import records
from minigrad import device as devices

PROG = "python -m benchmarks.gpu"
SECONDS = 465  # of all groups; the start and the table take the rest of 8 minutes


def here(module: str, name: str, seconds: float, *args: Any) -> Group:
    return Group(f"benchmarks.gpu.{module}", name, seconds, args)


# compiling takes most of the time, so dtypes, which are compiled separately, have their own groups
CHECKS = {
    "ops": here("parity", "ops", 200, "float32"),
    "ops-float64": here("parity", "ops", 200, "float64"),
    "kernels": here("parity", "kernels", 120),
    "attention": here("parity", "attention", 150, "float32"),
    "attention-tf32": here("parity", "attention", 150, "TF32"),
    "attention-16-bits": here("parity", "attention", 150, "float16", "bfloat16"),
    "memory": here("parity", "memory", 60),
    "train": here("parity", "train", 120),
    "tests": here("tests", "tests", 200),
}
TIMES = {
    "sanity": here("steps", "sanity", 60),
    "steps": here("steps", "steps", 120),
    "long": here("attention", "long", 60),
    "short": here("attention", "short", 60),
    "ladder": here("ladder", "climb", 60),
}
GROUPS = CHECKS | TIMES


def run(names: Sequence[str], seconds: float) -> Iterator[tuple[str, Row]]:
    """(group, row) as rows arrive: from all checks at the same time, then each group of times."""
    deadline = time.monotonic() + seconds
    checks = [name for name in names if name in CHECKS]
    for concurrent in (checks, *([name] for name in names if name in TIMES)):
        left = deadline - time.monotonic()
        if left < 5:
            late = Row("the group", "no time was left", "to its end", False)
            yield from ((name, late) for name in concurrent)
            continue
        with variables(threads_each(max(1, len(concurrent)))):
            running = [Running(name, GROUPS[name], left) for name in concurrent]
        yield from rows_of(running)


# --- the command ----------------------------------------------------------------------------------
def main(args: Sequence[str] | None = None) -> int:
    """The exit status: 0 if nothing failed, 1 if something did, 2 if nothing can be run here."""
    parser = argparse.ArgumentParser(
        prog=PROG, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[*GROUPS], metavar="GROUP",
                        help=f"of {', '.join(GROUPS)}; all if not given")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="for all groups; %(default)s if not given")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check.json"),
                        help="a JSON file for all numbers; %(default)s if not given")  # fmt: skip
    options = parser.parse_args(args)
    try:
        device = devices.parse("cuda")
        records.fit_for_writing(options.out.parent)
    except (devices.DeviceError, OSError) as error:
        print(f"{PROG}: error: {error}", file=sys.stderr)
        return 2
    measured_on = environment(device)
    print(", ".join(f"{k} {v}" for k, v in measured_on.items() if isinstance(v, (str, int)) and v))
    rows: list[tuple[str, Row]] = []
    start = time.monotonic()
    for name, row in run(options.only, options.seconds):
        rows.append((name, row))
        print(f"{name}: {row.what}: {row.found}", file=sys.stderr)
        save(options.out, measured_on, rows)
    print(table(rows))
    failed = sum(row.ok is False for _, row in rows)
    good, spent = sum(row.ok is True for _, row in rows), time.monotonic() - start
    print(f"\n{good} passed, {failed} failed, in {spent:.0f} s. {options.out}")
    return int(failed > 0)


def environment(device: str) -> dict[str, Any]:
    """`experiments.train.records.environment`, with the driver and versions of more packages."""
    from importlib.metadata import PackageNotFoundError, version

    result = records.environment(device)
    for package in ("triton", "nvmath-python", "torch"):
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            result[package] = None
    result["driver"] = devices.cupy().cuda.runtime.driverGetVersion()
    return result


def save(path: Path, measured_on: dict[str, Any], rows: Sequence[tuple[str, Row]]) -> None:
    in_json = [{"group": name, **vars(row)} for name, row in rows]
    records.write_json(path, {"environment": measured_on, "rows": finite(in_json)})


def finite(value: Any) -> Any:
    """The value with infinities and NaN, which JSON lacks, as text."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value


if __name__ == "__main__":
    sys.exit(main())
