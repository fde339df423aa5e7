"""The sentence classifier of seed 003, section 1: table 1, figure 1, and the confusion matrix.

    python -m experiments.speeches.classifier --data FOLDER --scale small   # shows that it works
    python -m experiments.speeches.classifier --data FOLDER

15 epochs, ten seeds; and the same with padding left out of attention, of the mean over a sentence,
or of both, which the seed does not mention. Beside it a linear model of the counts of words.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from experiments.data.speeches import SPEAKERS
from experiments.results.claims import Says, decide, mean_of, one_of
from experiments.results.curves import Quantity, by_record, number, spread
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell, cells_of
from experiments.results.trials import Group, Trials, finished
from experiments.speeches import options
from experiments.speeches.accuracies import accuracies
from experiments.speeches.bag import Bag
from experiments.speeches.measures import (
    GAP,
    LEARNT,
    OF_CLASSIFIERS,
    TEST,
    TRAIN_LOSS,
    as_the_seed,
    bags_of_words,
    classifiers,
    only_one_right,
    percent,
)
from experiments.speeches.seed import TABLE_1
from experiments.speeches.task import SHORT
from experiments.sweep.experiment import Experiment, main
from experiments.train.trial import Trial

PADDINGS = SEEN, *_ = (
    Group("padding", "seen", "seen, as in the assignment", "#0072B2", "#56B4E9"),
    Group("padding", "unattended", "not attended to", "#D55E00", "#E69F00"),
    Group("padding", "unpooled", "not in the mean", "#009E73", "#5FD3B0"),
    Group("padding", "left out", "in neither", "#CC79A7", "#E5B3D0"),
)
# of table 1: key in the records, head, how its values are shown, format
COLUMNS = (
    ("train_loss", "training loss", number, ".4f"),
    ("train_accuracy", "training accuracy, %", percent, ".2f"),
    ("test_accuracy", "test accuracy, %", percent, ".2f"),
)


@dataclass(frozen=True)
class Options(options.Options):
    """Section 1: the classifier, and what padding does to it."""

    def trials(self) -> dict[str, Trial]:
        trials: dict[str, Trial] = {
            f"{group.value.replace(' ', '-')}-seed{seed}": self.classify(
                seed=seed, padding=group.value
            )
            for seed in self.seeds
            for group in PADDINGS
        }
        return trials | {"bag-of-words": Bag(steps=self.pick(Bag.steps, 100))}


def results(trials: Trials) -> Results:
    from experiments.results import bands  # matplotlib takes a second to import

    bags, trials = bags_of_words(trials), classifiers(trials)
    ended = finished(trials)
    title = "Padding: seen by attention and in the mean over 32 places, or not"
    curves = [
        bands.Curve(
            name.removesuffix(", %"), by_record(SEEN.of(trials), key, percent),
            PADDINGS[i - 1].color, [row[i] for row in TABLE_1],
        )
        for i, (key, name, *_) in enumerate(COLUMNS[1:], 1)
    ]  # fmt: skip
    caption = (
        "Accuracy over epochs, mean ± one standard deviation over seeds as a band, beside table 1 "
        "of the seed (dashed). Training accuracy is that of batches before their updates."
    )
    return Results(
        [
            epochs(SEEN.of(ended)),
            confusion(SEEN.of(ended)),
            accuracies("padding", title, ended, PADDINGS),
            baseline(SEEN.of(ended), finished(bags)),
        ],
        [Drawing("accuracy", caption, bands.curves({"": curves}, "epoch", "%"))],
        decide(CLAIMS, as_the_seed(ended)),
        Answer(f"Right in the test set, %: {cell(TEST, TEST.over(SEEN.of(ended)))}", "epochs"),
        shown=OF_CLASSIFIERS,
    )


def epochs(trials: Trials) -> Table:
    """Table 1: ours, mean ± std over seeds, and the seed's."""
    heads, columns, data = ["epoch"], [], {}
    for i, (key, name, shown, form) in enumerate(COLUMNS):
        spreads = [spread(values) for values in by_record(trials, key, shown)]
        quantity = Quantity(name, lambda t: math.nan, formats=(form, form))
        theirs = [f"{row[i]:g}" for row in TABLE_1] + [""] * len(spreads)
        columns += [[cell(quantity, s) for s in spreads], theirs]
        heads += [name, "003"]
        data[key] = [s._asdict() for s in spreads]
    rows = [[str(n), *cells] for n, cells in enumerate(zip(*columns, strict=False), 1)]
    n = len(trials)
    note = f"Mean ± standard deviation over {n} seeds, beside table 1 of seed 003, one run."
    return Table("epochs", "Table 1: fifteen epochs", heads, rows, note, data)


def confusion(trials: Trials) -> Table:
    """The confusion matrix after the last epoch, mean over seeds."""
    last = [t.records[-1] for t in trials]
    counts = [[spread([r[f"{a}_as_{b}"] for r in last]).mean for b in SHORT] for a in SHORT if last]
    rows = [[who, *(f"{n:.1f}" for n in row)] for who, row in zip(SPEAKERS, counts, strict=False)]
    note = "Sentences of the test set by their speaker, in columns whose the classifier says it is."
    heads = ["speaker", *(f"taken for {who}" for who in SPEAKERS)]
    return Table("confusion", "Whom it takes for whom", heads, rows, note, {"counts": counts})


def baseline(trials: Trials, bags: Trials) -> Table:
    """The classifier beside the linear baseline."""
    rows, data = [], {}
    for name, of in (("attention, four layers", trials), ("bag of words", bags)):
        cells, numbers = cells_of((TEST, LEARNT, GAP), of)
        beside = ["", ""]
        if of is trials and bags and trials:
            gained, lost = zip(*(only_one_right(t, bags[0]) for t in trials), strict=True)
            beside = [f"{sum(each) / len(trials):.1f}" for each in (gained, lost)]
        rows.append([name, str(len(of)), *cells, *beside])
        data[name] = numbers
    note = (
        "Bag of words: logistic regression on the counts of words, with a penalty on the weights. "
        "Gained: sentences of the test set that attention gets right and the bag does not, mean "
        "over seeds; lost: the other way round."
    )
    heads = ["model", "trials", TEST.label, LEARNT.label, GAP.label, "gained", "lost"]
    return Table("baseline", "Beside a linear model", heads, rows, note, data)


CLAIMS = (
    Says("003, 1", "Test accuracy 87.8 % after 15 epochs", one_of(TEST, SEEN, TABLE_1[-1][2])),
    Says("003, 1", "Training loss 0.0144 then", one_of(TRAIN_LOSS, SEEN, TABLE_1[-1][0])),
    Says("003, 3.2", "A significant gap between training and test", mean_of(GAP, SEEN) > 0),
)

TITLE = "Whose sentence is it: a classifier of three presidents"
EXPERIMENT = Experiment("classifier", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
