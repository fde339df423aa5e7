"""Classifiers of several kinds beside one of them, seed by seed and sentence by sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.results import trends
from experiments.results.results import Table
from experiments.results.tables import cells_of
from experiments.results.trials import Chosen, Trials, pairs
from experiments.speeches.measures import GAP, LEARNT, TEST, only_one_right

LEVEL = 0.05
NOTE = (
    "After the last epoch, mean ± standard deviation over seeds. Difference: of the test accuracy "
    "from that of “{}” with the same seed, mean and 95 % interval. Gained: sentences of the test "
    "set that the kind gets right and “{}” does not, mean over seeds; lost: the other way round. "
    "Apart: seeds with p < .05 in McNemar's exact test."
)


def accuracies(
    name: str, title: str, trials: Trials, kinds: Sequence[Chosen], note: str = ""
) -> Table:
    """A row a kind; all are compared with the first."""
    rows, data = [], {}
    first = kinds[0]
    for kind in kinds:
        of = kind.of(trials)
        if not of:
            continue
        cells, numbers = cells_of((TEST, LEARNT, GAP), of)
        couples = [] if kind is first else pairs(trials, kind, first)
        changed = [only_one_right(a, b) for a, b in couples]
        beside = [""] * 4
        if couples:
            n = len(couples)
            gained, lost = (sum(each) / n for each in zip(*changed, strict=True))
            apart = sum(mcnemar(*each) < LEVEL for each in changed)
            difference = trends.average([TEST.of(a) - TEST.of(b) for a, b in couples])
            beside = [str(difference), f"{gained:.1f}", f"{lost:.1f}", f"{apart} of {n}"]
        rows.append([kind.label, str(len(of)), *cells, *beside])
        data[kind.label] = {"spreads": numbers, "changed": changed}
    heads = ["", "seeds", TEST.label, LEARNT.label, GAP.label]
    heads += ["difference", "gained", "lost", "apart"]
    note = f"{NOTE.format(first.label, first.label)} {note}".rstrip()
    return Table(name, title, heads, rows, note, data)


def mcnemar(gained: int, lost: int) -> float:
    """The two-sided p-value of these changes, if a change either way were equally likely.

    Exact: McNemar, Note on the sampling error of the difference between correlated proportions
    (1947), with the binomial distribution instead of its limit.
    """
    n, least = gained + lost, min(gained, lost)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)
