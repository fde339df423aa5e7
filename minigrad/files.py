"""Tensors and training checkpoints in safetensors files.

A file appears under its name complete or not at all: it is written under a temporary name in the
same folder, forced to the disk, and renamed. It carries a SHA-256 of its content, so that a damaged
file is refused. Nothing in a file is ever executed.

    mg.save({"weight": w}, "weights.safetensors")
    mg.load("weights.safetensors")["weight"]

    mg.save_checkpoint("run.safetensors", model=model, optimizer=optimizer, step=step)
    step, extra = mg.load_checkpoint("run.safetensors", model=model, optimizer=optimizer)
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad import device as devices
from minigrad import random
from minigrad.create import tensor
from minigrad.state import as_array, report
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.nn.module import Module
    from minigrad.optim import Optimizer

CHECKSUM = "minigrad.sha256"  # metadata keys
CHECKPOINT = "minigrad.checkpoint"
VERSION = 1
DTYPES = ("BOOL", "U8", "U16", "U32", "U64", "I8", "I16", "I32", "I64", "F16", "F32", "F64")

Arrays = dict[str, np.ndarray[Any, Any]]


class CheckpointError(ValueError):
    """A damaged file, or one that does not fit the model or optimizer; lists every problem."""


class Checkpoint(NamedTuple):
    """The result of `load_checkpoint`, which writes the rest into the model and the optimizer."""

    step: int
    extra: Any


# --- tensors --------------------------------------------------------------------------------------
def save(
    tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors (or arrays) by name into a safetensors file, all or none.

    metadata: text to keep beside the tensors, which `load_metadata` reads. Raises TypeError for
    values that the format cannot hold, OSError if the file cannot be written, or if the name is
    that of a folder, a pipe or a device. An older file of that name is then unchanged.
    """
    write_file(path, serialized(tensors, metadata or {}))


def load(path: str | os.PathLike[str], device: str | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on a device.

    Raises CheckpointError for a damaged file (in a file by `save`, even for one wrong bit of a
    value), OSError for a file that cannot be read.
    """
    arrays, _ = read_file(path)
    return {name: tensor(array, device=device) for name, array in arrays.items()}


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata that `save` wrote beside the tensors, or an empty dict. Raises as `load`."""
    return read_file(path)[1]


def serialized(tensors: Mapping[str, Any], metadata: dict[str, str]) -> bytes:
    """The bytes of a safetensors file."""
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save: expected a dict of tensors by name, got {type(tensors).__name__}")
    arrays: Arrays = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(f"save: {name!r} cannot be the name of a tensor")
        array = as_array(value)
        if array is None or not storable(array.dtype):
            kind = getattr(value, "dtype", type(value).__name__)
            raise TypeError(
                f"save: {name} is {kind}; expected booleans, integers or floats of up to 64 bits"
            )
        # the library ignores strides, so the array must be in C order;
        # np.ascontiguousarray would also turn shape () into (1,)
        arrays[name] = np.asarray(devices.to_numpy(array), order="C")
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str) or key == CHECKSUM:
            raise TypeError(f"save: metadata {key!r} must be text under another name than this")
    return safetensors_numpy().save(arrays, {**metadata, CHECKSUM: checksum(arrays, metadata)})


