"""Masked softmax attention: every query reads a weighted mean of the values.

    s = scale q kᵀ + mask        p = softmax(s)        y = p v

    gv = pᵀ g
    gp = g vᵀ                    gs = p (gp - D)       D = Σ_j gp_j p_j, the softmax rule
    gq = scale gs k              gk = scale gsᵀ q

Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array, unbroadcast
from minigrad.op import Result, op
from minigrad.ops.elementwise import where
from minigrad.ops.linalg import matmul, one_dtype
from minigrad.ops.nn import softmax
from minigrad.ops.products import mT, product, row_max, row_sum
from minigrad.tensor import Tensor, raw
from minigrad.wide import wide


def scale_of(q: Array) -> float:
    """1/√d of q (..., d); vectors without numbers have products of 0 anyway."""
    return 1.0 / math.sqrt(max(1, q.shape[-1]))


def allowed_keys(q: Array, k: Array, mask: Array, causal: bool) -> Array:
    """What may be attended to, as a boolean array that broadcasts to the scores; None for all."""
    allowed = mask if mask is not None and mask.dtype.kind == "b" else None
    if causal:
        # with more keys than queries, the last query sees all keys (a cache of earlier keys)
        rows, columns = q.shape[-2], k.shape[-2]
        triangle = np.tril(devices.ones((rows, columns), q, bool), columns - rows)
        allowed = triangle if allowed is None else allowed & triangle
    return allowed


def check_mask(mask: Array, shape: tuple[int, ...]) -> None:
    """TypeError, ValueError for a mask that is not for scores of this shape; None is."""
    if mask is None:
        return
    if mask.dtype.kind not in "bf":
        raise TypeError(f"expected a boolean or floating point mask, got {mask.dtype}")
    pairs = zip(reversed(mask.shape), reversed(shape), strict=False)
    if mask.ndim > len(shape) or any(n not in (1, size) for n, size in pairs):
        raise ValueError(f"expected a mask that broadcasts to {shape}, got {mask.shape}")


def alibi_bias(q: Array, k: Array) -> Array:
    """-slope |i + S - T - j|, (H, T, S); the slope of head h of H is 2^(-8 (h + 1) / H).

    Source: Press et al., Train Short, Test Long (2022), section 3; |…| makes it serve without
    `causal` as well.
    """
    if q.ndim < 3:
        raise ValueError("alibi: expected q (..., H, T, d)")
    xp, (heads, rows), columns = devices.namespace(q), q.shape[-3:-1], k.shape[-2]
    slopes = 2.0 ** (-8.0 / max(1, heads) * xp.arange(1, heads + 1))
    distance = xp.abs(xp.arange(rows)[:, None] + (columns - rows) - xp.arange(columns))
    return (-slopes[:, None, None] * distance).astype(q.dtype)


def attention_composite(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    causal: bool = False,
    alibi: bool = False,
    scale: float | None = None,
    return_weights: bool = False,
) -> Any:
    """`scaled_dot_product_attention` in smaller ops."""
    scale = scale_of(q) if scale is None else scale
    s = matmul(q, k.mT) * scale
    if alibi:
        s = s + Tensor(alibi_bias(q.data, k.data))
    allowed = allowed_keys(q.data, k.data, raw(mask), causal)
    if mask is not None and mask.dtype.kind != "b":
        s = s + mask
    visible = np.ones_like(s.data, dtype=bool)
    if allowed is not None:
        visible &= allowed
    visible &= s.data != -np.inf
    # a row that sees nothing gets equal finite scores, so that its softmax is not NaN
    hidden = np.where(visible.any(axis=-1, keepdims=True), -np.inf, 0.0).astype(s.dtype)
    s = where(Tensor(visible), s, Tensor(hidden))
    p = where(Tensor(visible), softmax(s), 0.0)
    y = matmul(p, v)
    return (y, p) if return_weights else y


@op(composite=attention_composite)
@wide
def scaled_dot_product_attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array = None,
    *,
    causal: bool = False,
    alibi: bool = False,
    scale: float | None = None,
    return_weights: bool = False,
) -> Result:
    """Attention of q (..., T, d) over k (..., S, d), v (..., S, e) -> y (..., T, e).

    Leading axes broadcast, so that several queries may share keys and values.

    mask:   broadcasts to (..., T, S). Boolean: True where a query may attend. Floating point: added
            to the scores (it may carry a gradient, as a learned position bias does).
    causal: query i attends to keys j <= i + S - T.
    alibi:  with Press et al.'s bias for each head, see `alibi_bias`; it replaces positions.
    scale:  1/√d unless given.
    return_weights: also return p (..., T, S).

    A row that may attend to nothing gives 0, and passes no gradient. Kept: q, k, v and p.
    """
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1]:
        raise ValueError("expected q (..., T, d), k (..., S, d), v (..., S, e)")
    lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    check_mask(mask, (*lead, q.shape[-2], k.shape[-2]))
    q, k, v = one_dtype(q, k, v)
    scale = scale_of(q) if scale is None else scale
    s = product(q, mT(k))
    s *= scale
    if alibi:
        s += alibi_bias(q, k)
    if mask is not None and mask.dtype.kind != "b":
        s = s + mask
    allowed = allowed_keys(q, k, mask, causal)
    if allowed is not None:
        s = np.where(allowed, s, -np.inf)
    top = row_max(s)
    s -= np.where(top == -np.inf, 0.0, top)
    p = np.exp(s, out=s)
    total = row_sum(p)
    p /= np.where(total == 0.0, 1.0, total)
    y = product(p, v)

    def pull(g: Any) -> tuple[Any, ...]:
        g, g_weights = g if return_weights else (g, None)
        gp = product(g, mT(v))
        if g_weights is not None:
            gp += g_weights
        gs = gp * p
        gs -= p * row_sum(gs)
        g_mask = None
        if mask is not None and mask.dtype.kind == "f":
            g_mask = unbroadcast(gs, mask.shape).copy()
        gs *= scale  # after the mask has got its part
        gq, gk = product(gs, k), product(mT(gs), q)
        gv = product(mT(p), g)
        return unbroadcast(gq, q.shape), unbroadcast(gk, k.shape), unbroadcast(gv, v.shape), g_mask

    return ((y, p) if return_weights else y), pull
