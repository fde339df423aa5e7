"""Ops over the replicas of a stacked model with as many launches as for one model.

`minigrad.stacked` maps an op over its replicas, which on a GPU takes R times the launches. Two ops
need no Triton kernel to avoid that: linear is one product of two stacks, and embedding reads one
table of the rows of all replicas. The kernels of `layer_norm` and `lstm` have an axis of replicas.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.cuda.launch import unfit
from minigrad import ops
from minigrad.device import namespace
from minigrad.indices import add_at, check_ids
from minigrad.kernel import Declined, kernel
from minigrad.ops.products import column_sum, mT, product
from minigrad.stacked import stack_of

DTYPES = "float32", "float16", "bfloat16", "float64"


@kernel(stack_of(ops.linear), device="cuda")
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    if why := unfit(x, weight, bias, dtypes=DTYPES):
        return why
    count, out, size = weight.shape
    if x.ndim < 2 or x.shape[-1] != size or (bias is not None and bias.shape != (count, out)):
        return Declined("shapes")
    if not (x.size and out):
        return Declined("nothing to do")
    shape = x.shape
    rows = x.reshape(count, -1, size)
    y = product(rows, mT(weight))
    if bias is not None:
        y += bias[:, None]
    flat = y.shape
    return y.reshape(*shape[:-1], out), (
        lambda g: product(g.reshape(flat), weight).reshape(shape),
        lambda g: product(mT(g.reshape(flat)), rows),
        lambda g: column_sum(g.reshape(flat)),
    )


@kernel(stack_of(ops.embedding), device="cuda")
def embedding(weight: Any, ids: Any, padding_idx: int | None = None) -> Any:
    if why := unfit(weight, dtypes=DTYPES):
        return why
    if type(ids) is not type(weight) or ids.dtype.kind not in "iu":
        return Declined("ids")
    if not weight.size:
        return Declined("nothing to do")
    _, size, width = weight.shape
    if padding_idx is not None and padding_idx not in range(size):
        return Declined("padding_idx")
    check_ids(ids, size, "id")
    rows = numbered(ids, size)

    def pull(g: Any) -> Any:
        gw = np.zeros_like(weight, order="C")
        add_at(gw.reshape(-1, width), rows, g)
        if padding_idx is not None:
            gw[:, padding_idx] = 0.0
        return gw

    return np.take(weight.reshape(-1, width), rows, axis=0), (pull, None)


def numbered(ids: Any, size: int) -> Any:
    """Ids (R, ...) for tables (R, size, D) as ids for one table (R size, D)."""
    first = namespace(ids).arange(0, len(ids) * size, size)
    return ids.astype(np.int64, copy=False) + first.reshape(-1, *(1,) * (ids.ndim - 1))
