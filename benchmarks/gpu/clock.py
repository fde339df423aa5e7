"""Times on a GPU. Calls to be compared take turns; the host waits for the GPU once per turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from minigrad import device as devices
from minigrad.capture import no_collection

Call = Callable[[], Any]


def synchronize() -> None:
    """Wait until the GPU has finished all work, also PyTorch's."""
    devices.cupy().cuda.Device().synchronize()


def by_the_wall(calls: Mapping[str, Call], *, turns: int = 7, each: int = 30) -> dict[str, float]:
    """Milliseconds of a call by the host's clock: the median of turns of `each` calls.

    The sides take turns, so that clock rate and temperature are the same for all. The first turn is
    not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            call()
            synchronize()
            start = time.perf_counter()
            for _ in range(each):
                call()
            synchronize()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start) / each)
    return {name: statistics.median(of_call) for name, of_call in times.items()}


def by_the_gpu(calls: Mapping[str, Call], *, turns: int = 7, each: int = 10) -> dict[str, float]:
    """Milliseconds of a call between two events on the GPU: the median of turns of `each` calls.

    The time of the host is included only where the GPU has to wait for the host.
    """
    cuda = devices.cupy().cuda
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            call()
            start, end = cuda.Event(), cuda.Event()
            start.record()
            for _ in range(each):
                call()
            end.record()
            end.synchronize()
            if turn:
                times[name].append(cuda.get_elapsed_time(start, end) / each)
    return {name: statistics.median(of_call) for name, of_call in times.items()}


def replayed(call: Call, launches: int = 20) -> Call:
    """A function that launches a CUDA graph of so many calls: it takes only the time of the GPU."""
    cuda = devices.cupy().cuda
    pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
    call()
    synchronize()
    kept: list[Any] = []
    with cuda.using_allocator(pool.malloc), stream, no_collection():
        stream.begin_capture()
        try:
            kept += [call() for _ in range(launches)]
        finally:
            graph = stream.end_capture()

    def launch(kept: Any = (pool, kept)) -> None:  # the graph has only addresses
        graph.launch(cuda.get_current_stream())

    return launch
