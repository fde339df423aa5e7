"""CuPy's GPUs, memory pools, streams and recordings, without a GPU.

A stream that captures launches nothing: launches are noted, and made when the graph is launched.
Memory that a recording takes from its pool is only lent to an array: as soon as Python lets go of
the array, another one may have it, and in a replay both write to one place. So a replay finds there
what the graph itself has written, and nothing else. The memory is spoiled, that is filled with NaN,

- all of it when the recording ends, and before each launch of the graph;
- that of an array between the launches, where the recording let go of the array;

and a copy to it from the host, which replays overwrite, is refused.
"""

from __future__ import annotations

import contextlib
import weakref
from functools import partial

import numpy as np


class CaptureUnsupportedError(RuntimeError):
    """What CUDA, or CuPy, does not do while a stream is capturing."""


class LentMemoryError(RuntimeError):
    """A copy from the host to memory that the launches of a recording write to."""


class GPU:
    """The current one of two, and what CuPy's pool holds on each: bytes used, and kept."""

    current = 0
    pools = ((3_000_000_000, 500_000_000), (0, 0))

    def __init__(self, device=None):
        self.id = GPU.current if device is None else device

    def __enter__(self):
        self.before, GPU.current = GPU.current, self.id

    def __exit__(self, *error):
        GPU.current = self.before

    def synchronize(self):
        Stream.current.synchronize()


class Runtime:
    """The functions of CUDA's runtime that are called by name."""

    @staticmethod
    def getDevice():
        return GPU.current

    @staticmethod
    def setDevice(device):
        GPU.current = device

    @staticmethod
    def memGetInfo():
        return 70_000_000_000, 80_000_000_000


# --- memory ---------------------------------------------------------------------------------------
class Pool:
    """A memory pool. A new array has memory of the current one."""

    def malloc(self, size):
        raise AssertionError("arrays have memory of NumPy; `malloc` only names the pool")

    def used_bytes(self):
        return GPU.pools[GPU.current][0]

    def free_bytes(self):
        return GPU.pools[GPU.current][1]


DEFAULT = Pool.current = Pool()


@contextlib.contextmanager
def using_allocator(allocator=None):
    """Let arrays have memory of another pool; None stands for none, straight from the driver."""
    before, Pool.current = Pool.current, getattr(allocator, "__self__", None)
    try:
        yield
    finally:
        Pool.current = before


def spoil(values):
    """Write what gives wrong numbers wherever it is read."""
    if values.dtype.kind == "f":
        values[...] = np.nan
    elif values.dtype.kind == "b":
        values[...] = True
    else:
        values[...] = np.iinfo(values.dtype).min


def allocate(array):
    """Whether a new array has memory that a recording lends to it, `array.values`."""
    recording = Stream.current.recording
    if recording is None or Pool.current is not recording.pool:
        return False
    recording.lend(array)
    return True


# --- recordings -----------------------------------------------------------------------------------
class Recording:
    """The launches of a capture in their order, and the memory that it lends."""

    def __init__(self, pool):
        self.pool = pool
        self.open = True
        self.launches = []
        self.lent = []

    def lend(self, array):
        self.lent.append(array.values)
        weakref.finalize(array, self.give_back, array.values).atexit = False

    def give_back(self, values):
        if self.open:
            self.launches.append(partial(spoil, values))

    def end(self):
        self.open = False
        for values in self.lent:
            spoil(values)


class Graph:
    """What a capture gives."""

    def __init__(self, recording):
        self.recording = recording

    def launch(self, stream=None):
        for values in self.recording.lent:
            spoil(values)
        with np.errstate(all="ignore"):  # a GPU does not warn
            for launch in self.recording.launches:
                launch()


class Stream:
    """A queue of launches, which are made at once, or noted in `recording` if that is not None."""

    recording = None

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.null = null
        self.before = []

    def __enter__(self):
        self.before.append(Stream.current)
        Stream.current = self
        return self

    def __exit__(self, *error):
        Stream.current = self.before.pop()

    def synchronize(self):
        if self.recording is not None:
            raise CaptureUnsupportedError("a stream that is capturing cannot be waited for")

    def is_capturing(self):
        return self.recording is not None

    def begin_capture(self, mode=None):
        if self.null:
            raise CaptureUnsupportedError("the default stream cannot capture")
        self.recording = Recording(Pool.current)

    def end_capture(self):
        recording, self.recording = self.recording, None
        recording.end()
        return Graph(recording)


Stream.current = Stream(null=True)


def get_current_stream(device_id=-1):
    return Stream.current


def forbid(what, stream=None):
    """CaptureUnsupportedError while a stream, or the current one, is capturing."""
    if (stream or Stream.current).is_capturing():
        raise CaptureUnsupportedError(f"operation not permitted when stream is capturing: {what}")


def soon(launch):
    """Launch now, or in a capture whenever the graph is launched."""
    recording = Stream.current.recording
    if recording is None:
        launch()
    else:
        recording.launches.append(launch)
