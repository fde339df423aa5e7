"""Memory: how much a GPU has left, and how much host memory a process keeps."""

from __future__ import annotations

from typing import NamedTuple

from minigrad import device as devices


class Memory(NamedTuple):
    """Bytes on one GPU."""

    used: int  # by arrays
    kept: int  # in CuPy's pool for the next arrays
    free: int  # on the GPU, for anybody
    total: int  # on the GPU

    def __str__(self) -> str:
        used, kept, free, total = (f"{n / 1e9:.2f}" for n in self)
        return f"arrays use {used} GB, CuPy's pool keeps {kept} GB, {free} of {total} GB are free"


def memory_of(gpu: int) -> Memory:
    """Memory of CuPy's default pool on a GPU. Recorded steps have separate pools."""
    with devices.cupy().cuda.Device(gpu):
        pool = devices.cupy().get_default_memory_pool()
        return Memory(
            pool.used_bytes(), pool.free_bytes(), *devices.cupy().cuda.runtime.memGetInfo()
        )


def out_of_memory(error: Exception, device: str) -> str:
    """Text to add to the error of a GPU without free memory; "" for any other error."""
    if not isinstance(error, MemoryError) or device == "cpu":
        return ""
    return f" {device}: {memory_of(int(device[5:]))}."


def keep_memory() -> bool:
    """Let the process keep the host memory of freed arrays for the next ones.

    By default glibc gives arrays of some megabytes back to the system at once, and every new one is
    mapped in again page by page, which can cost more than computing it. This is a setting of the
    whole process, so programs ask for it and `import minigrad` does not. Returns whether it took
    effect: only glibc has it.
    """
    import ctypes

    m_trim_threshold, m_mmap_threshold, limit = -1, -3, 1 << 30  # names and values of mallopt(3)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(option, limit) == 1 for option in (m_mmap_threshold, m_trim_threshold)
    )


def give_back_memory() -> bool:
    """Give freed host memory that the process keeps back to the system; whether there was any.

    Only with glibc; malloc_trim(3).
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and trim(0) == 1
