"""The folder that a trial writes, and how it is read back.

    settings.json            what was asked for
    metrics.jsonl            one JSON object for each recorded step
    times.jsonl              for the same steps: seconds of training so far, and peak memory
    checkpoint.safetensors   everything that a continuation needs
    status.json              steps done, whether and how it has ended, what proves its metrics
    environment.json         a list: where each session of the trial ran
    .lock                    locked by the process that writes here

Files are replaced as a whole or extended by whole lines, so an interruption at any moment leaves a
folder that reads. Metrics hold no time, for they are the same on every run. Figures and tables are
made from these folders only, and a folder that is damaged is refused, in one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import minigrad as mg
from minigrad import device as devices
from minigrad import kernel
from minigrad.files import CheckpointError, read_file, write_file
from minigrad.memory import memory_of

Record = dict[str, Any]  # one line of metrics.jsonl: the step, and numbers by name
VERSION = 1  # of these files; settings.json says it, and where it does not it is this
CHECKPOINT = "checkpoint.safetensors"
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
LOCK_SECONDS = 30.0  # what a process whose node or parent has died takes to end


class RecordError(ValueError):
    """A file of records is damaged, or does not fit those beside it."""


def damaged(folder: Path, problem: object) -> RecordError:
    """The error for a trial with damaged files; it names the remedy."""
    return RecordError(f"{problem}; without {folder} --resume runs this trial again")


# --- writing --------------------------------------------------------------------------------------
@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError inside, such as of a full disk, names the file."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file. ValueError for NaN and infinities, which JSON does not have."""
    with naming(path):
        write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def append(path: Path, record: Record) -> None:
    """Add one line to a JSON lines file."""
    with naming(path), open(path, "a", encoding="utf-8") as file:
        file.write(line(record))


def rewrite(path: Path, records: Iterable[Record]) -> None:
    """Replace a JSON lines file."""
    with naming(path):
        write_file(path, "".join(map(line, records)).encode())


def on_disk(path: Path) -> None:
    """Force what was appended to the disk, before a checkpoint counts on it."""
    with naming(path), open(path, "rb") as file:
        os.fsync(file.fileno())


def digest(records: Iterable[Record]) -> str:
    """SHA-256 of records as a file holds them."""
    return hashlib.sha256("".join(map(line, records)).encode()).hexdigest()


# --- reading files --------------------------------------------------------------------------------
def read_json(path: Path, kind: type = dict) -> Any:
    """The content of a JSON file. RecordError that names the file if it is no JSON of this kind."""
    try:
        return decoded(path.read_bytes(), kind)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from None


def decoded(text: bytes, kind: type = dict) -> Any:
    """A JSON object or list. ValueError for anything else, NaN and infinities among them."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"not JSON: {constant}")

    try:
        value = json.loads(text.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged, not JSON: {error}") from None
    if not isinstance(value, kind):
        expected = {dict: "an object", list: "a list"}[kind]
        raise ValueError(f"damaged, expected {expected}, got {type(value).__name__}")
    return value


def read_object(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """A JSON object that has values of these kinds. RecordError, or ValueError for its version."""
    content = read_json(path)
    check_version(path, content)
    for name, kind in kinds.items():
        value = content.get(name)
        if type(value) is not kind and not (kind is float and type(value) is int):
            problem = f"damaged, expected {name}: {kind.__name__}, got {value!r:.60}"
            raise RecordError(f"{path}: {problem}")
    return content


def check_version(path: Path, content: Mapping[str, Any]) -> None:
    """ValueError unless a file is of this version."""
    if (version := content.get("version", VERSION)) != VERSION:
        raise ValueError(f"{path}: is of version {version}; this program reads version {VERSION}")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; a last line that was cut off is left out.

    RecordError, which names file and line, for what is none.
    """
    objects: list[dict[str, Any]] = []
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for i, text in enumerate(lines, 1):
        try:
            objects.append(decoded(text))
        except ValueError as error:
            raise RecordError(f"{path}: line {i}: {error}") from None
    return objects


def read_records(path: Path) -> list[Record]:
    """Lines of metrics or times: numbers by name, the same names in each, at growing steps."""
    records = read_lines(path)
    for i, record in enumerate(records):
        problem, before = "", records[i - 1] if i else {**record, "step": -1}
        if not all(isinstance(value, int | float | None) for value in record.values()):
            problem = "expected numbers"
        elif not isinstance(record.get("step"), int):
            problem = "expected a step"
        elif record.keys() != before.keys() or record["step"] <= before["step"]:
            problem = "does not continue the line before"
        if problem:
            text = f"{path}: line {i + 1}: damaged, {problem}: {str(record)!r:.60}"
            raise RecordError(text)
    return records


# --- reading a trial ------------------------------------------------------------------------------
@dataclass(frozen=True)
class TrialRecord:
    """What a trial has left: its settings, one dict a recorded step, and how far it came."""

    folder: Path
    settings: dict[str, Any]
    records: list[Record]
    status: dict[str, Any]


def read_settings(folder: Path) -> dict[str, Any]:
    """settings.json of a trial. ValueError, which names it, if it is none or of another version."""
    return read_object(folder / "settings.json", {"steps": int})


