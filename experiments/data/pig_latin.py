"""English words and their Pig Latin: the data of seed 004, section 2 (CSC413, assignment 3).

    pairs = read(Path("data"), "small")                  # 3,198 pairs
    train, held_out = split(pairs, seed=0)               # 2,558 and 640
    encode("ate"), encode("atewayay")                    # (3,) and (8,) ids

A folder, or pig_latin in it, holds pig_latin_small.txt and pig_latin_large.txt: a line is a word, a
space and its Pig Latin. Lines with other characters than letters and hyphens are left out, empty
ones too, and of equal lines all but one, as in the assignment's program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.data.place import content_of, place_in

Ids = np.ndarray[Any, np.dtype[np.int64]]
Pair = tuple[str, str]  # a word and its Pig Latin
Size = Literal["small", "large"]
Rule = Literal["vowel", "consonant", "cluster", "qu", "y", "hyphen"]

FILES: dict[Size, str] = {"small": "pig_latin_small.txt", "large": "pig_latin_large.txt"}
ALPHABET = "-abcdefghijklmnopqrstuvwxyz"
START, END, END_OF_PROMPT = range(len(ALPHABET), len(ALPHABET) + 3)
VOCABULARY_SIZE = len(ALPHABET) + 3
LONGEST = 100  # characters of a word that is translated; the longest of the data has 20
SOURCE = "the Pig Latin words of CSC413, assignment 3"


def read(folder: Path, size: Size) -> list[Pair]:
    """The pairs of a file, each once, in the order of the file.

    ValueError, in one line, for a missing folder or file, another encoding, or a line that is not a
    word and its Pig Latin.
    """
    path = find(folder) / FILES[size]
    pairs: dict[Pair, None] = {}
    for number, line in enumerate(content_of(path, SOURCE).lower().splitlines(), 1):
        words = line.split()
        if words and len(words) != 2:
            raise ValueError(
                f"{path}, line {number}: expected a word and its Pig Latin, got {line[:40]!r}"
            )
        if words and not set("".join(words)) - set(ALPHABET):
            pairs[words[0], words[1]] = None
    return list(pairs)


def find(folder: Path) -> Path:
    """Where the files are. ValueError, in one line, unless both are there."""
    holds = lambda place: all((place / file).exists() for file in FILES.values())
    return place_in(folder, ("", "pig_latin"), holds, SOURCE, f": {' and '.join(FILES.values())}")


def split(pairs: Sequence[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """80 % to learn from, rounded down, and the rest, in an order of the seed."""
    order = np.random.default_rng([seed, 4]).permutation(len(pairs))
    cut = int(0.8 * len(pairs))
    train, rest = ([pairs[i] for i in part] for part in (order[:cut], order[cut:]))
    return train, rest


def encode(word: str) -> Ids:
    """The ids of the characters of a word. ValueError if it is empty, too long, or not a word."""
    if not 0 < len(word) <= LONGEST:
        raise ValueError(f"word: expected 1 to {LONGEST} characters, got {len(word)}")
    if unknown := sorted(set(word) - set(ALPHABET)):
        expected = "expected letters a to z and hyphens"
        raise ValueError(f"word: {expected}, got {unknown[0]!r} in {word[:40]!r}")
    return np.array([ALPHABET.index(c) for c in word], dtype=np.int64)


def decode(ids: Sequence[int]) -> str:
    """The word before the first END; other ids that are no characters are shown as "?"."""
    ids = list(ids)
    word = ids[: ids.index(END)] if END in ids else ids
    return "".join(ALPHABET[i] if i < len(ALPHABET) else "?" for i in word)


def rule(word: str) -> Rule:
    """Which rule of Pig Latin a word is an example of.

    A word with a hyphen has several parts. Else: it begins with a vowel; with y; with one consonant
    before the first vowel or y; with qu, as a block; with several consonants.
    """
    if "-" in word:
        return "hyphen"
    if word[0] in "aeiou":
        return "vowel"
    if word[0] == "y":
        return "y"
    first = re.match("[^aeiouy]*", word).group()  # type: ignore[union-attr]
    if first.endswith("q") and word[len(first) :].startswith("u"):
        return "qu"
    return "consonant" if len(first) == 1 else "cluster"
