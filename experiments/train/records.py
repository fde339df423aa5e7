"""The folder that a trial writes, and how it is read back.

    settings.json            what was asked for
    metrics.jsonl            one JSON object an evaluated step
    checkpoint.safetensors   everything that a continuation needs
    status.json              steps done, whether finished, seconds of training
    environment.json         a list: where each session of the trial ran

Files are replaced as a whole or, for metrics, extended by whole lines, so an interruption at any
moment leaves a folder that reads. Figures and tables are made from these folders alone.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad import kernel
from minigrad.files import write_file

Record = dict[str, Any]  # one line of metrics.jsonl: step, train_loss, train_accuracy, ...
VERSION = 1  # of these files; settings.json says it, and where it does not it is this
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


# --- writing ------------------------------------------------------------------------------------
def slug(text: str) -> str:
    """A name safe for a folder: lower case, digits, points and dashes.

    ValueError if nothing is left.
    """
    name = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
    if not name:
        raise ValueError(f"{text!r} has no letter or digit to name a folder with")
    return name


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file. ValueError for NaN and infinities, which JSON does not have."""
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def append(path: Path, record: Record) -> None:
    """Add one line to a JSON lines file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(line(record))


def rewrite(path: Path, records: Iterable[Record]) -> None:
    """Replace a JSON lines file."""
    write_file(path, "".join(map(line, records)).encode())


# --- reading ------------------------------------------------------------------------------------
def read_json(path: Path) -> Any:
    """The content of a JSON file. ValueError that names the file if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None


def read_records(path: Path) -> list[Record]:
    """The complete lines of a JSON lines file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    return [
        json.loads(s) for s in path.read_text(encoding="utf-8").splitlines(True) if s[-1] == "\n"
    ]


def check_version(path: Path, content: Any) -> None:
    """ValueError unless a file holds an object of this version."""
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    if (found := content.get("version", VERSION)) != VERSION:
        raise ValueError(f"{path}: is of version {found}; this program reads version {VERSION}")


def read_settings(folder: Path) -> dict[str, Any]:
    """settings.json of a trial. ValueError, which names it, if it is none or of another version."""
    path = folder / "settings.json"
    settings = read_json(path)
    check_version(path, settings)
    return settings


def last_step(folder: Path) -> int:
    """The last evaluated step of a trial; 0 if there is none yet."""
    try:
        with open(folder / "metrics.jsonl", "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))  # a line has some hundred bytes
            lines = [s for s in file.read().splitlines(True) if s.endswith(b"}\n")]
        return int(json.loads(lines[-1])["step"])
    except (OSError, ValueError, IndexError):
        return 0


@dataclass(frozen=True)
class TrialRecord:
    """What a trial has left: its settings, one dict an evaluated step, and how far it came."""

    folder: Path
    settings: dict[str, Any]
    records: list[Record]
    status: dict[str, Any]


def read_trial(folder: Path) -> TrialRecord:
    """The record in a folder; without status or metrics if it never got that far.

    ValueError, which names the file, for a record of another version or what is none.
    """
    status = folder / "status.json"
    return TrialRecord(
        folder=folder,
        settings=read_settings(folder),
        records=read_records(folder / "metrics.jsonl"),
        status=read_json(status) if status.exists() else {},
    )


def read_trials(folder: Path) -> list[TrialRecord]:
    """Every trial directly below a folder that has evaluated at least one step, by name.

    FileNotFoundError if there is none.
    """
    found = [read_trial(path.parent) for path in sorted(folder.glob("*/settings.json"))]
    found = [trial for trial in found if trial.records]
    if not found:
        raise FileNotFoundError(f"{folder} holds no trial with metrics")
    return found


# --- where a trial ran --------------------------------------------------------------------------
def environment(device: str) -> dict[str, Any]:
    """Commit, versions, device and threads: what else can change a number or a time."""
    blas: Any = np.show_config(mode="dicts")
    blas = blas.get("Build Dependencies", {}).get("blas", {}) if isinstance(blas, dict) else {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "cores": cores,
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "kernels": kernel.enabled(),
    }
    if device != "cpu":
        cupy = devices.cupy()
        properties = cupy.cuda.runtime.getDeviceProperties(int(device[5:]))
        found["gpu"] = properties["name"].decode()
        found["cupy"] = cupy.__version__
        found["cuda"] = cupy.cuda.runtime.runtimeGetVersion()
    return found


def commit() -> str | None:
    """The commit of this code, with "+" if files differ from it; None outside a repository."""
    here = Path(__file__).parent

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", *args], cwd=here, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def fit_for_writing(folder: Path) -> None:
    """Make a folder and try to write in it. OSError says why that cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe.{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()


HOLD_SECONDS = 30.0  # what a process whose node or parent has died takes to end


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder and keep other processes from writing into it.

    One that holds it already gets `HOLD_SECONDS` to end, then BlockingIOError names the folder. The
    system takes the lock of a process away when it ends, however it ends. Where there are no such
    locks (Windows), nothing is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    place, deadline = os.open(folder, os.O_RDONLY), monotonic() + HOLD_SECONDS
    try:
        while True:
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > deadline:
                    raise BlockingIOError(f"{folder}: another process writes into it") from None
                sleep(0.1)
        yield
    finally:
        os.close(place)
