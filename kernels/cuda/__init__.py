"""GPU kernels: Triton, compiled to machine code ahead of the launch, launched by CuPy.

Read `launch` first (how a kernel is compiled and started), then any kernel; `gelu` is the shortest.
`products` is how cuBLAS is called.
"""

from kernels.cuda import (
    adamw,
    attention,
    cross_entropy,
    dropout,
    gelu,
    layer_norm,
    lstm,
    products,
    stacked,
)

__all__ = [
    "adamw",
    "attention",
    "cross_entropy",
    "dropout",
    "gelu",
    "layer_norm",
    "lstm",
    "products",
    "stacked",
]
