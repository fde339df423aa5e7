"""Attention of the nodes of a prefix tree, each over the keys on its path from the root.

The equations are those of `minigrad.ops.attention`, with separate keys for each query. The gradient
of a key is the sum over the queries that list it. `paths_kernel` is the compiled form.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import device as devices
from minigrad.indices import add_at, check_ids
from minigrad.kernel import kernels_in
from minigrad.ops.linalg import one_dtype
from minigrad.ops.products import mT, product
from minigrad.tensor import raw

Array = Any  # numpy.ndarray or cupy.ndarray
CHUNK = 1 << 14  # keys copied to their queries in one iteration


def composite(q: Any, k: Any, v: Any, paths: Any) -> Any:
    """`path_attention` in smaller ops."""
    listed = raw(paths) >= 0
    index, visible = mg.Tensor(np.where(listed, raw(paths), 0)), mg.Tensor(listed[:, None, :])
    s = mg.einsum("mhd,mshd->mhs", q, mg.take(k, index, axis=0)) / math.sqrt(max(1, q.shape[-1]))
    hidden = np.where(listed.any(axis=1), -np.inf, 0.0).astype(s.dtype)[:, None, None]
    p = mg.where(visible, mg.softmax(mg.where(visible, s, mg.Tensor(hidden))), 0.0)
    return mg.einsum("mhs,mshe->mhe", p, mg.take(v, index, axis=0))


def dots(q: Array, k: Array) -> Array:
    """Products of each query q (M, H, d) with its keys k (M, S, H, d) -> (M, H, S)"""
    return product(q[:, :, None, :], k.transpose(0, 2, 3, 1))[:, :, 0]


def mixture(p: Array, v: Array) -> Array:
    """Σ over s of p (M, H, S) v (M, S, H, e) -> (M, H, e)"""
    return product(p[:, :, None, :], v.swapaxes(1, 2))[:, :, 0]


@mg.op(composite=composite)
def path_attention(q: Array, k: Array, v: Array, paths: Array) -> Any:
    """Attention of q (M, H, d) over k (N, H, d), v (N, H, e), query m over paths[m] -> (M, H, e).

    paths: (M, S) integers in [0, N-1]; -1 fills up a path of fewer than S. IndexError for others.

    A query without keys gives 0. Kept: q, k, v and p.
    """
    if not q.ndim == k.ndim == v.ndim == 3 or q.shape[1:] != k.shape[1:]:
        raise ValueError("expected q (M, H, d), k (N, H, d), v (N, H, e)")
    if k.shape[:2] != v.shape[:2] or paths.ndim != 2 or len(paths) != len(q):
        raise ValueError("expected k (N, H, d), v (N, H, e), paths (M, S)")
    check_ids(paths, len(k), "key", lowest=-1)
    q, k, v = one_dtype(q, k, v)
    scale = 1.0 / math.sqrt(max(1, q.shape[-1]))
    p = devices.empty((*q.shape[:2], paths.shape[1]), q)
    y = devices.empty((*q.shape[:2], v.shape[2]), v)
    step = max(1, CHUNK // max(1, paths.shape[1]))
    chunks = [slice(i, i + step) for i in range(0, len(q), step)]
    k, v = (np.concatenate([x, devices.zeros((1, *x.shape[1:]), x)]) for x in (k, v))
    for rows in chunks:
        index = paths[rows]  # -1 is the row of zeros
        s = np.where((index >= 0)[:, None], dots(q[rows], k[index]) * scale, -np.inf)
        top = np.max(s, axis=-1, keepdims=True) if s.size else 0.0
        e = np.exp(s - np.where(top == -np.inf, 0.0, top))
        total = np.sum(e, axis=-1, keepdims=True)
        p[rows] = e / np.where(total == 0.0, 1.0, total)
        y[rows] = mixture(p[rows], v[index])

    def pull(g: Array) -> tuple[Any, ...]:
        gq, gk, gv = (np.zeros_like(x, order="C") for x in (q, k, v))
        for rows in chunks:
            index, weights = paths[rows], p[rows]
            gs = dots(g[rows], v[index])
            gs = weights * (gs - np.sum(gs * weights, axis=-1, keepdims=True)) * scale
            gq[rows] = mixture(gs, k[index])
            for out, a, b in ((gk, gs, q[rows]), (gv, weights, g[rows])):
                add_at(out, index, mT(a)[..., None] * b[:, None])
        return gq, gk[:-1], gv[:-1], None

    return y, pull


kernels_in("experiments.grokking.paths_kernel", device="cpu")
