"""GPU kernels: written in Triton, compiled ahead of the launch, launched by CuPy.

Read `launch` first (how a kernel is compiled and launched), then any kernel; `gelu` is the
shortest. `products` calls cuBLAS.
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
