"""CPU kernels: loops over float32 arrays, compiled by Numba, divided among the cores.

Read `compiled` first (how a loop becomes a kernel), then `functions` (tanh and exp that the
compiler can vectorize), `blas` (matrix products within a loop), and any kernel.
"""

from kernels.cpu import (
    adam,
    add_rows,
    attention,
    blas,
    cross_entropy,
    gelu,
    layer_norm,
    linear,
    lstm,
    relu,
)

__all__ = [
    "adam",
    "add_rows",
    "attention",
    "cross_entropy",
    "gelu",
    "layer_norm",
    "linear",
    "lstm",
    "relu",
    "switch",
]


def switch(on: bool) -> None:
    """While the kernels are on, BLAS has one thread: they divide the work themselves."""
    blas.use_threads(1 if on else None)
