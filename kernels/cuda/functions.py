"""tanh for kernels: Triton's is in a library that its interpreter cannot use."""

from __future__ import annotations

import triton
import triton.language as tl

# tanh(x) = x P(x²) / Q(x²) on [-9.02, 9.02]; outside, tanh is ±1 in float32. The fit is that of
# `kernels.cpu.functions`, with a relative error below 4e-7 in float32 arithmetic.
P0, P1, P2, P3, P4 = map(
    tl.constexpr,
    (
        0.9999999791948778,
        0.13379673283168453,
        0.0034939807538250313,
        2.0582580457862976e-05,
        1.3317820835740568e-08,
    ),
)
Q1, Q2, Q3, Q4 = map(
    tl.constexpr,
    (0.46712988591292215, 0.025870870296262036, 0.0003283003994817546, 7.761506740298405e-07),
)


@triton.jit
def tanh(x):
    """tanh(x) of float32; exactly ±1 outside of the fit. NaN stays NaN: no comparison is true."""
    u = x * x
    y = x * (P0 + u * (P1 + u * (P2 + u * (P3 + u * P4))))
    y = y / (1.0 + u * (Q1 + u * (Q2 + u * (Q3 + u * Q4))))
    y = tl.where((x > 9.02) | (y > 1.0), 1.0, y)  # rounding reaches 1 + 2⁻²²
    return tl.where((x < -9.02) | (y < -1.0), -1.0, y)
