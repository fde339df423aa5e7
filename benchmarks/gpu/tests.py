"""The tests of the kernels, run on the GPU if pytest is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu.rows import Row, left_out

ROOT = Path(__file__).parents[2]
FILES = tuple(f"tests/kernels/triton_{name}.py" for name in ("attention", "fused", "gemm"))


def tests() -> Iterator[Row]:
    if find_spec("pytest") is None or find_spec("hypothesis") is None:
        yield left_out("tests of the kernels", "pytest and hypothesis are not installed")
        return
    side_by_side = ["-n", "8"] if find_spec("xdist") else []
    for file in FILES:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *side_by_side]
        done = subprocess.run(
            [*command, file], cwd=ROOT, capture_output=True, text=True, check=False
        )
        print(done.stdout, file=sys.stderr)
        last = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
        yield Row(file, last.strip("= "), "all pass", done.returncode == 0)
