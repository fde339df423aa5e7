"""Make the texts on which encoders are pretrained.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    tar xzf vaderSentiment-3.3.2.tar.gz
    tar xzf vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz
    python -m experiments.attention.texts --snippets hutto_ICWSM_2014 --out DATA

    apt-get download derivations && dpkg-deb -x derivations_*.deb derivations
    cd derivations/usr/share/doc/derivations
    pdftotext derivations.pdf DATA/numbers/derivations.txt

DATA/numbers/sentences.txt has sentences about the numbers zero to nineteen that are made here:
sums, differences, comparisons, counting. Many contain an expression of verbal arithmetic with its
value, none says whether that is negative, zero or positive. The textbook is optional.
DATA/unrelated has tweets and snippets of reviews and newspapers (Hutto and Gilbert, 2014).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data.arithmetic import NUMBERS
from experiments.data.place import content_of
from experiments.sweep import cli
from minigrad.files import write_file

PROG = "python -m experiments.attention.texts"
SOURCE = "the folder hutto_ICWSM_2014 of vaderSentiment"
TENS = ("twenty", "thirty")
THINGS = ("apples", "books", "cars", "days", "eggs", "houses", "pages", "stones", "trees", "words")
SNIPPETS = {  # their files, and what the texts are called
    "tweets_GroundTruth.txt": "tweets",
    "movieReviewSnippets_GroundTruth.txt": "movie_reviews",
    "amazonReviewSnippets_GroundTruth.txt": "product_reviews",
    "nytEditorialSnippets_GroundTruth.txt": "editorials",
}


@dataclass(frozen=True)
class Options:
    """Texts to pretrain on."""

    snippets: Path
    """Folder hutto_ICWSM_2014 of the source package of vaderSentiment."""
    out: Path
    """Folder for numbers/sentences.txt and unrelated/*.txt. Replaces existing ones."""
    sentences: int = 60_000
    """Sentences about numbers."""

    def __post_init__(self) -> None:
        if self.sentences < 1:
            raise ValueError(f"--sentences: expected at least 1, got {self.sentences}")


def in_words(n: int) -> str:
    """A number between -99 and 39."""
    if n < 0:
        return f"minus {in_words(-n)}"
    if n < len(NUMBERS):
        return NUMBERS[n]
    tens, ones = divmod(n, 10)
    return TENS[tens - 2] + (f" {NUMBERS[ones]}" if ones else "")


def sentences(n: int, seed: int = 0) -> Iterator[str]:
    """n sentences about numbers, of nine kinds that are equally frequent."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        a, b = (int(i) for i in random.integers(len(NUMBERS), size=2))
        low, high = sorted((a, b))
        x, y, least, most = map(in_words, (a, b, low, high))
        things = THINGS[random.integers(len(THINGS))]
        counted = [in_words(i) for i in range(low, min(low + 6, len(NUMBERS)))]
        equal = [f"{x} is as many as {y}.", f"{x} is the same as {y}."]
        kinds = (
            f"{x} plus {y} is {in_words(a + b)}.",
            f"{x} minus {y} is {in_words(a - b)}.",
            f"{least} is less than {most}." if low < high else equal[0],
            f"{most} is more than {least}." if low < high else equal[1],
            f"after {x} comes {in_words(a + 1)}.",
            f"before {in_words(a + 1)} comes {x}.",
            f"{', '.join(counted)}.",
            f"{', '.join(reversed(counted))}.",
            f"of {most} {things} {least} are taken, and {in_words(high - low)} are left.",
        )
        yield kinds[random.integers(len(kinds))]


def snippets(path: Path) -> list[str]:
    """The texts of a file with lines ID<TAB>RATING<TAB>TEXT."""
    lines = content_of(path, SOURCE).splitlines()
    texts = [line.split("\t", 2) for line in lines]
    for number, columns in enumerate(texts, 1):
        if len(columns) != 3:
            got = f"{lines[number - 1]!r:.60}"
            raise ValueError(f"{path}, line {number}: expected id, rating and text, got {got}")
    return [text for _, _, text in texts]


def main(args: Sequence[str] | None = None) -> int:
    options = cli.parse(Options, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG):
        texts = {
            f"unrelated/{name}.txt": snippets(options.snippets / file)
            for file, name in SNIPPETS.items()
        }
        texts["numbers/sentences.txt"] = [*sentences(options.sentences)]
        for name, lines in texts.items():
            path = options.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, ("\n".join(lines) + "\n").encode())
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
