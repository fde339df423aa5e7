"""Everything that needs a GPU, checked and measured within 8 minutes: `make gpu-check`.

    python -m benchmarks.gpu                       # a table; exit status 1 if something failed
    python -m benchmarks.gpu --only ops train      # some groups of checks
    python -m benchmarks.gpu --out runs/gpu.json   # where the record goes

Needs CuPy, Triton and NumPy. PyTorch is timed beside where it is installed, and pytest runs the
tests of the kernels on the GPU where that is. Each group is a process of its own, so that one that
breaks the GPU's state spoils no other; those that measure no time run side by side, first.
"""

from __future__ import annotations

import argparse  # and not tyro, as in the experiments: this must run where nothing is installed
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


# most of the time of the checks goes into compiling, so what is compiled for other dtypes is apart
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
    """The rows of the groups as they come: the checks side by side, then the times one by one."""
    deadline = time.monotonic() + seconds
    checks = [name for name in names if name in CHECKS]
    for together in (checks, *([name] for name in names if name in TIMES)):
        left = deadline - time.monotonic()
        if left < 5:
            late = Row("the group", "no time was left", "to its end", False)
            yield from ((name, late) for name in together)
            continue
        with variables(threads_each(max(1, len(together)))):
            running = [Running(name, GROUPS[name], left) for name in together]
        yield from rows_of(running)


# --- the command ----------------------------------------------------------------------------------
def main(args: Sequence[str] | None = None) -> int:
    """0 if all is as wanted, 1 if something failed, 2 if nothing can be tried here."""
    parser = argparse.ArgumentParser(
        prog=PROG, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[*GROUPS], metavar="GROUP",
                        help=f"of {', '.join(GROUPS)}; all if not given")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="for all groups; %(default)s if not given")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check.json"),
                        help="a JSON file for all numbers; %(default)s if not given")  # fmt: skip
    chosen = parser.parse_args(args)
    try:
        device = devices.parse("cuda")
        records.fit_for_writing(chosen.out.parent)
    except (devices.DeviceError, OSError) as error:
        print(f"{PROG}: error: {error}", file=sys.stderr)
        return 2
    where = environment(device)
    print(", ".join(f"{k} {v}" for k, v in where.items() if isinstance(v, (str, int)) and v))
    found: list[tuple[str, Row]] = []
    start = time.monotonic()
    for name, row in run(chosen.only, chosen.seconds):
        found.append((name, row))
        print(f"{name}: {row.what}: {row.found}", file=sys.stderr)
        save(chosen.out, where, found)
    print(table(found))
    failed = sum(row.ok is False for _, row in found)
    good, spent = sum(row.ok is True for _, row in found), time.monotonic() - start
    print(f"\n{good} as wanted, {failed} not, in {spent:.0f} s. {chosen.out}")
    return int(failed > 0)


def environment(device: str) -> dict[str, Any]:
    """`experiments.train.records.environment`, and what else the numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = records.environment(device)
    for package in ("triton", "nvmath-python", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found["driver"] = devices.cupy().cuda.runtime.driverGetVersion()
    return found


def save(path: Path, where: dict[str, Any], found: Sequence[tuple[str, Row]]) -> None:
    rows = [{"group": name, **vars(row)} for name, row in found]
    records.write_json(path, {"environment": where, "rows": finite(rows)})


def finite(value: Any) -> Any:
    """Infinities and NaN, which JSON does not have, as text."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value


if __name__ == "__main__":
    sys.exit(main())
