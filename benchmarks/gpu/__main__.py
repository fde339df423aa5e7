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
import importlib
import multiprocessing
import multiprocessing.connection
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu.rows import Row, left_out, table
from experiments import records
from minigrad import device as devices

PROG = "python -m benchmarks.gpu"
SECONDS = 465  # of all groups; the start and the table take the rest of 8 minutes
END = None  # what a group sends when it has ended


class Group(NamedTuple):
    """A function that yields rows, by module and name, and how long it may take."""

    module: str
    name: str
    seconds: float


CHECKS = {
    "ops": Group("parity", "ops", 200),
    "kernels": Group("parity", "kernels", 120),
    "attention": Group("parity", "attention", 150),
    "train": Group("parity", "train", 120),
    "tests": Group("tests", "tests", 200),
}
TIMES = {
    "sanity": Group("steps", "sanity", 60),
    "steps": Group("steps", "steps", 120),
    "long": Group("attention", "long", 60),
    "short": Group("attention", "short", 60),
    "ladder": Group("ladder", "climb", 40),
}
GROUPS = CHECKS | TIMES


# --- one group, in its process --------------------------------------------------------------------
def work(group: Group, pipe: Any) -> None:
    """Send the rows of a group, an exception as the last one, and the end."""
    try:
        rows: Callable[[], Iterator[Row]] = getattr(
            importlib.import_module(f"benchmarks.gpu.{group.module}"), group.name
        )
        for row in rows():
            pipe.send(row)
    except Exception as error:
        traceback.print_exc()
        line = " ".join(f"{type(error).__name__}: {error}".split())
        pipe.send(Row("the group", f"{line:.200}", "no error", False))
    pipe.send(END)


class Running:
    """A group under way."""

    def __init__(self, name: str, seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.seconds = min(seconds, GROUPS[name].seconds)
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(GROUPS[name], theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.deadline = time.monotonic() + self.seconds

    def receive(self) -> Row | None:
        """The next row, or None at the end; waits for one, up to the deadline."""
        problem = ""
        if not self.pipe.poll(max(0.0, self.deadline - time.monotonic())):
            problem = f"did not end within {self.seconds:.0f} s"
        else:
            try:
                row = self.pipe.recv()
            except EOFError:
                self.process.join()
                problem = f"died with exit status {self.process.exitcode}"
            else:
                if row is END:
                    self.process.join(10)
                return row
        self.process.kill()
        self.process.join()
        self.pipe = ENDED
        return Row("the group", problem, "to its end", False)


class Ended:
    """The pipe of a group that was stopped."""

    def poll(self, seconds: float) -> bool:
        return True

    def recv(self) -> None:
        return END


ENDED: Any = Ended()


def run(names: Sequence[str], seconds: float) -> Iterator[tuple[str, Row]]:
    """The rows of the groups as they come: the checks side by side, then the times one by one."""
    deadline = time.monotonic() + seconds
    left = lambda: deadline - time.monotonic()
    together = [Running(name, left()) for name in names if name in CHECKS]
    for running in together:
        yield from rows_of(running)
    for name in names:
        if name not in TIMES:
            continue
        if left() < 5:
            yield name, left_out("the group", "no time was left")
            continue
        yield from rows_of(Running(name, left()))


def rows_of(running: Running) -> Iterator[tuple[str, Row]]:
    start = time.monotonic()
    while (row := running.receive()) is not None:
        yield running.name, row
    spent = time.monotonic() - start
    print(f"{running.name}: {spent:.0f} s", file=sys.stderr)


# --- the command ----------------------------------------------------------------------------------
def main(args: Sequence[str] | None = None) -> int:
    """0 if all is as wanted, 1 if something failed, 2 if nothing can be tried here."""
    parser = argparse.ArgumentParser(
        prog=PROG, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[*GROUPS], metavar="GROUP",
                        help=f"of {', '.join(GROUPS)}; all if not given")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="start and wait for no group beyond this; %(default)s if not given")  # fmt: skip
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
    for name, row in run(chosen.only, chosen.seconds):
        found.append((name, row))
        print(f"{name}: {row.what}: {row.found}", file=sys.stderr)
        save(chosen.out, where, found)
    print(table(found))
    failed = sum(row.ok is False for _, row in found)
    print(f"\n{sum(row.ok is True for _, row in found)} as wanted, {failed} not. {chosen.out}")
    return int(failed > 0)


def environment(device: str) -> dict[str, Any]:
    """`experiments.records.environment`, and what else the numbers depend on."""
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
