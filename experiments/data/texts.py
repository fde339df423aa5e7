"""Texts to pretrain an encoder on, read as a stream of words.

    texts = read(Path("data"), "numbers")          # FOLDER/numbers/*.txt
    words = vocabulary(texts, 4_096, WORDS)        # the most frequent words, and certain ones
    ids = encode(texts, words)                     # (n,)

A word is a run of letters, a digit, or one mark; letters are lower-cased.
`python -m experiments.attention.texts` makes such files from packages that one can download.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.data.arithmetic import Ints
from experiments.data.place import content_of

SPECIAL = PAD, UNKNOWN, CLS, SEP, MASK = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")
SOURCE = "texts to pretrain on, numbers/*.txt and unrelated/*.txt"


def files_of(folder: Path, kind: str) -> list[Path]:
    """The files of a kind of text. ValueError if there is none."""
    if not (files := sorted((folder / kind).glob("*.txt"))):
        made = "python -m experiments.attention.texts makes them"
        raise ValueError(f"{folder / kind}: expected one or more .txt files; {made}")
    return files


def read(folder: Path, kind: str) -> list[str]:
    """The words of all files of a kind, one after the other."""
    words: list[str] = []
    for path in files_of(folder, kind):
        text = unicodedata.normalize("NFKC", content_of(path, SOURCE))  # without ligatures
        words += WORD.findall(text.lower())
    return words


def vocabulary(words: Sequence[str], size: int, always: Sequence[str]) -> list[str]:
    """`SPECIAL`, the words that are always in it, then the most frequent ones; at most `size`."""
    if size < len(SPECIAL) + len(always):
        raise ValueError(
            f"vocabulary: expected at least {len(SPECIAL) + len(always)} words, got {size}"
        )
    counts = Counter(words)
    for word in always:
        counts.pop(word, None)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    return [*SPECIAL, *always, *frequent][:size]


def encode(words: Sequence[str], vocabulary: Sequence[str]) -> Ints:
    """(n,) the places of words in a vocabulary; that of `UNKNOWN` for others."""
    ids = {word: i for i, word in enumerate(vocabulary)}
    unknown = ids[UNKNOWN]
    return np.array([ids.get(word, unknown) for word in words], dtype=np.int64)