def read_file(path: str | os.PathLike[str], checked: bool = False) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata of a safetensors file. Raises as `load` does.

    checked: also refuse a file without a checksum.
    """
    import json

    library = safetensors_numpy()
    with open(path, "rb") as file:
        data = file.read()
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        metadata: dict[str, str] = header.pop("__metadata__", {})
        unknown = [f"{k} is {v['dtype']}" for k, v in header.items() if v["dtype"] not in DTYPES]
        arrays: Arrays = {} if unknown else library.load(data)
    except Exception as error:  # the library raises several kinds of error
        reason = f"{type(error).__name__}: {error}".strip()
        raise CheckpointError(f"{path}: not a complete safetensors file ({reason})") from None
    if unknown:
        raise CheckpointError(
            f"{path}: {', '.join(unknown)}; expected {', '.join(DTYPES)}, which NumPy has"
        )
    expected = metadata.pop(CHECKSUM, None)
    if expected is None and checked:
        raise CheckpointError(f"{path}: damaged or not a checkpoint of a run: it has no checksum")
    if expected is not None and expected != checksum(arrays, metadata):
        raise CheckpointError(f"{path}: damaged, for its content does not match its checksum")
    return arrays, metadata


def storable(dtype: np.dtype[Any]) -> bool:
    """Whether tensors and files can both have a dtype: booleans, numbers of up to 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def checksum(arrays: Arrays, metadata: dict[str, str]) -> str:
    """SHA-256 over names, dtypes, shapes, values and metadata."""
    import hashlib
    import json

    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def safetensors_numpy() -> Any:
    try:
        import safetensors.numpy  # type: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"files need safetensors ({error}): pip install minigrad[experiments]"
        ) from None
    return safetensors.numpy


# --- training checkpoints -------------------------------------------------------------------------
def save_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Module,
    optimizer: Optimizer | None = None,
    step: int,
    extra: Any = None,
    allow_nan: bool = False,
) -> None:
    """Write into one file all that a run needs to continue as if it had not stopped.

    The file has the model's state dict, the optimizer's slots and options, the state of
    `minigrad.random`, `step`, and `extra`, anything that JSON can hold (tuples come back as lists,
    keys as text). All parameters of the optimizer must be parameters of the model.

    Raises CheckpointError for NaN or infinite weights or slots unless allow_nan, so that a diverged
    run does not replace its last good checkpoint; TypeError for `extra` outside JSON; OSError if
    the file cannot be written. An older file is then unchanged.
    """
    import json

    tensors: dict[str, Any] = {f"model.{k}": v for k, v in model.state_dict().items()}
    state = None
    if optimizer is not None:
        state = optimizer.state_dict(names_of(model, optimizer))
        tensors |= {f"optimizer.{k}": v for k, v in state.pop("slots").items()}
    if not allow_nan:
        refuse_infinite(path, model, tensors)
    header = {
        "version": VERSION,
        "step": int(step),
        "random": random.get_state(),
        "optimizer": state,
        "extra": extra,
    }
    try:
        text = json.dumps(header)
    except (TypeError, ValueError) as error:
        raise TypeError(f"save_checkpoint: extra is not JSON ({error})") from None
    save(tensors, path, {CHECKPOINT: text})


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Module,
    optimizer: Optimizer | None = None,
    allow_nan: bool = False,
) -> Checkpoint:
    """Continue from a file of `save_checkpoint`: fills model, optimizer and `minigrad.random`.

    Without an optimizer, for evaluation, only the weights are loaded; the random state stays.
    Returns (step, extra).

    Raises CheckpointError for a damaged file, or with a list of every missing, unexpected or
    misfitting name, and of every weight that is NaN or infinite unless allow_nan; OSError for an
    unreadable file. Model, optimizer and random state are then unchanged.
    """
    arrays, metadata = read_file(path, checked=True)
    header = read_header(path, metadata)
    parts: dict[str, Arrays] = {"model": {}, "optimizer": {}}
    problems: list[str] = []
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        if part in parts:
            parts[part][rest] = array
        else:
            problems.append(f"unexpected: {name}")
    problems += model.state_problems(parts["model"])
    if optimizer is not None:
        if not isinstance(header["optimizer"], dict):
            problems.append("optimizer: the file has none")
        else:
            header["optimizer"]["slots"] = parts["optimizer"]
            misfits = optimizer.state_problems(header["optimizer"], names_of(model, optimizer))
            problems += [f"optimizer {problem}" for problem in misfits]
    if problems:
        raise CheckpointError(report(str(path), problems))
    if not allow_nan:
        refuse_infinite(path, model, arrays)
    if optimizer is not None:
        optimizer.write_state(header["optimizer"], names_of(model, optimizer))
        random.set_state(header["random"])
    model.write_state(parts["model"])
    return Checkpoint(header["step"], header["extra"])


