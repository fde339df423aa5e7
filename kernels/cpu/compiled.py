"""How a loop becomes a kernel: compiled once, kept on disk, run by all cores.

    @compiled("void(f4[::1], f4[::1], i8)")
    def double(x, y, parts):
        for part in prange(parts):                  # one part a core
            low, high = share(x.size, parts, part)
            doubled(x[low:high], y[low:high])       # a simple loop, which the compiler vectorizes

Two habits keep such loops fast. Threads get few large parts, because waking them costs
microseconds. And an inner loop is an `inner` function over few arrays: with more than four or
five the compiler cannot prove that they do not overlap, and gives up on vector instructions.
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
LOCK = threading.Lock()  # one kernel at a time: each has all cores, and not every pool is reentrant
SMALL = 1 << 14  # elements below which waking the other threads costs more than they bring

# Sums may be reordered and products fused, but NaN and infinity keep their meaning.
FAST = {"contract", "reassoc", "nsz", "arcp"}
OPTIONS: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy"}


def cache_folder() -> str:
    """Where compiled code is kept: beside the source, or in the home folder if that is read-only.

    The name holds a hash of all sources here, of the file whose constants they use, and of where
    NumPy is: Numba itself notices only a change of the file that a function stands in.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(f"{np.__version__} {np.__file__}".encode())
    for path in (*sorted(here.glob("*.py")), Path(special.__file__)):
        digest.update(path.read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = here / "__pycache__" if os.access(here, os.W_OK) else Path.home() / ".cache/minigrad"
    return str(Path(chosen or folder) / f"kernels-{digest.hexdigest()[:12]}")


class Notice:
    """Says once that kernels are being compiled, when the first was not found on disk."""

    given = False

    def after(self, function: Any) -> None:
        if not self.given and function.stats.cache_misses:
            self.given = True
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
    """The bounds of one part of n."""
    return n * part // parts, n * (part + 1) // parts


def parts_for(size: int) -> int:
    """In how many parts to do something to `size` elements."""
    return PARTS if size >= SMALL else 1


def unfit(*arrays: Any) -> Declined | None:
    """Declined unless all arrays are float32 on the CPU."""
    for a in arrays:
        if a is not None and (a.__class__ is not np.ndarray or a.dtype != np.float32):
            return Declined(str(a.dtype) if isinstance(a, np.ndarray) else "not on the CPU")
    return None


def rows_of(a: Any) -> Any:
    """The array in C order and writable, as the signatures say; a copy if it is not."""
    return a if a.flags.c_contiguous and a.flags.writeable else np.array(a, order="C")