def read_status(folder: Path) -> dict[str, Any]:
    """status.json of a trial, or what it would be before the first step. RecordError if damaged."""
    first = {"step": 0, "steps": 0, "finished": False, "diverged": False, "seconds": 0.0}
    path = folder / "status.json"
    return read_object(path, {k: type(v) for k, v in first.items()}) if path.exists() else first


def last_step(folder: Path) -> int:
    """The last recorded step of a trial; 0 if there is none yet."""
    try:
        with open(folder / "metrics.jsonl", "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))  # a line has some hundred bytes
            lines = [s for s in file.read().splitlines(True) if s.endswith(b"}\n")]
        return int(json.loads(lines[-1])["step"])
    except (OSError, ValueError, IndexError):
        return 0


def read_trial(folder: Path) -> TrialRecord:
    """The records in a folder; without status or metrics if it never got that far.

    RecordError, which names the file and what can be done, if they are damaged or do not belong
    together. ValueError for those of another version.
    """
    metrics = folder / "metrics.jsonl"
    try:
        if not (folder / "settings.json").exists():
            raise RecordError(f"{folder / 'settings.json'}: missing beside what a trial has left")
        settings, records = read_settings(folder), read_records(metrics)
        status = read_status(folder)
        if status["finished"]:
            last = records[-1]["step"] if records else None
            if last != status["step"]:
                where = "is empty" if last is None else f"ends at step {last}"
                raise RecordError(f"{metrics}: {where}, and status.json says {status['step']}")
            # before digests were kept, the last step is all that it says of them
            if status.get("metrics") not in (None, digest(records)):
                raise RecordError(f"{metrics}: damaged, not what status.json says that was written")
    except RecordError as error:
        raise damaged(folder, error) from None
    return TrialRecord(folder, settings, records, status)


def read_trials(folder: Path) -> list[TrialRecord]:
    """Every trial directly below a folder that has recorded at least one step, by name.

    RecordError as `read_trial`.
    """
    names = ("settings.json", "metrics.jsonl", "status.json", CHECKPOINT)
    folders = sorted({path.parent for name in names for path in folder.glob(f"*/{name}")})
    return [trial for trial in map(read_trial, folders) if trial.records]


def check_checkpoint(folder: Path) -> None:
    """RecordError if the trial in a folder has a checkpoint that cannot be read."""
    path = folder / CHECKPOINT
    try:
        if path.exists():
            read_file(path, checked=True)
    except CheckpointError as error:
        raise damaged(folder, error) from None


def check_settings(folder: Path, settings: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """ValueError if a folder holds a trial with other settings. Only `steps` may grow.

    usual: the defaults, which hold where old records have no such setting.
    """
    if not (folder / "settings.json").exists():
        return
    there = {**usual, **read_settings(folder)}
    for name, wanted in settings.items():
        if name != "steps" and there.get(name) != wanted:
            value = there.get(name)
            raise ValueError(f"{folder}: holds a trial with {name}={value}, not {wanted}")
    steps = there["steps"]
    if settings["steps"] < steps:
        raise ValueError(f"{folder}: holds a trial of {steps} steps, more than {settings['steps']}")


# --- where a trial runs ---------------------------------------------------------------------------
def environment(device: str) -> dict[str, Any]:
    """Commit, versions, device and threads: what else can change a number or a time."""
    built: Any = np.show_config(mode="dicts")
    blas = (built or {}).get("Build Dependencies", {}).get("blas", {})
    values: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "cores": cores(),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "kernels": kernel.enabled(),
    }
    if device != "cpu":
        cupy = devices.cupy()
        properties = cupy.cuda.runtime.getDeviceProperties(int(device[5:]))
        values["gpu"] = properties["name"].decode()
        values["cupy"] = cupy.__version__
        values["cuda"] = cupy.cuda.runtime.runtimeGetVersion()
    return values


def cores() -> int:
    """How many cores this process may use."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return here or 1


def commit() -> str | None:
    """The commit of this code, with "+" if files differ from it; None outside a repository."""

    def git(*args: str) -> str:
        how: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": 10}
        return subprocess.run(["git", *args], cwd=Path(__file__).parents[2], **how).stdout.strip()

    try:
        changed = git("status", "--porcelain", "experiments", "models", "minigrad", "kernels")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def peak_bytes(device: str) -> int:
    """The most bytes that this process has had in memory, or in CuPy's pool on a GPU."""
    if device == "cpu":
        return mg.debug.peak()
    memory = memory_of(int(device[5:]))
    return memory.used + memory.kept


def fit_for_writing(folder: Path) -> None:
    """Make a folder and try to write in it. OSError says why that cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe.{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder and keep other processes from writing into it.

    One that writes there already gets `LOCK_SECONDS` to end, then BlockingIOError names the folder.
    The system releases the lock of a process when the process ends, for whatever reason.
    """
    from filelock import FileLock, Timeout  # not needed to read records, nor to train one trial

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(f"{folder}: another process writes into it") from None
    try:
        yield
    finally:
        lock.release()
