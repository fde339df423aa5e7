"""Fast implementations of ops; tests compare each with its plain op.

    kernels.cpu     compiled by Numba, over all cores; extra "fast"
    kernels.cuda    Triton and cuBLAS; extras "cuda12" or "cuda13", and "triton"

A kernel is registered for its op with `minigrad.kernel.kernel` and used while
`minigrad.use_kernels()` is on. Kernels are optional: without these packages the plain ops run.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

from minigrad import device
from minigrad.kernel import BESIDE, say_once


def switch(on: bool) -> None:
    """Load the kernels of all devices and prepare the process. ImportError if none can be loaded.

    With a GPU but without Triton, one line on stderr says so, and the GPU runs the plain ops.
    """
    problem_of = {"cpu": load("cpu")}
    if find_spec("cupy") is not None and device.available():
        problem_of["cuda"] = load("cuda")
    problems = [problem for problem in problem_of.values() if problem]
    if len(problems) == len(problem_of):
        raise ImportError("; ".join(problems))
    for problem in problems:
        say_once(problem)
    for name in problem_of:
        for module in () if problem_of[name] else BESIDE[name]:
            import_module(module)
    if not problem_of["cpu"]:
        from kernels import cpu

        cpu.switch(on)


@cache
def load(name: str) -> str:
    """Load the kernels of a kind of device. Returns why they cannot be loaded, or ""."""
    try:
        import_module(f"kernels.{name}")
    except ImportError as error:
        what, extra = {"cpu": ("CPU", "fast"), "cuda": ("GPU", "triton")}[name]
        return f"the {what} kernels cannot be used: {error}. Install minigrad[{extra}]"
    return ""