def read_header(path: Any, metadata: dict[str, str]) -> dict[str, Any]:
    import json

    if CHECKPOINT not in metadata:
        raise CheckpointError(f"{path}: not a checkpoint of a run; mg.load reads plain tensors")
    try:
        header: Any = json.loads(metadata[CHECKPOINT])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is not JSON ({error})") from None
    keys = ("version", "step", "random", "optimizer", "extra")
    if not isinstance(header, dict) or any(key not in header for key in keys):
        raise CheckpointError(f"{path}: expected a header with {', '.join(keys)}")
    if header["version"] != VERSION:
        raise CheckpointError(f"{path}: version {header['version']}, this code reads {VERSION}")
    if not isinstance(header["step"], int):
        raise CheckpointError(f"{path}: step is {header['step']!r}, not a whole number")
    try:
        random.check_state(header["random"])
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return header


def names_of(model: Module, optimizer: Optimizer) -> dict[Tensor, str]:
    """The model's names for its parameters; ValueError unless they cover the optimizer's.

    The file has slots by name, so they still fit a model whose parts were reordered.
    """
    names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
    if any(p not in names for p in optimizer.parameters()):
        raise ValueError("checkpoint: the optimizer steps parameters that the model does not have")
    return names


def refuse_infinite(path: Any, model: Module, tensors: Mapping[str, Any]) -> None:
    """CheckpointError that names every weight and slot with NaN or infinity; buffers may."""
    trained = {f"model.{name}" for name, _ in model.named_parameters()}
    bad = [
        name
        for name, array in tensors.items()
        if (name in trained or name.startswith("optimizer.")) and not np.isfinite(array).all()
    ]
    if bad:
        raise CheckpointError(
            f"{path}: NaN or infinite values in {', '.join(bad)}; allow_nan=True lets them pass"
        )


# --- files that are complete or absent ------------------------------------------------------------
def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` into a file that has, whatever happens, its old content or all of the new.

    Temporary files of killed writers are removed from the folder. The mode of the file follows the
    umask. OSError, which names `path`, for a path that is no file: a rename would destroy a pipe or
    a device.
    """
    target = os.path.realpath(path)  # through a symbolic link, not over it
    folder, name = os.path.split(target)
    try:
        refuse_special(target)
        remove_stale(folder, name)
        mark = f"{host()}.{os.getpid()}.{os.urandom(4).hex()}"
        write_and_rename(os.path.join(folder, f".{stem(name)}.{mark}.tmp"), target, data)
        if os.name == "posix":  # force the new name to the disk too
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:  # which names the temporary file, or none
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def refuse_special(target: str) -> None:
    """OSError if `target` exists and is no regular file."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe, socket or device, where a file is expected")


def write_and_rename(temporary: str, target: str, data: bytes) -> None:
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        remove(temporary)
        raise


def stem(name: str) -> str:
    """The part of a temporary file's name that stands for `name`: a hash if `name` is long."""
    if len(os.fsencode(name)) <= 100:
        return name
    import hashlib

    return hashlib.sha256(os.fsencode(name)).hexdigest()


def remove_stale(folder: str, name: str) -> None:
    """Remove temporary files for `name` by processes of this machine that no longer run."""
    if os.name != "posix" or not os.path.isdir(folder):
        return
    start = re.escape(f".{stem(name)}.{host()}.")
    pattern = re.compile(start + r"(?P<process>\d+)\.[0-9a-f]{8}\.tmp")
    for file in os.listdir(folder):
        match = pattern.fullmatch(file)
        if match and not running(int(match["process"])):
            remove(os.path.join(folder, file))


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True


def host() -> str:
    """The name of this machine: other machines may share a folder, with unknown processes."""
    return os.uname().nodename if os.name == "posix" else "host"
