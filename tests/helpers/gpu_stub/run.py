"""Processes on the stub."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu_stub.build import CACHE, HERE, build

HELPERS = HERE.parent
ROOT = HELPERS.parents[1]


def run(
    *args: str | Path, path: Sequence[Path] = (), log: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A Python on the stub: its exit status, and what it printed.

    path: more folders to import from.    log: a folder for what happened (path/sitecustomize.py).
    """
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    environment = {
        **os.environ,
        **threads,
        "PYTHONPATH": os.pathsep.join(map(str, (HERE / "path", ROOT, HELPERS, *path))),
        "GPU_STUB": str(build()),
        "GPU_STUB_LOG": str(log or ""),
        "CUPY_CACHE_DIR": str(CACHE / "cupy"),  # what is compiled is kept beside the stub
        "TRITON_CACHE_DIR": str(CACHE / "triton"),
        **variables,
    }
    return subprocess.run(
        [sys.executable, *args], env=environment, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
