"""Batch norm and dropout in the classifier of seed 003, section 3.2: figure 11.

    python -m experiments.speeches.regularization --data FOLDER --scale small
    python -m experiments.speeches.regularization --data FOLDER

Neither, only batch norm, only dropout, and both, with dropout rates of .2, .3, .4 and .5. The seed
added both at once; here each is also measured without the other.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from experiments.results.claims import Says, decide, one_of, paired
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell, cells_of
from experiments.results.trials import Trials, finished, pairs
from experiments.speeches import options
from experiments.speeches.measures import (
    GAP,
    LEARNT,
    OF_CLASSIFIERS,
    TEST,
    Having,
    as_the_seed,
    by_record,
    only_one_right,
    percent,
)
from experiments.speeches.seed import BEST_REGULARIZED
from experiments.speeches.task import Classify
from experiments.sweep.experiment import Experiment, main
from models.speech import Dropped

RATES = (0.2, 0.3, 0.4, 0.5)


def kind(
    label: str, batch_norm: bool, dropout: float, attention_drops: Dropped = "weights and output"
) -> Having:
    settings = {"batch_norm": batch_norm, "dropout": dropout, "attention_drops": attention_drops}
    return Having(label, settings)


KINDS = PLAIN, *_ = [
    kind("neither", False, 0.0),
    kind("batch norm", True, 0.0),
    *(kind(f"dropout {rate}", False, rate) for rate in RATES),
    *(kind(f"both, {rate}", True, rate) for rate in RATES),
    # "within the multi-head attention block" may be either place or both
    kind("both, 0.2, in attention of weights", True, 0.2, "weights"),
    kind("both, 0.2, in attention of output", True, 0.2, "output"),
]
BATCH_NORM, DROPOUT, BOTH = KINDS[1], KINDS[2:6], KINDS[6:10]
LEVEL = 0.05


@dataclass(frozen=True)
class Options(options.Options):
    """Section 3.2: batch norm and dropout, each by itself and both."""

    def trials(self) -> dict[str, Classify]:
        return {
            f"{kind.label.replace(', ', '-').replace(' ', '-')}-seed{seed}": self.classify(
                seed=seed, **kind.settings
            )
            for seed in self.seeds
            for kind in KINDS
        }


def results(trials: Trials) -> Results:
    from experiments.speeches import figures

    ended = finished(trials)
    panels = {
        kind.label: [
            figures.Curve(name, by_record(kind.of(trials), key, percent), color)
            for key, name, color in (
                ("learnt_accuracy", "training set", "#0072B2"),
                ("test_accuracy", "test set", "#D55E00"),
            )
        ]
        for kind in (PLAIN, BATCH_NORM, DROPOUT[0], BOTH[0])
    }
    caption = (
        "Figure 11: accuracy on both sets, of the model as it is after each epoch; mean ± one "
        "standard deviation over seeds as a band."
    )
    right = ", ".join(f"{k.label} {cell(TEST, TEST.over(k.of(ended)))}" for k in (PLAIN, BOTH[0]))
    return Results(
        [table(ended)],
        [Drawing("accuracy", caption, figures.curves(panels, "epoch", "%"))],
        decide(CLAIMS, as_the_seed(ended)),
        Answer(f"Right in the test set, %: {right}", "kinds"),
        shown=OF_CLASSIFIERS,
    )  # fmt: skip


def table(trials: Trials) -> Table:
    """Accuracies of each kind, and the sentences on which it differs from the plain one."""
    rows, data = [], {}
    for kind in KINDS:
        cells, numbers = cells_of((TEST, LEARNT, GAP), kind.of(trials))
        if not any(numbers):
            continue
        counts = changed(trials, kind)
        beside = ["", "", ""]
        if kind is not PLAIN and counts:
            gained, lost = zip(*counts, strict=True)
            apart = sum(mcnemar(*pair) < LEVEL for pair in counts)
            n = len(counts)
            beside = [f"{sum(gained) / n:.1f}", f"{sum(lost) / n:.1f}", f"{apart} of {n}"]
        rows.append([kind.label, str(len(kind.of(trials))), *cells, *beside])
        data[kind.label] = {"spreads": numbers, "changed": counts}
    heads = ["", "seeds", TEST.label, LEARNT.label, GAP.label, "gained", "lost", "seeds apart"]
    note = (
        "After the last epoch, mean ± standard deviation over seeds. Gained: sentences of the test "
        "set that the kind gets right and the plain model of the same seed does not, mean over "
        "seeds; lost: the other way round. Seeds apart: those with p < .05 in McNemar's exact test."
    )
    return Table("kinds", "Each alone, and both", heads, rows, note, data)


def changed(trials: Trials, kind: Having) -> list[tuple[int, int]]:
    """For each seed how many sentences only this kind gets right, and only the plain one."""
    return [only_one_right(*pair) for pair in pairs(trials, kind, PLAIN)]


def mcnemar(gained: int, lost: int) -> float:
    """The two-sided p-value of these changes, if a change either way were equally likely.

    Exact: McNemar, Note on the sampling error of the difference between correlated proportions
    (1947), with the binomial distribution instead of its limit.
    """
    n, least = gained + lost, min(gained, lost)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)


# --- what the seed says ---------------------------------------------------------------------------
BEST = BOTH[0]  # of the seed: a dropout of .2
CLAIMS = (
    Says(
        "003, 3.2", "Test accuracy 89.67 % with both, at .2", one_of(TEST, BEST, BEST_REGULARIZED)
    ),
    Says("003, 3.2", "Both, at .2, add 2 points of test accuracy", paired(TEST, BEST, PLAIN) > 0),
    Says("003, 3.2", "Both, at .2, narrow the gap", paired(GAP, BEST, PLAIN) < 0),
    Says("003, 3.2", "Dropout of .2 is better than .3", paired(TEST, BEST, BOTH[1]) > 0),
    Says("003, 3.2", "Dropout of .2 is better than .4", paired(TEST, BEST, BOTH[2]) > 0),
    Says("003, 3.2", "Dropout of .2 is better than .5", paired(TEST, BEST, BOTH[3]) > 0),
    Says("003, 3.2", "Batch norm helps", paired(TEST, BATCH_NORM, PLAIN) > 0),
    Says("003, 3.2", "Dropout of .2 helps", paired(TEST, DROPOUT[0], PLAIN) > 0),
)

TITLE = "Batch norm and dropout in the classifier"
EXPERIMENT = Experiment("regularization", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
