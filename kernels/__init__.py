"""Second implementations of hot ops, held to the plain ones by parity tests.

    kernels.cpu    compiled by Numba, over all cores; extra "fast"

A kernel is registered beside its op with `minigrad.kernel.kernel` and chosen while
`minigrad.use_kernels()` is on. Nothing here is needed: without these packages every op runs as it
is written.
"""

from __future__ import annotations


def switch(on: bool) -> None:
    """Load what can be loaded and prepare the process. ImportError if there is nothing to load."""
    try:
        from kernels import cpu
    except ImportError as error:
        raise ImportError(
            f"the CPU kernels cannot be used: {error}. Install minigrad[fast]"
        ) from error
    cpu.switch(on)
