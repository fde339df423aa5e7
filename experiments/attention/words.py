"""Words and their Pig Latin as arrays, in batches of equal lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from experiments.data import pig_latin
from experiments.data.pig_latin import END, END_OF_PROMPT, START, Pair
from experiments.train.task import Rows


class Words:
    """Pairs as arrays, and their batches.

    sources: (N, S) the characters of a word, then END; after that anything.
    targets: (N, T) START, its Pig Latin, END.
    whole:   (N, W) START, the word, END_OF_PROMPT, its Pig Latin, END.
    lengths: (N, 2) the number of characters of both.
    """

    def __init__(self, pairs: Sequence[Pair], batch_size: int, device: str) -> None:
        both = [(pig_latin.encode(word), pig_latin.encode(latin)) for word, latin in pairs]
        self.pairs = pairs
        self.lengths = np.array([[len(s), len(t)] for s, t in both])
        self.sources, self.targets, self.whole = (
            mg.tensor(padded(rows), device=device)
            for rows in (
                [[*s, END] for s, _ in both],
                [[START, *t, END] for _, t in both],
                [[START, *s, END_OF_PROMPT, *t, END] for s, t in both],
            )
        )
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, lengths in enumerate(self.lengths.tolist()):
            groups.setdefault(tuple(lengths), []).append(i)
        self.batches: list[Rows] = [
            np.array(rows[i : i + batch_size])
            for rows in groups.values()
            for i in range(0, len(rows), batch_size)
        ]


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray[Any, Any]:
    array = np.full((len(rows), max(map(len, rows))), END, dtype=np.int64)
    for line, row in zip(array, rows, strict=True):
        line[: len(row)] = row
    return array
