"""Multi-head attention and positions.

Source: Vaswani et al., Attention Is All You Need (2017), sections 3.2.2 and 3.5.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from minigrad import device as devices
from minigrad import ops
from minigrad.dtypes import DEFAULT_DTYPE
from minigrad.indices import check_ids
from minigrad.nn import init
from minigrad.nn.layers import Linear, drops, empty, filled
from minigrad.nn.module import Module, Parameter
from minigrad.tensor import Tensor, raw


class MultiHeadAttention(Module):
    """Attention in num_heads heads, each over dim / num_heads features.

        head_i = softmax(q_i k_iᵀ / √(dim / num_heads)) v_i        y = [head_1 ... head_n] W_outᵀ

    query (B, T, dim) and key, value (B, S, dim) -> y (B, T, dim). Without a key: self-attention,
    where one matrix product computes q, k and v. Without a value: the value is the key.

    bias:     whether the projections to q, k and v have a bias.
    out_bias: whether out_proj has a bias; None means the same as `bias`.
    out_proj: False omits the output projection: y is the concatenated heads.
    dropout:  probability of dropping an attention weight, in training.

    In every mask True means "may be attended to", as in PyTorch's scaled_dot_product_attention and
    unlike its MultiheadAttention. A query that may attend to nothing gets zeros from every head.

    Parameters: in_proj_weight (3 dim, dim), Xavier uniform, and in_proj_bias (3 dim,), zero; their
    three parts are those of q, k and v. out_proj is a Linear with zero bias.

    In a stacked model (`nn.stack`) query, key, value and y have a leading axis R of replicas. A
    mask in one of the shapes below is for all replicas; (R, B, num_heads, T, S) is one for each.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        bias: bool = True,
        *,
        out_bias: bool | None = None,
        out_proj: bool = True,
        dropout: float = 0.0,
    ) -> None:
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"MultiHeadAttention: {num_heads} heads do not divide dim {dim}")
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"MultiHeadAttention: expected 0 <= dropout <= 1, got {dropout}")
        self.dim = dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = init_in_proj(dim)
        self.in_proj_bias = Parameter(filled(0.0, 3 * dim)) if bias else None
        self.out_proj: Linear | None = None
        if out_proj:
            self.out_proj = Linear(dim, dim, bias=bias if out_bias is None else out_bias)
            if self.out_proj.bias is not None:
                init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Any = None,
        key_mask: Any = None,
        causal: bool = False,
        alibi: bool = False,
        return_weights: bool = False,
    ) -> Any:
        """y, or (y, weights) with return_weights, where weights is (B, num_heads, T, S).

        mask:     (T, S), (B, T, S) or (B, num_heads, T, S); boolean, or floats that are added to
                  the scores.
        key_mask: (B, S) boolean, True for keys and False for padding.
        causal:   query i attends only to keys up to i.
        alibi:    add ALiBi's bias, a slope of the distance for each head; see
                  `ops.attention.alibi_bias`.
        """
        q, k, v = (self._split_heads(t) for t in self.project(query, key, value))
        both = combined_mask(mask, key_mask, (*q.shape[:-1], k.shape[-2]), q.dtype)
        attend = ops.scaled_dot_product_attention
        options: dict[str, Any] = {"causal": causal, "alibi": alibi}
        weights = None
        if drops(self, self.dropout):
            _, weights = attend(q, k, v, both, **options, return_weights=True)
            y = ops.matmul(ops.dropout(weights, self.dropout, True), v)
        elif return_weights:
            y, weights = attend(q, k, v, both, **options, return_weights=True)
        else:
            y = attend(q, k, v, both, **options)
        y = y.swapaxes(-3, -2).reshape(query.shape)
        y = y if self.out_proj is None else self.out_proj(y)
        return (y, weights) if return_weights else y

    def project(
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q (B, T, dim) and k, v (B, S, dim), not yet split into heads."""
        w, b, dim = self.in_proj_weight, self.in_proj_bias, self.dim
        lead = "" if self.replicas is None else "R, "
        for name, t in (("query", query), ("key", key), ("value", value)):
            if t is not None and (t.ndim != (4 if lead else 3) or t.shape[-1] != dim):
                raise ValueError(
                    f"MultiHeadAttention: expected {name} ({lead}B, T, {dim}), got {t.shape}"
                )
        if key is None:
            if value is not None:
                raise ValueError("MultiHeadAttention: a value needs a key")
            q, k, v = ops.split(ops.linear(query, w, b), 3, axis=-1)
            return q, k, v
        parts = [dim] if value is None or value is key else 3
        w_q, *w_rest = ops.split(w, parts, axis=-2)
        b_q, *b_rest = (None,) * 3 if b is None else ops.split(b, parts, axis=-1)
        q = ops.linear(query, w_q, b_q)
        if len(w_rest) == 1:
            k, v = ops.split(ops.linear(key, w_rest[0], b_rest[0]), 2, axis=-1)
            return q, k, v
        return q, ops.linear(key, w_rest[0], b_rest[0]), ops.linear(value, w_rest[1], b_rest[1])

    def _split_heads(self, t: Tensor) -> Tensor:
        """(..., T, dim) -> (..., num_heads, T, dim / num_heads)"""
        *rest, dim = t.shape
        return t.reshape((*rest, self.num_heads, dim // self.num_heads)).swapaxes(-3, -2)

    def extra_repr(self) -> str:
        return f"{self.num_heads} heads" + (f", dropout={self.dropout}" if self.dropout else "")


def init_in_proj(dim: int) -> Any:
    weight = empty(3 * dim, dim)
    init.xavier_uniform_(weight)
    return weight


def combined_mask(mask: Any, key_mask: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Both masks as one, or None. shape: of the scores, ([R,] B, num_heads, T, S).

    The mask broadcasts to the scores. Raises TypeError or ValueError for a wrong key_mask.
    """
    for name, value in (("mask", mask), ("key_mask", key_mask)):
        if not (value is None or isinstance(value, Tensor) or devices.is_array(value)):
            got = type(value).__name__
            raise TypeError(f"MultiHeadAttention: expected {name} as a tensor or array, got {got}")
    if mask is not None:
        mask = mask if isinstance(mask, Tensor) else Tensor(mask)
        mask = mask.reshape((mask.shape[0], 1, *mask.shape[1:])) if mask.ndim == 3 else mask
    if key_mask is None:
        return mask
    keys, batch = raw(key_mask), (shape[-4], shape[-1])
    if keys.dtype.kind != "b" or keys.shape not in (batch, (1, batch[1])):
        error = TypeError if keys.dtype.kind != "b" else ValueError
        raise error(
            f"MultiHeadAttention: expected key_mask {batch} bool, got {keys.shape} {keys.dtype}"
        )
    keys = keys[:, None, None, :]
    if mask is None:
        return Tensor(keys)
    if mask.dtype.kind == "b":
        return mask & Tensor(keys)
    return mask + Tensor(np.where(keys, 0.0, -np.inf).astype(dtype))


class SinusoidalPositions(Module):
    """x plus a sinusoidal encoding of positions.    x (..., T, dim) -> (..., T, dim), T <= length

        P[t, 2k] = sin(t / 10000^e(k))        P[t, 2k + 1] = cos(t / 10000^e(k))

    exponent: "vaswani" is e(k) = 2k/dim, section 3.5 of the paper. "halved" is e(k) = k/dim, as
              written in some course handouts: the longest wavelength is then 2π·100 positions and
              not 2π·10000.
    The table is a buffer that is not in the state dict, because it can be computed again.
    """

    def __init__(
        self, length: int, dim: int, *, exponent: Literal["vaswani", "halved"] = "vaswani"
    ) -> None:
        if dim % 2:
            raise ValueError(f"SinusoidalPositions: expected an even dim, got {dim}")
        if exponent not in ("vaswani", "halved"):
            raise ValueError(f'exponent: expected "vaswani" or "halved", got {exponent!r}')
        pair = np.arange(dim // 2)
        power = (2.0 if exponent == "vaswani" else 1.0) * pair / dim
        angle = np.arange(length)[:, None] / 10000.0**power
        table = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(length, dim)
        self.exponent = exponent
        self.table: Tensor
        self.register_buffer("table", Tensor(table.astype(DEFAULT_DTYPE)), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """start: the position of the first row of x."""
        table = rows(self.table, x, start).data[start : start + x.shape[-2]]
        return x + Tensor(table)

    def extra_repr(self) -> str:
        return "" if self.exponent == "vaswani" else f"exponent={self.exponent}"


class LearnedPositions(Module):
    """x plus a learned vector for each position.    x (..., T, dim) -> (..., T, dim), T <= length

    weight (length, dim) is initialized normal with standard deviation `std`.
    """

    def __init__(self, length: int, dim: int, *, std: float = 1.0) -> None:
        self.weight = empty(length, dim)
        init.normal_(self.weight, 0.0, std)

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """places: (T,) integers, the position of each row of x; 0, 1, ... T - 1 if None."""
        if places is None:
            table = rows(self.weight, x)[..., : x.shape[-2], :]
        else:
            check_ids(places.data, self.weight.shape[-2], "position")
            table = ops.take(self.weight, places, axis=-2)
        *lead, length, dim = table.shape
        return x + table.reshape((*lead, *(1,) * (x.ndim - table.ndim), length, dim))


def rows(table: Tensor, x: Tensor, start: int = 0) -> Tensor:
    """The table. ValueError unless it has a row for each position of x, as wide as x."""
    left = table.shape[-2] - start
    if start < 0 or x.ndim < 2 or x.shape[-2] > left or x.shape[-1] != table.shape[-1]:
        after = f" from position {start} on" if start else ""
        raise ValueError(
            f"positions: expected x (..., T, {table.shape[-1]}) with T <= {left}{after}, "
            f"got {x.shape}"
        )
    return table
