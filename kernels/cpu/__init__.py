"""CPU kernels: loops over float32 arrays, compiled by Numba and run on all cores.

Read `compiled` first (how a loop becomes a kernel), then `functions` (tanh and exp that the
compiler can vectorize), `rows` (loops that kernels share), `blas` (matrix products within a loop),
and any kernel.
"""

from kernels.cpu import (
    adamw,
    add_rows,
    attention,
    blas,
    cross_entropy,
    gelu,
    layer_norm,
    linear,
    linear_cross_entropy,
    lstm,
    relu,
)

__all__ = [
    "adamw",
    "add_rows",
    "attention",
    "cross_entropy",
    "gelu",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "lstm",
    "relu",
    "switch",
]


def switch(on: bool) -> None:
    """While kernels are on, give BLAS one thread: kernels divide the work among the cores."""
    blas.use_threads(1 if on else None)
