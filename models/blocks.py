"""Three transformer blocks, which differ in the place of the layer norms.

    PostNorm   y = LN(x + attention(x))     z = LN(y + ffn(y))      Vaswani et al. (2017)
    PreNorm    y = x + attention(LN(x))     z = y + ffn(LN(y))      Xiong et al. (2020)
    Residual   y = x + attention(x)         z = y + ffn(y)

attention is a module with the arguments of `nn.MultiHeadAttention`, and ffn is a module d -> d;
dropout, if any, is inside of them. A block takes x (B, S, d) and returns (z, weights). z (B, T, d)
is the result at the T = S - start positions from `start` on, which attend to all of x; `start` may
also be a slice of positions. weights are the attention weights (B, heads, T, S) with
return_weights=True, else None. Other arguments, such as causal=True or a mask, are passed to the
attention.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg
from minigrad import nn

Result = tuple[mg.Tensor, mg.Tensor | None]
Start = int | slice


class PostNorm(nn.Module):
    """y = LN(x + attention(x)), then z = LN(y + ffn(y)).    eps: of both layer norms"""

    def __init__(self, d: int, attention: nn.Module, ffn: nn.Module, eps: float = 1e-5) -> None:
        self.attention = attention
        self.attention_norm = nn.LayerNorm(d, eps)
        self.ffn = ffn
        self.ffn_norm = nn.LayerNorm(d, eps)

    def forward(self, x: mg.Tensor, start: Start = 0, **options: Any) -> Result:
        a, weights = attend(self.attention, x, start, options)
        y = self.attention_norm(rows_from(x, start) + a)
        return self.ffn_norm(y + self.ffn(y)), weights


class PreNorm(nn.Module):
    """y = x + attention(LN(x)), then z = y + ffn(LN(y))."""

    def __init__(self, d: int, attention: nn.Module, ffn: nn.Module) -> None:
        self.attention_norm = nn.LayerNorm(d)
        self.attention = attention
        self.ffn_norm = nn.LayerNorm(d)
        self.ffn = ffn

    def forward(self, x: mg.Tensor, start: Start = 0, **options: Any) -> Result:
        a, weights = attend(self.attention, self.attention_norm(x), start, options)
        y = rows_from(x, start) + a
        return y + self.ffn(self.ffn_norm(y)), weights


class Residual(nn.Module):
    """y = x + attention(x), then z = y + ffn(y)."""

    def __init__(self, attention: nn.Module, ffn: nn.Module) -> None:
        self.attention = attention
        self.ffn = ffn

    def forward(self, x: mg.Tensor, start: Start = 0, **options: Any) -> Result:
        a, weights = attend(self.attention, x, start, options)
        y = rows_from(x, start) + a
        return y + self.ffn(y), weights


def attend(attention: nn.Module, x: mg.Tensor, start: Start, options: dict[str, Any]) -> Result:
    """The attention of the positions from `start` on, or of a slice, to x; its weights or None."""
    result = attention(rows_from(x, start), None if start == 0 else x, **options)
    return pair(result)


def pair(result: Any) -> Result:
    """What an attention returns, with None in the place of weights that were not asked for."""
    return result if isinstance(result, tuple) else (result, None)


def rows_from(x: mg.Tensor, start: Start) -> mg.Tensor:
    """The positions of x from `start` on, or those of a slice."""
    if start == 0:
        return x
    return x[..., start if isinstance(start, slice) else slice(start, None), :]
