"""How a loop becomes a kernel: compiled once, cached on disk, run on all cores.

    @compiled("void(f4[::1], f4[::1], i8)")
    def double(x, y, parts):
        for part in prange(parts):                  # one part per core
            low, high = share(x.size, parts, part)
            doubled(x[low:high], y[low:high])       # a simple loop, which the compiler vectorizes

Two rules make such loops fast. Threads get few large parts, because waking a thread costs
microseconds. And an inner loop is an `inner` function over few arrays: with more than four or five
the compiler cannot prove that they do not overlap, and does not use vector instructions.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from minigrad.kernel import Declined
from minigrad.ops import special

PARTS = numba.get_num_threads()  # NUMBA_NUM_THREADS, or the cores of the process
LOCK = threading.Lock()  # one kernel at a time: not every thread pool of Numba is reentrant
SMALL = 1 << 14  # elements; for fewer, waking the other threads costs more than it saves

# Sums may be reordered and multiply-adds fused; NaN and infinity are still handled.
FAST = {"contract", "reassoc", "nsz", "arcp"}
OPTIONS: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy"}


def cache_folder() -> str:
    """The folder of compiled code: beside the source, or in the home folder if that is read-only.

    Its name contains a hash of all sources here, of the file whose constants they use, and of the
    version and path of NumPy: Numba itself notices only changes of the file of a function.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(f"{np.__version__} {np.__file__}".encode())
    for path in (*sorted(here.glob("*.py")), Path(special.__file__)):
        digest.update(path.read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = here / "__pycache__" if os.access(here, os.W_OK) else Path.home() / ".cache/minigrad"
    return str(Path(chosen or folder) / f"kernels-{digest.hexdigest()[:12]}")


class Notice:
    """Prints once that kernels are being compiled, after the first that was not in the cache."""

    printed = False

    def after(self, function: Any) -> None:
        if not self.printed and function.stats.cache_misses:
            self.printed = True
            print(
                f"minigrad: compiling the CPU kernels into {function.stats.cache_path}, once",
                file=sys.stderr,
            )


notice = Notice()


def compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile for one signature (f4 is float32, [:, ::1] a C-contiguous matrix), or load it."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = cache_folder()
        try:
            fast = numba.njit(parallel=True, nogil=True, cache=True, **OPTIONS)(function)
        finally:
            numba.config.CACHE_DIR = before
        fast.compile(signature)
        fast.disable_compile()
        notice.after(fast)

        def call(*args: Any) -> Any:
            with LOCK:
                return fast(*args)

        call.__doc__, call.fast = function.__doc__, fast  # type: ignore[attr-defined]
        return call

    return decorate


inner = numba.njit(**OPTIONS)  # for functions that kernels call


@inner
def share(n, parts, part):
    """The bounds of part number `part` if n elements are divided into `parts`."""
    return n * part // parts, n * (part + 1) // parts


def parts_for(size: int) -> int:
    """The number of parts for `size` elements: one per core, or 1 if they are few."""
    return PARTS if size >= SMALL else 1


def unfit(*arrays: Any) -> Declined | None:
    """Declined unless all arrays are float32 on the CPU."""
    for a in arrays:
        if a is not None and (a.__class__ is not np.ndarray or a.dtype != np.float32):
            return Declined(str(a.dtype) if isinstance(a, np.ndarray) else "not on the CPU")
    return None


def rows_of(a: Any) -> Any:
    """The array if it is in C order and writable, as the signatures require, else such a copy."""
    return a if a.flags.c_contiguous and a.flags.writeable else np.array(a, order="C")
