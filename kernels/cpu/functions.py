"""tanh and exp of one float32, without branches or tables, so that a loop over them vectorizes.

Numba's own call the C library element by element, twenty times slower. The bounds below are
measured again in `tests/kernels/cpu/test_tanh_and_exp.py`.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels.cpu.compiled import FAST, OPTIONS, inner

f4, i4 = np.float32, np.int32

# tanh(x) = x P(x²) / Q(x²) on [-9.02, 9.02], outside of which it is ±1 in float32. Fitted by
# weighted least squares on 600 Chebyshev points, the weights multiplied by the square root of the
# error until it was even: relative error 2.1e-8. In float32 arithmetic: below 4e-7, 4 ulp.
P0, P1, P2, P3, P4 = map(
    f4,
    (
        0.9999999791948778,
        0.13379673283168453,
        0.0034939807538250313,
        2.0582580457862976e-05,
        1.3317820835740568e-08,
    ),
)
Q1, Q2, Q3, Q4 = map(
    f4, (0.46712988591292215, 0.025870870296262036, 0.0003283003994817546, 7.761506740298405e-07)
)
EDGE, ZERO, ONE, HALF = f4(9.02), f4(0.0), f4(1.0), f4(0.5)


@inner
def tanh(x):
    """tanh(x); NaN stays NaN."""
    if x > EDGE:
        x = EDGE
    if x < -EDGE:
        x = -EDGE
    u = x * x
    y = x * (P0 + u * (P1 + u * (P2 + u * (P3 + u * P4))))
    y /= ONE + u * (Q1 + u * (Q2 + u * (Q3 + u * Q4)))
    if y > ONE:  # rounding reaches 1 + 2⁻²²
        y = ONE
    if y < -ONE:
        y = -ONE
    return y


# e^x = 2^n e^r with n = round(x / log 2), so |r| <= log(2) / 2, where the Taylor polynomial of
# degree 6 is off by at most |r|⁷/7! = 1.2e-7, relative to e^r 1.7e-7. log 2 is subtracted in two
# parts, the first exact in float32 with 9 bits, so that n times it is exact too. Operations stay in
# this order: reordered, the two parts would be one again. In float32: below 2.4e-7, 2 ulp.
LOG2E, LOG2_HIGH, LOG2_LOW = map(f4, (1.4426950408889634, 0.693359375, -2.12194440054690583e-4))
E2, E3, E4, E5, E6 = map(f4, (1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720))
LOWEST, HIGHEST = f4(-87.3), f4(88.0)


@numba.njit(**{**OPTIONS, "fastmath": FAST - {"reassoc"}})
def exp(x):
    """e^x; 0 below e^-87.3 (1.2e-38), and e^88 above; NaN stays NaN."""
    z = x
    if z > HIGHEST:
        z = HIGHEST
    if z < LOWEST:
        z = LOWEST
    n = np.rint(z * LOG2E)
    r = (z - n * LOG2_HIGH) - n * LOG2_LOW
    y = ONE + r * (ONE + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * E6)))))
    y *= i4((i4(n) + i4(127)) << i4(23)).view(f4)  # 2^n, written as bits
    if x < LOWEST:
        y = ZERO
    return y


SIGN, REST, LEAST = i4(31), i4(0x7FFFFFFF), i4(-0x7F800001)  # LEAST: -inf as `ordered` has it


@inner
def ordered(bits):
    """The bits of a float32 as an integer, in the order of the floats; and back."""
    return i4(bits ^ i4(i4(bits >> SIGN) & REST))


@inner
def greatest(x):
    """max x; -inf of nothing; NaN, or the greatest of the others, if there is NaN.

    A maximum of floats minds NaN at every step, and so is not vectorized; one of integers is.
    """
    top = LEAST
    for j in range(x.size):
        place = ordered(f4(x[j]).view(i4))
        if place > top:
            top = place
    return i4(ordered(top)).view(f4)


@inner
def sigmoid(x):
    """1 / (1 + e⁻ˣ), with all its digits where it is small; 0 below -87.3."""
    e = exp(-abs(x))
    return (e if x < ZERO else ONE) / (ONE + e)
