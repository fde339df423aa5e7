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

from minigrad.graph import Array, unbroadcast
from minigrad.op import Result, op
from minigrad.ops.elementwise import where
from minigrad.ops.linalg import matmul
from minigrad.ops.nn import softmax
from minigrad.ops.rows import row_max, row_sum
from minigrad.tensor import Tensor, raw


def allowed_keys(q: Array, k: Array, mask: Array, causal: bool) -> Array:
    """What may be attended to, as a boolean array that broadcasts to the scores; None for all."""
    allowed = mask if mask is not None and mask.dtype.kind == "b" else None
    if causal:
        # with more keys than queries, the last query sees all keys (a cache of earlier keys)
        rows, columns = q.shape[-2], k.shape[-2]
        triangle = np.tril(np.ones_like(q, shape=(rows, columns), dtype=bool), columns - rows)
        allowed = triangle if allowed is None else allowed & triangle
    return allowed


def attention_composite(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    return_weights: bool = False,
) -> Any:
    """`scaled_dot_product_attention` spelled in smaller ops."""
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    s = matmul(q, k.mT) * scale
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
def scaled_dot_product_attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    return_weights: bool = False,
) -> Result:
    """Attention of q (..., T, d) over k (..., S, d), v (..., S, e) -> y (..., T, e).

    Leading axes broadcast, so that several queries may share keys and values.

    mask:   broadcasts to (..., T, S). Boolean: True where a query may attend. Floating point: added
            to the scores (it may carry a gradient, as a learned position bias does).
    causal: query i attends to keys j <= i + S - T.
    scale:  1/√d unless given.
    return_weights: also return p (..., T, S).

    A row that may attend to nothing gives 0, and passes no gradient. Kept: q, k, v and p.
    """
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1]:
        raise ValueError("expected q (..., T, d), k (..., S, d), v (..., S, e)")
    if mask is not None and mask.dtype.kind not in "bf":
        raise TypeError(f"expected a boolean or floating point mask, got {mask.dtype}")
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    s = np.matmul(q, k.swapaxes(-1, -2))
    s *= scale
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
    y = np.matmul(p, v)

    def pull(g: Any) -> tuple[Any, ...]:
        g, g_weights = g if return_weights else (g, None)
        gp = np.matmul(g, v.swapaxes(-1, -2))
        if g_weights is not None:
            gp += g_weights
        gs = gp * p
        gs -= p * row_sum(gs)
        g_mask = None
        if mask is not None and mask.dtype.kind == "f":
            g_mask = unbroadcast(gs, mask.shape).copy()
        gs *= scale  # after the mask has got its part
        gq, gk = np.matmul(gs, k), np.matmul(gs.swapaxes(-1, -2), q)
        gv = np.matmul(p.swapaxes(-1, -2), g)
        return unbroadcast(gq, q.shape), unbroadcast(gk, k.shape), unbroadcast(gv, v.shape), g_mask

    return ((y, p) if return_weights else y), pull
