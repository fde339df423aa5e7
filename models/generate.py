"""Text from a language model: a token is drawn, and read with those before it.

    ids = continued(model, [words.index("My")], 30, length=32, temperature=0.8)
    print(" ".join(words[i] for i in ids))

A language model is a module that gives logits of the next token at every place, ids (B, T) ->
(B, T, V); here in eval mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import device as devices
from minigrad import nn

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


def next_logits(model: nn.Module, ids: Sequence[int], length: int) -> Floats:
    """(V,) of the token after ids, of which the last `length` are read, as in training."""
    device = next(iter(model.parameters())).device
    with mg.no_grad():
        logits = model(mg.tensor(np.array(ids[-length:])[None], device=device))
    return devices.to_numpy(logits.data)[0, -1]


def continued(
    model: nn.Module,
    ids: Sequence[int],
    count: int,
    *,
    length: int,
    temperature: float = 0.0,
    seed: int = 0,
    without: Sequence[int] = (),
) -> list[int]:
    """The ids, and `count` more. Each step reads anew: learned positions move with the window.

    length:      how many tokens the model reads at most.
    temperature: tokens have the chances softmax(logits / temperature); 0 takes the most likely.
    seed:        of a Philox stream, so that a prompt and a seed give one text.
    without:     ids that are not drawn.

    ValueError for no ids, and for a temperature that is no number of at least 0.
    """
    if not ids:
        raise ValueError("ids: expected at least one token to continue")
    if not 0.0 <= temperature < math.inf:
        raise ValueError(f"temperature: expected a number of at least 0, got {temperature}")
    key = np.array([seed, 0], dtype=np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    text = list(ids)
    for _ in range(count):
        logits = next_logits(model, text, length).copy()
        logits[list(without)] = -math.inf
        text.append(drawn(logits, temperature, random.random()))
    return text


def drawn(logits: Floats, temperature: float, u: float) -> int:
    """A place in logits (V,), by u in [0, 1); of several that are most likely the first."""
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # to -inf, at a temperature next to 0
        powers = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    sums = np.cumsum(powers)
    return int(np.searchsorted(sums, u * sums[-1], side="right"))
