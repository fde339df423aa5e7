"""Loops over rows of numbers that several kernels share. The compiler vectorizes each of them."""

from __future__ import annotations

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from kernels.cpu.compiled import inner
from kernels.cpu.functions import exp

ZERO = np.float32(0.0)


# --- rows at any address ----------------------------------------------------------------------
@intrinsic
def pointer(typing, address):  # an integer as a pointer to float32
    result = types.CPointer(types.float32)

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(result))

    return result(address), build


@inner
def row_at(address, size):
    return carray(pointer(address), (size,), np.float32)


# --- loops --------------------------------------------------------------------------------------
@inner
def dot(x, y):
    """Σ x y"""
    total = ZERO
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@inner
def multiply(a, b, y):
    """y = a b"""
    for j in range(y.size):
        y[j] = a[j] * b[j]


@inner
def multiple(c, x, y):
    """y = c x, for a number c"""
    for j in range(y.size):
        y[j] = c * x[j]


@inner
def multiplied(x, c):
    """x *= c, for a number c"""
    for j in range(x.size):
        x[j] *= c


@inner
def add_to(y, x):
    """y += x"""
    for j in range(y.size):
        y[j] += x[j]


@inner
def add_multiple(c, x, y):
    """y += c x, for a number c"""
    for j in range(y.size):
        y[j] += c * x[j]


@inner
def exponentials(x, top):
    """x = e^(x - top), in place. Returns the sum."""
    total = ZERO
    for j in range(x.size):
        x[j] = exp(x[j] - top)
        total += x[j]
    return total
