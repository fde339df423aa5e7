"""One call of the attention kernels beside the plain op in float64.

The tolerance of every number is a bound of its own rounding errors, computed beside it (`bounds`).
"""

import numpy as np

from kernels.cuda import attention
from kernels.cuda.launch import INTERPRETED
from minigrad import device as devices
from minigrad.kernel import Declined
from reference.attention import bounds, reference, to_float64

fused = attention.scaled_dot_product_attention
LAYOUTS = {
    "fortran": lambda x: np.asarray(x, order="F"),
    "reversed": lambda x: x[..., ::-1, :].copy()[..., ::-1, :],
    "every other column": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}


def to_device(a):
    """A copy for the kernel, in the same layout."""
    return a if INTERPRETED else devices.cupy().asarray(a)


def drawn(rng, q_shape, keys, dtype):
    """q, k, v and a cotangent on the device; heads lie beside each other, as a product has them."""
    *lead, T, d = q_shape
    shapes = [(*lead, n, d) for n in (T, keys, keys, T)]
    if len(lead) == 2:
        batch, heads = lead
        lie = [rng.standard_normal((batch, s[2], heads, d)).swapaxes(1, 2) for s in shapes]
    else:
        lie = [rng.standard_normal(s) for s in shapes]
    return [to_device(np.asarray(x).astype(dtype)) for x in lie]


def check(q, k, v, g, mask=None, **how):
    """The kernel's value and gradients are within the bounds. Returns them."""
    answer = fused(q, k, v, None if mask is None else to_device(mask), **how)
    assert not isinstance(answer, Declined), answer.reason
    y, pull = answer
    found = (y, *pull(g)[:3])
    exact, parts = reference(q, k, v, g, mask, **how)
    for name, a, b, limit in zip(
        ("y", "gq", "gk", "gv"), found, exact, bounds(exact, q.dtype, *parts), strict=True
    ):
        assert a.dtype == q.dtype
        assert a.shape == b.shape, name
        error = np.abs(to_float64(a) - b)
        worst = np.unravel_index((error - limit).argmax(), error.shape)
        assert (error <= limit).all(), f"{name}{worst}: {error[worst]:.3g} > {limit[worst]:.3g}"
    return found
