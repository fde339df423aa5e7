"""Speeches of three presidents: sentences with their speakers, and texts.

The data of seed 003 (CSE256, Spring 2024, assignment 2): speeches of Barack Obama, George W. Bush
and George H. Bush. 2,092 sentences to learn from and 750 to test on, each with its speaker; a text
of 32,071 tokens, and one of each speaker to test on.

    speeches = read(Path("data"))
    speeches.train.ids, speeches.train.labels    # (2092, 32) and (2092,)
    speeches.text                                # (32071,)

A folder, or cse256_speeches_tokens or cse256_speeches in it, holds one of two kinds of files:
tokenized ones (train_CLS.tok.tsv, train_LM.tok, ..., vocab.txt), or the assignment's own
(train_CLS.tsv, train_LM.txt, ...), which NLTK's `word_tokenize` then cuts into tokens. That needs
NLTK's Punkt tables; `python -m experiments.speeches.tokenize` makes the first kind of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data.place import content_of, place_in

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Tokens = list[str]
SPEAKERS = ("Obama", "W. Bush", "H. Bush")  # by label
TESTS = {"Obama": "test_LM_obama", "H. Bush": "test_LM_hbush", "W. Bush": "test_LM_wbush"}
SENTENCES = {"train": "train_CLS", "test": "test_CLS"}
TEXT = "train_LM"
FOLDERS = ("", "cse256_speeches_tokens", "cse256_speeches")
PAD, UNKNOWN = 0, 1
SOURCE = "the speeches of CSE256, Spring 2024, assignment 2"


@dataclass(frozen=True)
class Sentences:
    """N sentences with their speakers.

    ids:     (N, block) tokens, padded with PAD at the end; longer sentences are cut.
    lengths: (N,) tokens of each in `ids`.
    labels:  (N,) places in SPEAKERS.
    tokens:  the sentences in words.
    """

    ids: Ints
    lengths: Ints
    labels: Ints
    tokens: list[Tokens]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Speeches:
    """All of the data. Words that the vocabulary lacks have the id UNKNOWN.

    vocabulary: the words by id; PAD and UNKNOWN come first.
    text:       (n,) the text that language models learn from.
    tests:      of each speaker, one to test them on.
    """

    vocabulary: tuple[str, ...]
    train: Sentences
    test: Sentences
    text: Ints
    tests: Mapping[str, Ints]


def read(folder: Path, block: int = 32) -> Speeches:
    """The data in a folder; the longest sentence has 30 tokens.

    ValueError says in one line what is missing, or wrong and where.
    """
    place, tokenized = find(folder)
    vocabulary, sentences, texts = (read_tokens if tokenized else read_originals)(place)
    words = ("PAD", "UNK", *vocabulary)
    ids = {word: i for i, word in enumerate(words) if i > UNKNOWN}
    check_classes(sentences, place)
    train, test = (arrays_of(sentences[name], ids, block) for name in SENTENCES)
    text, *tests = (encode(texts[name], ids) for name in (TEXT, *TESTS.values()))
    return Speeches(words, train, test, text, dict(zip(TESTS, tests, strict=True)))


def find(folder: Path) -> tuple[Path, bool]:
    """Where the files are, and whether they are tokenized."""
    tokens, originals = (f"{SENTENCES['train']}{ending}" for ending in (".tok.tsv", ".tsv"))
    holds = lambda place: (place / tokens).exists() or (place / originals).exists()
    files = f", {originals} and others, or tokenized {tokens}"
    place = place_in(folder, FOLDERS, holds, SOURCE, files)
    return place, (place / tokens).exists()


# --- the two kinds of files -----------------------------------------------------------------------
Contents = tuple[list[str], dict[str, list[tuple[int, Tokens]]], dict[str, Tokens]]


def read_tokens(folder: Path) -> Contents:
    """Vocabulary, labelled sentences and texts of tokenized files."""
    sentences = {
        name: [(label, text.split()) for label, text in labelled(folder / f"{file}.tok.tsv")]
        for name, file in SENTENCES.items()
    }
    texts = {name: lines_of(folder / f"{name}.tok") for name in (TEXT, *TESTS.values())}
    return lines_of(folder / "vocab.txt"), sentences, texts


def read_originals(folder: Path) -> Contents:
    """The same from the assignment's files. The vocabulary is that of both training files, read
    whole, so labels are words of it."""
    cut = tokenizer()
    sentences = {
        name: [(label, cut(text)) for label, text in labelled(folder / f"{file}.tsv")]
        for name, file in SENTENCES.items()
    }
    texts = {
        name: cut(" ".join(lines_of(folder / f"{name}.txt"))) for name in (TEXT, *TESTS.values())
    }
    both = (content_of(folder / name, SOURCE) for name in ("train_CLS.tsv", "train_LM.txt"))
    return sorted(set().union(*map(cut, both))), sentences, texts


def tokenizer() -> Callable[[str], Tokens]:
    """NLTK's `word_tokenize`. ValueError if it or its tables are not there."""
    try:
        from nltk.tokenize import word_tokenize

        word_tokenize("One sentence. Another.")
    except ImportError:
        problem = "NLTK is not installed: install minigrad[speeches]"
    except LookupError:
        problem = "NLTK lacks its Punkt tables: python -m nltk.downloader punkt_tab"
    else:
        return word_tokenize
    raise ValueError(f"the files are not tokenized, and {problem}; or give tokenized files")


def lines_of(path: Path) -> list[str]:
    """The lines of a file. ValueError for an empty one, which no text and no list of words has."""
    lines = content_of(path, SOURCE).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise ValueError(f"{path}, line {number}: expected text, got an empty line")
    return lines


def labelled(path: Path) -> list[tuple[int, str]]:
    """The lines of a file of sentences, LABEL<TAB>SENTENCE."""
    pairs: list[tuple[int, str]] = []
    for number, line in enumerate(lines_of(path), 1):
        label, _, text = line.partition("\t")
        if label not in map(str, range(len(SPEAKERS))) or not text.strip():
            raise ValueError(
                f"{path}, line {number}: expected a label of 0 to {len(SPEAKERS) - 1}, a tab and a "
                f"sentence, got {line[:40]!r}"
            )
        pairs.append((int(label), text))
    return pairs


def check_classes(sentences: Mapping[str, Sequence[tuple[int, Tokens]]], folder: Path) -> None:
    """ValueError for a speaker in only one of the two files of sentences."""
    train, test = ({label for label, _ in sentences[name]} for name in SENTENCES)
    for label in sorted(train ^ test):
        file = SENTENCES["test" if label in train else "train"]
        raise ValueError(f"{folder}: no sentence of {SPEAKERS[label]} (label {label}) in {file}")


# --- arrays ---------------------------------------------------------------------------------------
def encode(words: Iterable[str], ids: Mapping[str, int]) -> Ints:
    return np.array([ids.get(word, UNKNOWN) for word in words], dtype=np.int64)


def arrays_of(
    sentences: Sequence[tuple[int, Tokens]], ids: Mapping[str, int], block: int
) -> Sentences:
    table = np.full((len(sentences), block), PAD, dtype=np.int64)
    for row, (_, words) in zip(table, sentences, strict=True):
        known = encode(words[:block], ids)
        row[: len(known)] = known
    return Sentences(
        ids=table,
        lengths=np.array([min(len(words), block) for _, words in sentences], dtype=np.int64),
        labels=np.array([label for label, _ in sentences], dtype=np.int64),
        tokens=[words for _, words in sentences],
    )
