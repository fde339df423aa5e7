"""A text in the files of WikiText-2: few words, each followed by one of few."""

import json

import numpy as np

from experiments.data import wikitext

# by their ids from 1 on; what ends a word has a mark
PIECES = (
    "<unk>",
    "un",
    "re",
    "ing</w>",
    "s</w>",
    "the</w>",
    "of</w>",
    "and</w>",
    ".</w>",
    "un</w>",
)
PER_SPLIT = {"train": 2_000, "validation": 400, "test": 400}


def pieces():
    """All of them, as many as GPT-1 has; those without a meaning are word17</w> and the like."""
    rest = range(len(PIECES), wikitext.VOCABULARY - 1)
    return [*PIECES, *(f"word{i}</w>" for i in rest)]


def write_npz(path, **arrays):
    np.savez_compressed(path, **arrays)


def write_wikitext(folder, rng, words=40, tokens=PER_SPLIT):
    """tokens: of each split. Ids are the first `words` and the last; each has three successors."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = np.array([*range(1, words), wikitext.VOCABULARY - 1])
    next_of = rng.integers(0, len(ids), (len(ids), 3))
    for split, n in tokens.items():
        text, at = np.empty(n, dtype=np.uint16), 0
        for k in range(n):
            text[k] = ids[at]
            at = next_of[at, rng.integers(3)] if rng.random() < 0.9 else rng.integers(len(ids))
        sizes = np.array([10] * (n // 10) + ([n % 10] if n % 10 else []), dtype=np.int64)
        write_npz(folder / wikitext.file_of(split), tokens=text, sizes=sizes)
    numbers = {piece: i for i, piece in enumerate(pieces())}
    (folder / wikitext.ENCODER).write_text(json.dumps(numbers), encoding="utf-8")
    return folder
