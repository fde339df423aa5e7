"""How far the test texts of seed 003 are from the text that its language model learns from.

    python -m experiments.speeches.domains --data FOLDER

The seed explains by the domain why perplexity differs from speaker to speaker. For each text: how
many of its tokens the vocabulary lacks, and its perplexity by n-grams of the text learnt from, with
Kneser-Ney smoothing, over chunks of 32 tokens; and the same over known tokens only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data import speeches
from experiments.data.chunks import chunks
from experiments.data.ngrams import ORDERS, NGrams
from experiments.data.place import data_folder, data_in
from experiments.data.speeches import PAD, UNKNOWN, Speeches
from experiments.results.results import Table
from experiments.sweep import cli

PROG = "python -m experiments.speeches.domains"
BLOCK = 32


@dataclass(frozen=True)
class Options:
    """The texts of three presidents."""

    data: Path | None = None
    """Folder of the speeches of CSE256; MINIGRAD_DATA if not given."""


def domains(data: Speeches) -> Table:
    """A row for each test text."""
    train, size = chunks(data.text, BLOCK), len(data.vocabulary)
    models = {name: NGrams(train, order, size) for name, order in ORDERS.items()}
    rows = []
    for name, text in data.tests.items():
        of = chunks(text, BLOCK)
        losses = [-np.log(m.probabilities(m.grams_of(of))) for m in models.values()]
        known = of.targets[of.targets != PAD] != UNKNOWN
        perplexities = [math.exp(each[some].mean()) for some in (..., known) for each in losses]
        share = f"{np.mean(text == UNKNOWN):.1%}"
        rows.append([name, f"{len(text):,}", share, *(f"{p:.0f}" for p in perplexities)])
    heads = ["text", "tokens", "unknown", *models, *(f"{name}, known" for name in models)]
    return Table("domains", "How far the tests are from the text learnt from", heads, rows)


def main(args: Sequence[str] | None = None) -> int:
    options = cli.parse(Options, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG), data_in(options.data):
        table = domains(speeches.read(data_folder(speeches.SOURCE), BLOCK))
        print(table.markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
