"""The exercises, in the order of docs/reading.md."""

from __future__ import annotations

from functools import cache

from exercises.chapters import (
    broadcasting,
    checking,
    diamond,
    fused,
    grokking,
    higher,
    ops,
    training,
)
from exercises.exercise import Chapter, Exercise

CHAPTERS = (
    diamond.CHAPTER,
    ops.CHAPTER,
    broadcasting.CHAPTER,
    checking.CHAPTER,
    higher.CHAPTER,
    fused.CHAPTER,
    training.CHAPTER,
    grokking.CHAPTER,
)


@cache
def numbered() -> dict[int, tuple[Chapter, Exercise]]:
    """All exercises by their number, which starts at 1."""
    pairs = [(chapter, exercise) for chapter in CHAPTERS for exercise in chapter.exercises]
    return dict(enumerate(pairs, 1))
