"""dropout with the random numbers of NumPy's Philox, drawn on the GPU.

`minigrad.random` starts a new sequence for every draw: its key is (seed, stream), and its counter
contains the number of the draw. NumPy's Philox4x64-10 turns a key (k0, k1) and a counter
(c0, c1, c2, c3) of 64-bit words into four words, by ten rounds of

    c0, c1, c2, c3  <-  high(M1 c2) ^ c1 ^ k0,  low(M1 c2),  high(M0 c0) ^ c3 ^ k1,  low(M0 c0)

with (W0, W1) added to the key after each round. NumPy increments c0 before each block, so block n,
counted from 0, has the counter (n + 1, 0, draw, 0). `Generator.random` of float32 takes from each
word first the low and then the high 32 bits; the number is the upper 24 of these bits times 2⁻²⁴.
Block n therefore gives elements 8n to 8n + 7 of the array, and the masks are those of the CPU bit
for bit. No mask is kept: the backward pass draws it again.

Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011); numpy/random/src/philox.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import TOO_LARGE, on_device, rows_of
from kernels.cuda.launch import launch, unfit
from minigrad.kernel import Declined, kernel
from minigrad.ops.nn import _dropout

BLOCKS = 128  # Philox blocks per program
M0, M1 = tl.constexpr(0xD2E7470EE14C6C93), tl.constexpr(0xCA5A826395121157)
W0, W1 = tl.constexpr(0x9E3779B97F4A7C15), tl.constexpr(0xBB67AE8584CAA73B)


@triton.jit
def philox(c0, c2, k0, k1):
    """The four words of each block: c0, c2 arrays of uint64, with c1 = c3 = 0; k0, k1 numbers."""
    c1 = tl.zeros_like(c0)
    c3 = tl.zeros_like(c0)
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(c0, M0), c0 * M0
        high1, low1 = tl.umulhi(c2, M1), c2 * M1
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += W0
        k1 += W1
    return c0, c1, c2, c3


@triton.jit
def uniform(key, first, BLOCKS: tl.constexpr):
    """Elements 8 first to 8 (first + BLOCKS) of a draw, in [0, 1).

    key: the address of (seed, stream, number of the draw).
    """
    c0 = (first + tl.arange(0, BLOCKS) + 1).to(tl.uint64)
    c2 = tl.zeros_like(c0) + tl.load(key + 2)
    w0, w1, w2, w3 = philox(c0, c2, tl.load(key), tl.load(key + 1))
    low = tl.interleave(
        tl.interleave(w0.to(tl.uint32), w2.to(tl.uint32)),
        tl.interleave(w1.to(tl.uint32), w3.to(tl.uint32)),
    )
    high = tl.interleave(
        tl.interleave((w0 >> 32).to(tl.uint32), (w2 >> 32).to(tl.uint32)),
        tl.interleave((w1 >> 32).to(tl.uint32), (w3 >> 32).to(tl.uint32)),
    )
    return (tl.interleave(low, high) >> 8).to(tl.int32).to(tl.float32) * (1.0 / 16777216.0)


@triton.jit
def dropout_kernel(x, y, key, p, scale, size, BLOCKS: tl.constexpr):
    """y = x m, with m = 0 where a number is below p, else the scale."""
    block = tl.program_id(0) * BLOCKS
    i = 8 * block + tl.arange(0, 8 * BLOCKS)
    mask = tl.where(uniform(key, block, BLOCKS) >= p, scale, 0.0)
    v = tl.load(x + i, mask=i < size).to(tl.float32)
    tl.store(y + i, v * mask, mask=i < size)


@kernel(_dropout, device="cuda")
def dropout(x: Any, p: float, draw: Any) -> Any:
    """draw: (seed, stream, number of the draw); in a recording a `live` array of the three."""
    if why := unfit(x):
        return why
    if x.size >= TOO_LARGE - 8 * BLOCKS:
        return Declined("too large")
    scale = float(x.dtype.type(0.0 if p == 1.0 else 1.0 / (1.0 - p)))
    key = on_device(np.array(draw, np.uint64), x) if isinstance(draw, tuple) else draw

    def masked(a: Any) -> Any:
        a = rows_of(a)
        y = np.empty_like(a)
        args = a, y, key, float(p), scale, a.size
        launch(dropout_kernel, (triton.cdiv(a.size, 8 * BLOCKS),), args, {"BLOCKS": BLOCKS})
        return y

    return masked(x), masked
