"""The inner loops of every CPU kernel are made of vector instructions."""

import inspect
import re
from importlib import import_module

import pytest

from benchmarks.vectors import ARITHMETIC
from minigrad.kernel import KERNELS

# Loops without vector arithmetic: they move numbers or count; `small_mean_square` serves only rows
# whose squares overflow.
EXEMPT = {"count", "small_mean_square"}
NAMES = ["adamw", "add_rows", "attention", "cross_entropy", "gelu", "layer_norm", "linear"]
NAMES += ["linear_cross_entropy", "lstm", "relu"]
MODULES = [f"kernels.cpu.{name}" for name in NAMES]
MODULES += ["experiments.grokking.paths_kernel"]


def test_every_module_is_looked_at_for_vector_instructions():
    import_module("experiments.grokking.paths_kernel")
    ours = {k.body.__module__ for k in KERNELS if of_the_package(k)}
    assert ours == set(MODULES)


def of_the_package(k):
    """Not made by a test."""
    return k.body.__module__.startswith(("kernels.", "experiments."))


@pytest.mark.parametrize("name", MODULES)
def test_inner_loops_are_made_of_vector_instructions(name):
    """Arithmetic on eight or sixteen numbers at once in every inner function that has a loop.

    The cache keeps no assembly, so kernels are compiled once more, in one part; and with them
    their inner functions, for the types with which they are called.
    """
    import llvmlite.binding
    import numba
    from numba.core.dispatcher import Dispatcher

    from kernels.cpu import compiled

    if not llvmlite.binding.get_host_cpu_features().get("avx2"):
        pytest.skip("the instructions looked for are those of x86 with AVX2")
    module = import_module(name)
    ours = {module.__name__, "kernels.cpu.rows"}
    own = [f for f in vars(module).values() if getattr(f, "__module__", "") in ours]
    for f in vars(module).values():
        if hasattr(f, "fast") and f.fast.py_func.__module__ == module.__name__:
            again = numba.njit(nogil=True, **compiled.OPTIONS)(f.fast.py_func)
            again.compile(f.fast.signatures[0])
    loops = [
        f
        for f in own
        if isinstance(f, Dispatcher)
        and re.search(r"^\s+(for|while) ", inspect.getsource(f.py_func), re.M)
        and f.py_func.__name__ not in EXEMPT
    ]
    for f in loops:
        assert f.signatures, f"{f.py_func.__name__} is called by no kernel"
        for types in f.signatures:
            assert re.search(ARITHMETIC, f.inspect_asm(types)), f"{f.py_func.__name__} {types}"
