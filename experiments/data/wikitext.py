"""WikiText-2 as ids of the byte-pair encoding of GPT-1: the data of seed 002.

WikiText-2, raw text (Merity et al., Pointer Sentinel Mixture Models, 2016), in lower case, cut by
the encoding of OpenAI's GPT (Radford et al., 2018) as in IFT6135, Fall 2023, assignment 2:

    texts = read(Path("data"))                            # ids by split
    train = chunks.chunks(texts["train"])                 # 9,205 of 256 inputs and 256 targets
    kept = frequent(texts["train"], 8_000)                # a smaller vocabulary
    train = chunks.chunks(kept.new_id[texts["train"]], window=64)
    Decoder(Path("data"), kept).text_of(train.inputs[0])  # "= valkyria chronicles iii = ..."

A folder, or wikitext-2-gpt1bpe in it, holds wiki.train.npz, wiki.validation.npz and wiki.test.npz,
each with `tokens` and `sizes`, the tokens of each line; and encoder_bpe_40000.json, the pieces of
words of GPT-1 with their numbers. An id is such a number plus one, for 0 is padding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from experiments.data.chunks import PADDING
from experiments.data.place import arrays_in, content_of, place_in

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
VOCABULARY = 40_479  # 40,478 pieces of words, and padding
UNKNOWN = 1
END = "</w>"  # of a piece that ends a word
PADDING_MARK, RARE_MARK = "<pad>", "<rare>"  # in decoded text
FOLDERS = ("", "wikitext-2-gpt1bpe")
ENCODER = "encoder_bpe_40000.json"
SOURCE = "WikiText-2 in the byte-pair encoding of GPT-1 of IFT6135, Fall 2023, assignment 2"


def file_of(split: Split) -> str:
    return f"wiki.{split}.npz"


def find(folder: Path) -> Path:
    """Where the files are. ValueError, in one line, if no place has the first of them, or one is
    missing there."""
    first = file_of(SPLITS[0])
    place = place_in(folder, FOLDERS, lambda place: (place / first).exists(), SOURCE, f", {first}")
    for name in (*map(file_of, SPLITS), ENCODER):
        if not (place / name).exists():
            raise ValueError(f"{place / name}: no such file; it belongs to {SOURCE}")
    return place


def read(folder: Path) -> dict[Split, Ints]:
    """(n,) the ids of the text of each split.

    ValueError says in one line what is missing, or wrong and where.
    """
    place = find(folder)
    return {split: tokens_of(place / file_of(split)) for split in SPLITS}


def tokens_of(path: Path) -> Ints:
    """(n,) the ids of one file, each between 1 and VOCABULARY - 1."""
    arrays = arrays_in(path, ("tokens", "sizes"), SOURCE)
    for name, array in arrays.items():
        if array.dtype.kind not in "iu" or array.ndim != 1:
            got = f"{array.shape} {array.dtype}"
            raise ValueError(f"{path}: {name}: expected (n,) whole numbers, got {got}")
    tokens, wanted = arrays["tokens"].astype(np.int64), int(arrays["sizes"].sum())
    if not tokens.size or len(tokens) != wanted:
        raise ValueError(
            f"{path}: expected the tokens of all lines, {wanted:,}, got {len(tokens):,}"
        )
    wrong = np.flatnonzero((tokens <= PADDING) | (tokens >= VOCABULARY))
    if wrong.size:
        at = int(wrong[0])
        expected = f"expected ids between 1 and {VOCABULARY - 1:,}"
        raise ValueError(f"{path}: tokens: {expected}, got {tokens[at]:,} at {at:,}")
    return tokens


# --- a smaller vocabulary -------------------------------------------------------------------------
class Kept(NamedTuple):
    """The ids that a smaller vocabulary of S has of its own, and what becomes of all.

    ids:    (S - 2,) the most frequent first; the new id of ids[k] is k + 1.
    new_id: (VOCABULARY,) by old id; PADDING stays, and all that are not kept share S - 1.
    """

    ids: Ints
    new_id: Ints

    @property
    def size(self) -> int:
        return len(self.ids) + 2

    @property
    def rare(self) -> int:
        """The new id of what is not kept."""
        return len(self.ids) + 1


def frequent(tokens: Ints, size: int) -> Kept:
    """A vocabulary of `size`: padding, the most frequent ids of a text, and one for all others.

    Of equally frequent ids the smaller is kept. With 8,000 they are 93.0 % of the training text,
    92.1 % of that of validation and 91.5 % of that of the test. ValueError unless size is at least
    3 and at most 2 + the number of ids that occur.
    """
    counts = np.bincount(tokens, minlength=VOCABULARY)
    counts[PADDING] = 0
    occurring = np.count_nonzero(counts)
    if not 3 <= size <= occurring + 2:
        expected = f"expected 3 to {occurring + 2:,}, for {occurring:,} ids occur"
        raise ValueError(f"frequent: size: {expected}, got {size:,}")
    ids = np.argsort(-counts, kind="stable")[: size - 2]
    new_id = np.full(VOCABULARY, size - 1, dtype=np.int64)
    new_id[PADDING] = PADDING
    new_id[ids] = np.arange(1, size - 1)
    return Kept(ids, new_id)


# --- text -----------------------------------------------------------------------------------------
class Decoder:
    """Text of ids.

    pieces: by id, as in the file of the encoder: "the</w>" ends a word, "un" is the beginning or
            the inside of one. Padding is PADDING_MARK and the rare id RARE_MARK.
    """

    def __init__(self, folder: Path, kept: Kept | None = None) -> None:
        """kept: the vocabulary of the ids, if it is a smaller one.

        ValueError, in one line, for a missing file or one that is no encoder of GPT-1.
        """
        pieces = (PADDING_MARK + END, *read_pieces(find(folder) / ENCODER))
        if kept is not None:
            own = (pieces[i] for i in kept.ids)
            pieces = (PADDING_MARK + END, *own, RARE_MARK + END)
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def text_of(self, ids: Iterable[int]) -> str:
        """Words with spaces between. ValueError for an id that there is not."""
        found: list[str] = []
        for i in ids:
            if not 0 <= i < len(self):
                raise ValueError(f"text_of: ids: expected 0 to {len(self) - 1:,}, got {i:,}")
            piece = self.pieces[i]
            found.append(piece.removesuffix(END) + " " if piece.endswith(END) else piece)
        return "".join(found).removesuffix(" ")


def read_pieces(path: Path) -> list[str]:
    """The pieces of words by number."""
    expected = f"{path}: expected {VOCABULARY - 1:,} pieces of words with the numbers from 0"
    try:
        numbers = json.loads(content_of(path, SOURCE))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{expected}, got no JSON: {error}") from None
    if not isinstance(numbers, dict):
        raise ValueError(f"{expected}, got {type(numbers).__name__}")
    if any(type(number) is not int for number in numbers.values()):
        raise ValueError(f"{expected}, got something else than a number")
    if sorted(numbers.values()) != list(range(VOCABULARY - 1)):
        raise ValueError(f"{expected}, each once, got {len(numbers):,} others")
    return sorted(numbers, key=numbers.__getitem__)
