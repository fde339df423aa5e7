"""Where arrays live: NumPy on the CPU, CuPy on a GPU, and everything that differs between them.

Op bodies are written in NumPy; NumPy's own protocols send them to CuPy when they are given CuPy
arrays. CuPy is imported when a GPU is asked for and not before.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from typing import Any

import numpy as np

from minigrad.kernel import Routine

Array = Any


class DeviceError(RuntimeError):
    """A device that does not exist here, or that cannot be used; the message says why."""


def parse(device: str | None) -> str:
    """The full name of a device: "cpu" or "cuda:N". None means the CPU."""
    if device is None or device == "cpu":
        return "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(f'device: expected "cpu", "cuda" or "cuda:N", got {device!r}')
    index, count = int(match[1] or 0), gpu_count()
    if index >= count:
        raise DeviceError(f"device cuda:{index} was asked for; this machine has {count} GPU(s)")
    return f"cuda:{index}"


@functools.cache
def cupy() -> Any:
    """The CuPy module, or a DeviceError that says what is missing."""
    try:
        import cupy  # type: ignore[reportMissingImports]
    except ImportError as error:
        raise DeviceError(
            f"device cuda needs CuPy, which cannot be imported ({error}). "
            f"Install minigrad[cuda12] or minigrad[cuda13], whichever matches the driver."
        ) from None
    return cupy


@functools.cache
def gpu_count() -> int:
    """How many GPUs can be used. Importing CuPy proves nothing, so the driver is asked."""
    module = cupy()
    try:
        return int(module.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(f"device cuda: no usable GPU ({error})") from None


def available() -> bool:
    """Whether a GPU can be used here."""
    try:
        return gpu_count() > 0
    except DeviceError:
        return False


def of(array: Array) -> str:
    """The name of the device that holds an array."""
    return "cpu" if isinstance(array, (np.ndarray, np.generic)) else f"cuda:{array.device.id}"


def is_array(x: object) -> bool:
    """Whether x is a NumPy or CuPy array (not a Tensor, not a NumPy scalar)."""
    if isinstance(x, np.ndarray):
        return True
    module = sys.modules.get("cupy")  # never imported here: without CuPy there are no CuPy arrays
    return module is not None and isinstance(x, getattr(module, "ndarray", ()))


def namespace(array: Array) -> Any:
    """The module whose functions make arrays beside this one: numpy or cupy."""
    return np if isinstance(array, (np.ndarray, np.generic)) else cupy()


def move(array: Array, device: str) -> Array:
    """The array on `device` (a name from `parse`): itself if it is there, else a copy."""
    if of(array) == device:
        return array
    if device == "cpu":
        return cupy().asnumpy(array)
    with cupy().cuda.Device(int(device[5:])):
        return cupy().asarray(array)


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """The array in host memory."""
    return move(array, "cpu")


def keep_memory() -> bool:
    """Let the process keep the host memory of freed arrays for the next ones.

    By default glibc gives arrays of some megabytes back to the system at once, and every new one is
    mapped in again page by page, which can cost more than computing it. This is a setting of the
    whole process, so programs ask for it and `import minigrad` does not. Returns whether it took
    effect: glibc alone has it.
    """
    import ctypes

    m_trim_threshold, m_mmap_threshold, limit = -1, -3, 1 << 30  # names and values of mallopt(3)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(option, limit) == 1 for option in (m_mmap_threshold, m_trim_threshold)
    )


# --- indexing -----------------------------------------------------------------------------------
class check_indices:
    """Switch the checks of indices and class ids on arrays of a GPU on or off; they start on.

        mg.check_indices(False)            from here on
        with mg.check_indices(False):      inside, and as before afterwards

    For a check the host waits for the GPU. Without it, and always while a step is recorded
    (`mg.capture`), an id out of range reads something else or gives NaN. On the CPU all is checked.
    """

    on = True

    def __init__(self, on: bool = True) -> None:
        self.before = check_indices.on
        check_indices.on = on

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        check_indices.on = self.before


def checked(array: Array) -> bool:
    """Whether to look at the values of an array of indices."""
    if isinstance(array, np.ndarray):
        return True
    return check_indices.on and not cupy().cuda.get_current_stream().is_capturing()


def check_index(index: Array, n: int) -> None:
    """IndexError unless -n <= index < n: CuPy would wrap silently, and NumPy looks itself."""
    if isinstance(index, np.ndarray) or not index.size or not checked(index):
        return
    low, high = int(index.min()), int(index.max())
    if low < -n or high >= n:
        raise IndexError(f"index {low if low < -n else high} is out of range for an axis of {n}")


def scatter_add(out: Array, index: Any, values: Array) -> None:
    """out[index] += values, adding up where the index names a place several times.

    index: an integer array, or a tuple as in out[index]. The order of the sum is fixed, so two
    runs agree bitwise; atomic additions (np.add.at on a GPU) would not.

    Any index picks whole rows once the trailing axes that it does not mention are flattened, so
    the numbers of those rows are found by indexing an arange.
    """
    index = index if isinstance(index, tuple) else (index,)
    named = [i for i in index if i is not None and i is not ...]
    if any(i is ... for i in index):  # the axes after it are named, so all are
        depth = out.ndim
    else:
        depth = sum(i.ndim if getattr(i, "dtype", None) == np.bool_ else 1 for i in named)
    xp, lead = namespace(out), out.shape[:depth]
    count = math.prod(lead)
    rows = xp.arange(count).reshape(lead)[index].reshape(-1)
    width = out.size // count if count else 0
    if not rows.size or not width:
        return
    values = values.reshape(rows.size, width)
    if xp is np:
        add_rows(out.reshape(count, width), rows, values)
        return
    order = xp.argsort(rows)
    starts = xp.searchsorted(rows[order], xp.arange(count + 1))
    segment_sum()(xp.ascontiguousarray(values), order, starts, width, out, size=out.size)


@Routine
def add_rows(out: Array, rows: Array, values: Array) -> None:
    """out[rows[i]] += values[i], on the CPU, always added in the same order."""
    if out.shape[1] == 1:
        np.add.at(out[:, 0], rows, values[:, 0])  # one-dimensional: its fast path
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    for size in np.unique(sizes):  # together, the runs of one length: reduceat is far slower
        first = starts[sizes == size]
        run = order[first[:, None] + np.arange(size)]
        out[ordered[first]] += values[run].sum(axis=1)


@functools.cache
def segment_sum() -> Any:
    """A CuPy kernel: each thread adds one column of one run of rows, in order."""
    return cupy().ElementwiseKernel(
        "raw T values, raw int64 order, raw int64 starts, int64 width",
        "raw T out",
        """
        long long row = i / width, column = i % width;
        T total = 0;
        for (long long j = starts[row]; j < starts[row + 1]; ++j)
            total += values[order[j] * width + column];
        out[i] += total;
        """,
        "minigrad_segment_sum",
    )
