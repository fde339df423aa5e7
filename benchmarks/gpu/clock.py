"""Times on a GPU: in turns with the peers, and waiting for the GPU only at the ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from minigrad import device as devices
from minigrad.capture import no_collection

Call = Callable[[], Any]


def synchronize() -> None:
    """Wait until the GPU has done everything, PyTorch's work included."""
    devices.cupy().cuda.Device().synchronize()


def by_the_wall(calls: Mapping[str, Call], *, turns: int = 7, each: int = 30) -> dict[str, float]:
    """Milliseconds of a call, as a program sees them: the median of turns of `each` calls.

    The sides take turns, so that clocks and temperature are the same for all. The first turn is
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
    return {name: statistics.median(found) for name, found in times.items()}


def by_the_gpu(calls: Mapping[str, Call], *, turns: int = 7, each: int = 10) -> dict[str, float]:
    """Milliseconds of a call between two events on the GPU: the median of turns of `each` calls.

    What the host needs is in it where the GPU has to wait for the host.
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
    return {name: statistics.median(found) for name, found in times.items()}


def replayed(call: Call, launches: int = 20) -> Call:
    """`call`, launched so many times in one CUDA graph: what is left is the time on the GPU."""
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

    def launch(kept: Any = (pool, kept)) -> None:  # the graph knows addresses alone
        graph.launch(cuda.get_current_stream())

    return launch
