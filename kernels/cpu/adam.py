"""The update of Adam and AdamW in one pass over each parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from minigrad.kernel import Declined, kernel
from minigrad.optim.optimizers import adam_update

BLOCK = 2048  # elements: few enough to be in the L1 cache when the second loop reads them


@inner
def moments(p, g, m, v, b1, b2, rest1, rest2, decay):
    for i in range(p.size):
        d = g[i] + decay * p[i]
        m[i] = b1 * m[i] + rest1 * d
        v[i] = b2 * v[i] + rest2 * d * d


@inner
def move(p, m, v, eps, rate, keep):
    for i in range(p.size):
        p[i] = keep * p[i] - rate * m[i] / (np.sqrt(v[i]) + eps)


@compiled("void(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, f4, f4, f4, f4, f4, i8)")
def adam_in_place(p, g, m, v, b1, b2, rest1, rest2, eps, rate, decay, keep, parts):
    """rest1, rest2: 1 - b1 and 1 - b2 from float64; float32 would be off by 1e-5 for b2 = .999."""
    for part in prange(parts):
        low, high = share(p.size, parts, part)
        for i in range(low, high, BLOCK):
            j = min(i + BLOCK, high)
            moments(p[i:j], g[i:j], m[i:j], v[i:j], b1, b2, rest1, rest2, decay)
            move(p[i:j], m[i:j], v[i:j], eps, rate, keep)


@kernel(adam_update, device="cpu")
def adam(
    pieces: Any,
    arrays: tuple[Any, ...],
    b1: float,
    b2: float,
    eps: float,
    rate: float,
    decay: float,
    keep: float,
) -> Declined | None:
    if len(arrays) > 4:
        return Declined("amsgrad")
    if why := unfit(*arrays):
        return why
    param, grad, exp_avg, exp_avg_sq = arrays
    outputs = param, exp_avg, exp_avg_sq
    if not all(a.flags.c_contiguous and a.flags.writeable for a in outputs):
        return Declined("not in C order")
    flat = (a.reshape(-1) for a in (param, rows_of(grad), exp_avg, exp_avg_sq))
    rates = 1.0 - b1, 1.0 - b2, eps, rate, decay, keep
    adam_in_place(*flat, b1, b2, *rates, parts_for(param.size))
    return None
