"""Captions as ids of pieces of words, which are learnt from captions: a word that was never seen
falls into pieces that were.

    vocabulary = Vocabulary.learn(captions, 600)
    vocabulary.encode("two clownfish", 32)        # START, pieces, and the end, the last id

Text is in lower case without accents, and words, single digits and other signs fall into pieces
one by one. Byte-pair encoding as CLIP's (Sennrich et al., Neural Machine Translation of Rare Words
with Subword Units, 2016, section 3.2), but of letters; the piece that ends a word has a mark.
clip.js does the same in a page.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np

PADDING, START, UNKNOWN = range(3)
SPECIAL = ("<padding>", "<start>", "<unknown>")
END = "<end>"
MARK = "</w>"  # of the piece that ends a word

Pair = tuple[str, str]


class Vocabulary:
    """pieces: by id; the first three are special, and the last is the end of a text.
    merges: pairs of pieces that become one, the first ones first."""

    def __init__(self, pieces: Sequence[str], merges: Iterable[Sequence[str]]) -> None:
        """ValueError unless they belong together."""
        self.pieces, self.merges = tuple(pieces), [(first, second) for first, second in merges]
        if self.pieces[:3] != SPECIAL or self.pieces[-1] != END:
            raise ValueError(f"vocabulary: expected {', '.join(SPECIAL)}, pieces and {END}")
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        for first, second in self.merges:
            if not {first, second, first + second} <= self.ids.keys():
                raise ValueError(f"vocabulary: no pieces for the merge of {first} and {second}")

    @classmethod
    def learn(cls, captions: Iterable[str], size: int) -> Self:
        """`size` pieces, or fewer if these captions have no more, or as many as letters need.

        Of all pairs that stand side by side the most frequent becomes a piece, again and again; of
        several, the last in the order of the alphabet.
        """
        counts = Counter(word for text in captions for word in words(text))
        spelt = {word: letters(word) for word in counts}
        pieces = [*SPECIAL, *sorted({piece for word in spelt.values() for piece in word})]
        frequency, places = Counter[Pair](), defaultdict[Pair, set[str]](set)

        def add(word: str, sign: int) -> None:
            for pair in pairwise(spelt[word]):
                frequency[pair] += sign * counts[word]
                places[pair].add(word)

        for word in spelt:
            add(word, 1)
        merges: list[Pair] = []
        while len(pieces) + 1 < size and frequency:
            pair = max(frequency, key=lambda each: (frequency[each], each))
            if frequency[pair] < 1:
                break
            merges.append(pair)
            pieces.append("".join(pair))
            for word in places.pop(pair):
                add(word, -1)
                spelt[word] = merged(spelt[word], pair)
                add(word, 1)
        return cls([*dict.fromkeys(pieces), END], merges)

    def __len__(self) -> int:
        return len(self.pieces)

    def cut(self, word: str) -> list[str]:
        """The pieces of a word."""
        found = letters(word)
        while len(found) > 1:
            pair = min(pairwise(found), key=lambda each: self.rank.get(each, len(self.rank)))
            if pair not in self.rank:
                break
            found = merged(found, pair)
        return found

    def encode(self, text: str, context: int) -> list[int]:
        """The ids of a text. ValueError for one without a word, or of more than `context` ids."""
        found = [self.ids.get(piece, UNKNOWN) for word in words(text) for piece in self.cut(word)]
        ids = [START, *found, len(self) - 1]
        if not found:
            raise ValueError(f"caption: expected words, got {text!r:.40}")
        if len(ids) > context:
            raise ValueError(
                f"caption: {len(ids)} pieces are more than the context of {context}: {text!r:.60}"
            )
        return ids

    def table(self, captions: Sequence[str], context: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(N, T) the ids of captions, padded to the longest."""
        rows = [self.encode(caption, context) for caption in captions]
        table = np.full((len(rows), max(map(len, rows))), PADDING, dtype=np.int64)
        for row, ids in zip(table, rows, strict=True):
            row[: len(ids)] = ids
        return table


def words(text: str) -> list[str]:
    """Words, digits and other signs of a text, in lower case without accents."""
    plain = unicodedata.normalize("NFD", text).lower()
    bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", bare)


def letters(word: str) -> list[str]:
    return [*word[:-1], word[-1] + MARK]


def merged(pieces: Sequence[str], pair: Pair) -> list[str]:
    """The pieces of a word, with this pair as one wherever it stands."""
    joined: list[str] = []
    i = 0
    while i < len(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            joined.append("".join(pair))
            i += 2
        else:
            joined.append(pieces[i])
            i += 1
    return joined
