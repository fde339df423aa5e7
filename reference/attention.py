"""Attention in float64, and bounds of the rounding errors of a kernel."""

import numpy as np

from minigrad import device as devices
from minigrad import ops

plain = ops.scaled_dot_product_attention.op.body


def to_float64(a):
    """An array of any device and dtype as a NumPy array."""
    return devices.to_numpy(a).astype(np.float64)


def finfo(dtype):
    """`np.finfo`, also for bfloat16."""
    if dtype.kind == "f":
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def alibi_bias(heads, T, S):
    """-slope |i + S - T - j| for each head, after Press et al. (2022)."""
    slopes = 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)
    distance = np.abs(np.arange(T)[:, None] + S - T - np.arange(S))
    return -slopes[:, None, None] * distance


def reference(q, k, v, g, mask=None, *, causal=False, alibi=False, scale=None):
    """(y, gq, gk, gv) by the plain op in float64, and the other arguments of `bounds`."""
    q, k, v, g = (to_float64(x) for x in (q, k, v, g))
    T, S = q.shape[-2], k.shape[-2]
    bias = np.zeros((*q.shape[:-2], T, S))
    if alibi:
        bias += alibi_bias(q.shape[-3], T, S)
    bias = bias if mask is None else np.where(mask, bias, -np.inf)
    (y, p), pull = plain(q, k, v, bias, causal=causal, scale=scale, return_weights=True)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (y, *pull((g, None))[:3]), (q, k, v, g, y, p, bias, scale)


def bounds(exact, dtype, q, k, v, g, y, p, bias, scale):
    """The largest rounding errors of y, gq, gk and gv, to first order.

    eps is that of float32, for sums and functions; a sum of n terms has an error of at most
    n eps Σ |term|. u and tiny are for rounding to 16 bits, of stored arrays and of p and gs before
    they enter a product. Not for TF32.
    """
    half = dtype.itemsize == 2
    u = float(finfo(dtype).eps) / 2 if half else 0.0
    tiny = float(finfo(dtype).smallest_subnormal) / 2 if half else 0.0
    eps, (T, d), S = float(np.finfo(np.float32).eps), q.shape[-2:], k.shape[-2]
    mT = lambda x: np.swapaxes(x, -1, -2)
    total = lambda x: x.sum(-1, keepdims=True)
    aq, ak, av, ag = (np.abs(x) for x in (q, k, v, g))
    s = scale * aq @ mT(ak) + np.where(np.isfinite(bias), np.abs(bias), 0.0)
    gp, gp_size = g @ mT(v), ag @ mT(av)
    delta = total(p * gp)
    gs = p * (gp - delta)
    # an error of the scores is one of exponents, so that of p is relative; 24 eps for 2^s, its
    # sum, and log2
    dp = p * eps * ((d + 8) * s + S + 24)
    dgp = (d + 2) * eps * gp_size
    ddelta = total(dp * np.abs(gp)) + (d + S) * eps * total(p * gp_size) + u * total(ag * np.abs(y))
    dgs = dp * (np.abs(gp) + np.abs(delta)) + p * (dgp + ddelta) + 4 * eps * np.abs(gs)
    dgs, p16 = dgs + u * np.abs(gs) + tiny, dp + u * p + tiny
    errors = (
        p16 @ av + S * eps * (p @ av),
        scale * (dgs @ ak + S * eps * (np.abs(gs) @ ak)),
        scale * (mT(dgs) @ aq + T * eps * (mT(np.abs(gs)) @ aq)),
        mT(p16) @ ag + T * eps * (mT(p) @ ag),
    )
    return [e + (u + 2 * eps) * np.abs(x) + tiny for e, x in zip(errors, exact, strict=True)]
