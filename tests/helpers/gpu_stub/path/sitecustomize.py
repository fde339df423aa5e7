"""Puts each Python that starts with this folder on its path onto the stub.

GPU_STUB         the folder that `gpu_stub.build` made
GPU_STUB_HIDDEN  parts of CUDA that are not there: "nvrtc cublas"
GPU_STUB_CUPY    the version that CuPy says it has
GPU_STUB_LOG     a folder for what happened, a JSON file for each process
"""

import atexit
import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from gpu_stub import log, patch


def report(folder):
    """What happened in this process, if it used a GPU."""
    if log.mark():
        launches, copies, waits = log.since(0)
        found = {"launches": launches, "copies": copies, "waits": waits, "mistakes": log.mistakes()}
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps(found))


sys.meta_path.insert(
    0,
    patch.OnImport(
        Path(os.environ["GPU_STUB"]),
        hidden=os.environ.get("GPU_STUB_HIDDEN", "").split(),
        version=os.environ.get("GPU_STUB_CUPY"),
    ),
)
if folder := os.environ.get("GPU_STUB_LOG"):
    atexit.register(report, folder)
