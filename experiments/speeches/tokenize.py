"""Make tokenized files of the speeches, so that NLTK is needed once and not for every run.

python -m experiments.speeches.tokenize --data FOLDER --out FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.data import speeches
from experiments.sweep import cli
from minigrad.files import write_file

PROG = "python -m experiments.speeches.tokenize"


@dataclass(frozen=True)
class Options:
    """Input and output folders."""

    data: Path
    """Folder with the assignment's files: train_CLS.tsv, test_CLS.tsv, train_LM.txt, ..."""
    out: Path
    """Folder for the tokenized files: train_CLS.tok.tsv, ..., vocab.txt. Replaces existing ones."""


def main(args: Sequence[str] | None = None) -> int:
    options = cli.parse(Options, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG):
        vocabulary, sentences, texts = speeches.read_originals(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        lines = {f"{name}.tok": words for name, words in texts.items()}
        lines["vocab.txt"] = vocabulary
        for name, file in speeches.SENTENCES.items():
            rows = [f"{label}\t{' '.join(words)}" for label, words in sentences[name]]
            lines[f"{file}.tok.tsv"] = rows
        for name, each in lines.items():
            write_file(options.out / name, ("\n".join(each) + "\n").encode())
            print(options.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
