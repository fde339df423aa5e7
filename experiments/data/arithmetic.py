"""Verbal arithmetic: is "eight minus eighteen" negative, zero or positive?

The data of seed 004, section 3 (CSC413, 2023, bert.ipynb): all 800 expressions "A plus B" and
"A minus B" of the numbers zero to nineteen, 640 to learn from and 160 to test on.

    arithmetic = read(Path("data"))
    arithmetic.train.texts, arithmetic.train.labels     # 640 texts and (640,)
    train, val = split(arithmetic.train, seed=0)        # 448 and 192

A folder, or verbal_arithmetic in it, holds PA03_data_20_train.csv and PA03_data_20_test.csv with
the columns index, input and label. Labels are compared with the values of the expressions.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.place import content_of, place_in

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
OPERATORS = ("plus", "minus")
WORDS = (*OPERATORS, *NUMBERS)
CLASSES = ("negative", "zero", "positive")  # by label
FILES = {"train": "PA03_data_20_train.csv", "test": "PA03_data_20_test.csv"}
HEAD = ["", "input", "label"]
SOURCE = "the verbal arithmetic of CSC413, 2023, PA03_data_20_train.csv and PA03_data_20_test.csv"
HELD_OUT = Fraction(3, 10)  # of the expressions to learn from


@dataclass(frozen=True)
class Expressions:
    """N expressions.

    texts:  the expressions in words.
    values: (N,) what they come to.
    gaps:   (N,) |a - b|.
    minus:  (N,) whether the operator is minus.
    """

    texts: tuple[str, ...]
    values: Ints
    gaps: Ints
    minus: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def labels(self) -> Ints:
        """(N,) places in CLASSES."""
        return np.sign(self.values) + 1

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Ints) -> Expressions:
        texts = tuple(self.texts[i] for i in rows)
        return Expressions(texts, self.values[rows], self.gaps[rows], self.minus[rows])


@dataclass(frozen=True)
class VerbalArithmetic:
    """Both files."""

    train: Expressions
    test: Expressions


def read(folder: Path) -> VerbalArithmetic:
    """The data in a folder. ValueError says in one line what is missing, or wrong and where."""
    place = find(folder)
    texts = {name: read_file(place / file) for name, file in FILES.items()}
    if both := sorted({*texts["train"]} & {*texts["test"]}):
        raise ValueError(f"{place}: {both[0]!r} is in both files")
    return VerbalArithmetic(**{name: expressions(of) for name, of in texts.items()})


def find(folder: Path) -> Path:
    """Where the files are."""
    holds = lambda place: any((place / file).exists() for file in FILES.values())
    return place_in(folder, ("", "verbal_arithmetic"), holds, SOURCE)


def read_file(path: Path) -> list[str]:
    """The texts of a file, whose labels are right."""
    rows = [*csv.reader(io.StringIO(content_of(path, SOURCE)))]
    if not rows or rows[0] != HEAD:
        raise ValueError(f"{path}, line 1: expected {','.join(HEAD)}, got {rows[:1]!r:.60}")
    if len(rows) == 1:
        raise ValueError(f"{path}: no expression")
    seen: dict[str, int] = {}
    for number, row in enumerate(rows[1:], 2):
        where = f"{path}, line {number}"
        if len(row) != len(HEAD):
            raise ValueError(f"{where}: expected index,input,label, got {','.join(row)!r:.60}")
        _, text, label = row
        try:
            value = value_of(text)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        wanted = str(np.sign(value) + 1)
        if label.strip() != wanted:
            said = f"{text!r} is {value}, so its label is {wanted}"
            raise ValueError(f"{where}: {said}, got {label!r:.20}")
        if text in seen:
            raise ValueError(f"{where}: {text!r} is in line {seen[text]}, too")
        seen[text] = number
    return [*seen]


def parts_of(text: str) -> tuple[int, str, int]:
    """a, operator and b. ValueError for anything else than two numbers with an operator."""
    words = text.split(" ")
    numbers = {word: i for i, word in enumerate(NUMBERS)}
    if len(words) != 3 or words[1] not in OPERATORS or not {words[0], words[2]} <= {*numbers}:
        raise ValueError(f"expected zero ... nineteen, plus or minus, a number, got {text!r:.60}")
    return numbers[words[0]], words[1], numbers[words[2]]


def value_of(text: str) -> int:
    a, operator, b = parts_of(text)
    return a + b if operator == "plus" else a - b


def every_expression() -> Iterator[str]:
    """All 800."""
    return (f"{a} {op} {b}" for op in OPERATORS for a in NUMBERS for b in NUMBERS)


def expressions(texts: list[str]) -> Expressions:
    parts = [parts_of(text) for text in texts]
    return Expressions(
        texts=tuple(texts),
        values=np.array([value_of(text) for text in texts]),
        gaps=np.array([abs(a - b) for a, _, b in parts]),
        minus=np.array([operator == "minus" for _, operator, _ in parts]),
    )


def split(data: Expressions, seed: int) -> tuple[Expressions, Expressions]:
    """Stratified: `HELD_OUT` of the expressions, rounded up, for validation, and of each class.

    A class has its share rounded down, and what is then missing goes to the greatest remainders, of
    equal ones to the earlier class. The rest is to learn from. Both keep the order of the data.
    """
    counts = np.bincount(data.labels, minlength=len(CLASSES))
    wanted = math.ceil(HELD_OUT * len(data))
    shares = wanted * counts / len(data)
    sizes = np.floor(shares).astype(int)
    for label in np.argsort(-(shares - sizes), kind="stable")[: wanted - sizes.sum()]:
        sizes[label] += 1
    key = np.array([seed, 0], dtype=np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    held = np.zeros(len(data), dtype=bool)
    for label, size in enumerate(sizes):
        held[random.permutation(np.flatnonzero(data.labels == label))[:size]] = True
    return data.take(np.flatnonzero(~held)), data.take(np.flatnonzero(held))
