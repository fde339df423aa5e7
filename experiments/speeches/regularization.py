"""Batch norm and dropout in the classifier of seed 003, section 3.2: figure 11.

    python -m experiments.speeches.regularization --data FOLDER --scale small
    python -m experiments.speeches.regularization --data FOLDER

Neither, only batch norm, only dropout, and both, with dropout rates of .2, .3, .4 and .5. The seed
added both at once; here each is also measured without the other.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from experiments.results.claims import Finding, Says, by_share, decide, one_of, paired
from experiments.results.curves import by_record
from experiments.results.results import Answer, Drawing, Results
from experiments.results.tables import cell
from experiments.results.trials import Having, Trials, finished
from experiments.speeches import options
from experiments.speeches.accuracies import accuracies
from experiments.speeches.measures import GAP, OF_CLASSIFIERS, TEST, as_the_seed, percent
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
    from experiments.results import bands

    ended = finished(trials)
    panels = {
        kind.label: [
            bands.Curve(name, by_record(kind.of(trials), key, percent), color)
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
        [accuracies("kinds", "Each by itself, and both", ended, KINDS)],
        [Drawing("accuracy", caption, bands.curves(panels, "epoch", "%"))],
        decide(CLAIMS, as_the_seed(ended)),
        Answer(f"Right in the test set, %: {right}", "kinds"),
        shown=OF_CLASSIFIERS,
    )  # fmt: skip


def best_rate(trials: Trials) -> Finding:
    """Whether .2 is the rate with the highest test accuracy, for most seeds."""
    of_rate = [{t.settings["seed"]: TEST.of(t) for t in kind.of(trials)} for kind in BOTH]
    seeds = set(of_rate[0]).intersection(*of_rate[1:])
    if not seeds:
        return Finding()
    best = [max(range(len(RATES)), key=lambda i, s=seed: of_rate[i][s]) for seed in sorted(seeds)]
    counts = ", ".join(f"{rate}: {best.count(i)}" for i, rate in enumerate(RATES))
    return Finding(f"seeds in which a rate is the best: {counts}", by_share([b == 0 for b in best]))


# --- what the seed says ---------------------------------------------------------------------------
BEST = BOTH[0]  # of the seed: a dropout of .2
CLAIMS = (
    Says(
        "003, 3.2", "Test accuracy 89.67 % with both, at .2", one_of(TEST, BEST, BEST_REGULARIZED)
    ),
    Says("003, 3.2", "Both, at .2, add 2 points of test accuracy", paired(TEST, BEST, PLAIN) > 0),
    Says("003, 3.2", "Both, at .2, narrow the gap", paired(GAP, BEST, PLAIN) < 0),
    Says("003, 3.2", "The best rate is .2", best_rate),
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
