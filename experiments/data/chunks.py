"""A text cut into chunks, each an input of a language model with its targets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
PADDING = 0  # the id that is no token


class Chunks(NamedTuple):
    """N pieces of a text, (N, window) each: a target is the token after its input, or PADDING."""

    inputs: Ints
    targets: Ints


def chunks(tokens: Ints, length: int = 256, window: int | None = None) -> Chunks:
    """A text (n,) cut into N = ⌈(n - 1) / length⌉ chunks, each read by itself.

    Chunk i covers tokens length·i to length·(i + 1). The last target of one is the first input of
    the next, so every token but the first is a target once. PADDING fills up the last chunk.
    window: of each chunk only so many targets, the first, so that a model learns from a part of the
    text in as many steps. A chunk without a target is left out.

    ValueError for a length that is not positive or is longer than the text, for a window outside
    1 to length, and for a text in which no token has a successor.
    """
    window = length if window is None else window
    if not 1 <= length <= len(tokens):
        raise ValueError(
            f"chunks: length: expected 1 to {len(tokens):,}, that of the text, got {length:,}"
        )
    if not 1 <= window <= length:
        raise ValueError(f"chunks: window: expected 1 to the length of {length:,}, got {window:,}")
    count = -(-(len(tokens) - 1) // length)
    padded = np.full(count * length + 1, PADDING, dtype=np.int64)
    padded[: len(tokens)] = tokens[: len(padded)]
    rows = (part.reshape(count, length)[:, :window] for part in (padded[:-1], padded[1:]))
    inputs, targets = rows
    full = (targets != PADDING).any(axis=1)
    if not full.any():
        raise ValueError("chunks: tokens: expected a text, got one without a target")
    return Chunks(inputs[full], targets[full])
