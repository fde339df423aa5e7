"""Where arrays live: NumPy on the CPU, CuPy on a GPU, and everything that differs between them.

Op bodies are written in NumPy; NumPy's own protocols send them to CuPy when they are given CuPy
arrays. CuPy is imported only when a GPU is asked for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import sys
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.kernel import say_once

Array = Any
CHECKS: dict[int, Any] = {}  # of indices on each GPU, see `indices.Checks`; read with its numbers
OLDEST_CUPY = 14  # 13 sorts with a wait, which no recording allows, and lacks put_along_axis


class DeviceError(RuntimeError):
    """A device that does not exist here, or that cannot be used; the message says why."""


class IncompleteError(DeviceError):
    """There is a GPU, but CuPy lacks libraries to use it."""


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
    installed = packages()
    several = installed if len(installed) > 1 else []
    try:
        with warnings.catch_warnings():  # CuPy's own warning of ten lines
            warnings.filterwarnings("ignore", message="(?s).*multiple CuPy packages")
            import cupy  # type: ignore[reportMissingImports]
    except ImportError as error:
        advice = "Install minigrad[cuda12] or minigrad[cuda13], whichever matches the driver."
        raise DeviceError(
            f"device cuda needs CuPy, which cannot be imported ({error}). "
            f"{side_by_side(several) if several else advice}"
        ) from None
    if int(cupy.__version__.partition(".")[0]) < OLDEST_CUPY:
        raise DeviceError(
            f"device cuda needs CuPy {OLDEST_CUPY} or newer, this is {cupy.__version__}: "
            f"install minigrad[cuda12] or minigrad[cuda13]"
        )
    if several:
        print(f"minigrad: {side_by_side(several)}", file=sys.stderr)
    return cupy


def packages() -> list[str]:
    """The installed packages that contain a module `cupy`; there should be one."""
    names = {str(d.metadata["Name"]) for d in importlib.metadata.distributions()}
    return sorted(name for name in names if re.fullmatch(r"cupy(-cuda\d+x|-rocm-.*)?", name))


def side_by_side(names: list[str]) -> str:
    return (
        f"{' and '.join(names)} are installed over each other; uninstall all of them, then install "
        f"the one that matches the driver"
    )


@functools.cache
def gpu_count() -> int:
    """How many GPUs can be used, by the driver: importing CuPy proves nothing."""
    runtime = cupy().cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except Exception as error:
        reason = f"no usable GPU ({error})"
        driver = runtime.driverGetVersion()
        if not driver:
            reason = "no driver of NVIDIA is loaded"
        elif "InsufficientDriver" in str(error):
            reason = (
                f"the driver is of CUDA {driver // 1000}, too old for this CuPy; install a newer "
                f"driver, or minigrad[cuda{driver // 1000}]"
            )
        raise DeviceError(f"device cuda: {reason}") from None
    if count and (missing := missing_libraries()):
        raise IncompleteError(
            f"device cuda: there is a GPU, but CuPy cannot load {' and '.join(missing)} of CUDA; "
            f"install minigrad[cuda{runtime.runtimeGetVersion() // 1000}]"
        )
    return count


def missing_libraries() -> list[str]:
    """The libraries that CuPy loads when it first compiles or multiplies, if it cannot."""
    cuda, missing = cupy().cuda, []
    for name, load in (("NVRTC", lambda: cuda.nvrtc.getVersion()), ("cuBLAS", lambda: cuda.cublas)):
        try:
            load()
        except (ImportError, RuntimeError):
            missing.append(name)
    return missing


def available() -> bool:
    """Whether a GPU can be used here. If there is a GPU that cannot, one line says why, once."""
    try:
        return gpu_count() > 0
    except IncompleteError as error:
        say_once(str(error))
        return False
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
    """The module whose functions make arrays on the device of this one: numpy or cupy."""
    return np if isinstance(array, (np.ndarray, np.generic)) else cupy()


def empty(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """A new array in C order on the device of `like`, in the dtype of `like` if none is given.

    `np.empty_like(like, shape=shape)` would copy the memory order of a view, and CuPy's returns
    the shape of `like` for the shape ().
    """
    return namespace(like).empty(shape, like.dtype if dtype is None else dtype)


def zeros(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """Like `empty`, filled with zeros."""
    return namespace(like).zeros(shape, like.dtype if dtype is None else dtype)


def ones(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """Like `empty`, filled with ones."""
    return namespace(like).ones(shape, like.dtype if dtype is None else dtype)


def capturing() -> bool:
    """Whether launches on the current GPU go into a recording; the host can then read nothing."""
    return bool(cupy().cuda.get_current_stream().is_capturing())


def move(array: Array, device: str) -> Array:
    """The array on `device` (a name from `parse`): the array itself if it is there, else a copy.

    RuntimeError in a recording: replays would copy memory that the host has freed. IndexError, for
    an array of a GPU, if `check_indices` has seen an index out of range there.
    """
    if of(array) == device:
        return array
    if capturing():
        raise RuntimeError(f"a copy from {of(array)} to {device} is not possible in a recording")
    if device == "cpu":
        with cupy().cuda.Device(array.device.id):
            if array.device.id in CHECKS:
                CHECKS[array.device.id].read()
            return cupy().asnumpy(array)
    with cupy().cuda.Device(int(device[5:])):
        return cupy().asarray(array)


class use_device:
    """Make a GPU the current one, on which ops run; at the start it is cuda:0.

        mg.use_device("cuda:1")            from here on
        with mg.use_device("cuda:1"):      inside, and as before afterwards

    Ops, kernels and recorded steps take only arrays of the current GPU. Each thread has its own
    current GPU. "cpu" changes nothing. Raises as `parse` does.
    """

    def __init__(self, device: str) -> None:
        name = parse(device)
        self.before: int | None = None
        if name != "cpu":
            self.before = cupy().cuda.runtime.getDevice()
            cupy().cuda.runtime.setDevice(int(name[5:]))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        if self.before is not None:
            cupy().cuda.runtime.setDevice(self.before)


def elsewhere(arrays: Iterable[Any]) -> str:
    """The problem if arrays are on several devices or not on the current GPU, else ""."""
    places = {of(a) for a in arrays if is_array(a) and (a.ndim or not isinstance(a, np.ndarray))}
    if len(places) > 1:
        return f"the arguments are on {' and '.join(sorted(places))}; move one with .to()"
    if places and places != {"cpu"}:
        current = f"cuda:{cupy().cuda.runtime.getDevice()}"
        if places != {current}:
            (place,) = places
            return (
                f"an array is on {place}, and ops run on the current GPU, {current}; "
                f'change it with mg.use_device("{place}")'
            )
    return ""


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """The array in host memory."""
    return move(array, "cpu")
