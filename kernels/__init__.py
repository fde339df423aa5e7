"""Second implementations of hot ops, held to the plain ones by parity tests.

    kernels.cpu     compiled by Numba, over all cores; extra "fast"
    kernels.cuda    Triton and cuBLAS; extras "cuda12" or "cuda13", and "triton"

A kernel is registered beside its op with `minigrad.kernel.kernel` and chosen while
`minigrad.use_kernels()` is on. Nothing here is needed: without these packages every op runs as it
is written.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

from minigrad import device
from minigrad.kernel import BESIDE, say_once


def switch(on: bool) -> None:
    """Load what can be loaded and prepare the process. ImportError if there is nothing to load.

    Where there is a GPU but no Triton, one line says so and the GPU runs the plain ops.
    """
    found = {"cpu": loaded("cpu")}
    if find_spec("cupy") is not None and device.available():
        found["cuda"] = loaded("cuda")
    problems = [problem for problem in found.values() if problem]
    if len(problems) == len(found):
        raise ImportError("; ".join(problems))
    for problem in problems:
        say_once(problem)
    for name in found:
        for module in () if found[name] else BESIDE[name]:
            import_module(module)
    if not found["cpu"]:
        from kernels import cpu

        cpu.switch(on)


@cache
def loaded(name: str) -> str:
    """Load the kernels of a kind of device; why that is impossible, or nothing."""
    try:
        import_module(f"kernels.{name}")
    except ImportError as error:
        what, extra = {"cpu": ("CPU", "fast"), "cuda": ("GPU", "triton")}[name]
        return f"the {what} kernels cannot be used: {error}. Install minigrad[{extra}]"
    return ""
