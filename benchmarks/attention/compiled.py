"""One head of causal attention as loops that Numba compiles. q, k, v, g, y: (T, D), lse: (T,)."""

from math import exp, log

import numpy as np
from numba import njit

compiled = njit(fastmath={"reassoc", "contract"})  # a sum may be split into several


@compiled
def dot(x, y):
    total = x.dtype.type(0)
    for c in range(x.size):
        total += x[c] * y[c]
    return total


@compiled
def forward(q, k, v):
    """y, and for the way back lse_i = log Σ_j e^s_ij: p_ij = e^(s_ij - lse_i)."""
    T, D = q.shape
    number = q.dtype.type  # float32 stays float32
    scale = number(1 / D**0.5)
    y, lse = np.zeros_like(v), np.empty(T, q.dtype)
    for i in range(T):
        top, z = number(-np.inf), number(0)
        for j in range(i + 1):
            s = dot(q[i], k[j]) * scale
            if s > top:  # all sums so far were relative to the old maximum
                z *= exp(top - s)
                y[i] *= exp(top - s)
                top = s
            e = exp(s - top)
            z += e
            for c in range(D):
                y[i, c] += e * v[j, c]
        y[i] /= z
        lse[i] = top + log(z)
    return y, lse


@compiled
def backward(q, k, v, g, y, lse):
    T, D = q.shape
    scale = q.dtype.type(1 / D**0.5)
    gq, gk, gv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for i in range(T):
        delta = dot(g[i], y[i])
        for j in range(i + 1):
            p = exp(dot(q[i], k[j]) * scale - lse[i])
            gs = p * (dot(g[i], v[j]) - delta) * scale
            for c in range(D):
                gq[i, c] += gs * k[j, c]
                gk[j, c] += gs * q[i, c]
                gv[j, c] += p * g[i, c]
    return gq, gk, gv
