"""How well captions find their pictures, and pictures their captions, by similarity.

similarities (N, M): of N pictures with M captions.    of (N,): the caption of each picture.
Several pictures may have one caption; each of them is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]
AT = (1, 5, 10)


def picture_ranks(similarities: Floats, of: Ints) -> Ints:
    """(M,) for each caption the place of the first right picture, from 1 on.

    A wrong picture that is as similar comes before it, so that a model that tells nothing apart
    finds nothing.
    """
    right = of[:, None] == np.arange(similarities.shape[1])
    best = np.where(right, similarities, -np.inf).max(axis=0)
    return 1 + (~right & (similarities >= best)).sum(axis=0)


def caption_ranks(similarities: Floats, of: Ints) -> Ints:
    """(N,) for each picture the place of its caption, likewise."""
    best = np.take_along_axis(similarities, of[:, None], axis=1)
    return (similarities >= best).sum(axis=1)


def recall(similarities: Floats, of: Ints) -> dict[str, float]:
    """The share of right ones among the first k, picture_at_1 and so on, and median places."""
    ranks = {
        "picture": picture_ranks(similarities, of),
        "caption": caption_ranks(similarities, of),
    }
    numbers = {f"{what}_at_{k}": float((r <= k).mean()) for what, r in ranks.items() for k in AT}
    return numbers | {f"{what}_median": float(np.median(r)) for what, r in ranks.items()}


def chance(of: Ints, captions: int) -> dict[str, float]:
    """What `recall` is in the mean if pictures, or captions, come in any order.

    A caption with m of N pictures misses the first k with the chance C(N - m, k) / C(N, k).
    """
    n, rights = len(of), np.bincount(of, minlength=captions)
    numbers = {
        f"picture_at_{k}": float(
            np.mean([1 - comb(n - int(m), min(k, n)) / comb(n, min(k, n)) for m in rights])
        )
        for k in AT
    }
    return numbers | {f"caption_at_{k}": min(1.0, k / captions) for k in AT}


def classes(similarities: Floats, of: Ints) -> dict[str, float]:
    """Zero-shot classification: captions (M,) are names of classes, and the most similar is taken.

    balanced: the mean over classes of the share that is right, which is 1 / M by chance.
    """
    right = similarities.argmax(axis=1) == of
    shares = [right[of == each].mean() for each in np.unique(of)]
    return {"accuracy": float(right.mean()), "balanced": float(np.mean(shares))}


def numbered(texts: Sequence[str]) -> tuple[list[str], Ints]:
    """The different texts in order, and for each text its number among them."""
    distinct = [*dict.fromkeys(texts)]
    numbers = {text: i for i, text in enumerate(distinct)}
    return distinct, np.array([numbers[text] for text in texts])
