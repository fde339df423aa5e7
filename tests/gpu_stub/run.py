"""Processes on the stub."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu_stub.build import CACHE, HERE, build

TESTS = HERE.parent
ROOT = TESTS.parent


def environment(**more: str) -> dict[str, str]:
    """For a process on the stub; what it compiles is kept beside the stub."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return {
        **os.environ,
        **threads,
        "PYTHONPATH": os.pathsep.join(map(str, (HERE / "path", ROOT, TESTS))),
        "GPU_STUB": str(build()),
        "CUPY_CACHE_DIR": str(CACHE / "cupy"),
        "TRITON_CACHE_DIR": str(CACHE / "triton"),
        **more,
    }


def run(*args: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python on the stub: its exit status and what it printed."""
    return subprocess.run(
        [sys.executable, *args], env=environment(**variables), cwd=cwd,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def answer(program: str, *args: Any, **variables: str) -> Any:
    """What a function of `gpu_programs` returns on the stub."""
    done = run("-m", "gpu_programs", program, json.dumps(args), **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
