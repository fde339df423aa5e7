"""Three blocks of a transformer, which differ in where they normalize.

    PostNorm   y = LN(x + attention(x))     z = LN(y + ffn(y))      Vaswani et al. (2017)
    PreNorm    y = x + attention(LN(x))     z = y + ffn(LN(y))      Xiong et al. (2020)
    Residual   y = x + attention(x)         z = y + ffn(y)

A block is made of an attention, which is called as `nn.MultiHeadAttention` is, and of ffn, a module
d -> d; dropout is theirs. It takes x (B, S, d) and gives (z, weights): z (B, T, d) of the T = S -
start positions from `start` on, which look at all of x, and with return_weights=True the attention
(B, heads, T, S), else None. Other arguments, such as causal=True or a mask, go to the attention.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg
from minigrad import nn

Result = tuple[mg.Tensor, mg.Tensor | None]


class PostNorm(nn.Module):
    """y = LN(x + attention(x)), then z = LN(y + ffn(y))."""

    def __init__(self, d: int, attention: nn.Module, ffn: nn.Module) -> None:
        self.attention = attention
        self.attention_norm = nn.LayerNorm(d)
        self.ffn = ffn
        self.ffn_norm = nn.LayerNorm(d)

    def forward(self, x: mg.Tensor, start: int = 0, **how: Any) -> Result:
        a, weights = attend(self.attention, x, start, how)
        y = self.attention_norm(late(x, start) + a)
        return self.ffn_norm(y + self.ffn(y)), weights


class PreNorm(nn.Module):
    """y = x + attention(LN(x)), then z = y + ffn(LN(y))."""

    def __init__(self, d: int, attention: nn.Module, ffn: nn.Module) -> None:
        self.attention_norm = nn.LayerNorm(d)
        self.attention = attention
        self.ffn_norm = nn.LayerNorm(d)
        self.ffn = ffn

    def forward(self, x: mg.Tensor, start: int = 0, **how: Any) -> Result:
        a, weights = attend(self.attention, self.attention_norm(x), start, how)
        y = late(x, start) + a
        return y + self.ffn(self.ffn_norm(y)), weights


class Residual(nn.Module):
    """y = x + attention(x), then z = y + ffn(y)."""

    def __init__(self, attention: nn.Module, ffn: nn.Module) -> None:
        self.attention = attention
        self.ffn = ffn

    def forward(self, x: mg.Tensor, start: int = 0, **how: Any) -> Result:
        a, weights = attend(self.attention, x, start, how)
        y = late(x, start) + a
        return y + self.ffn(y), weights


def attend(attention: nn.Module, x: mg.Tensor, start: int, how: dict[str, Any]) -> Result:
    """What the positions from `start` on find in x, and the weights if they are asked for."""
    found = attention(late(x, start), None if start == 0 else x, **how)
    return found if how.get("return_weights") else (found, None)


def late(x: mg.Tensor, start: int) -> mg.Tensor:
    """The positions of x from `start` on."""
    return x if start == 0 else x[..., start:, :]
