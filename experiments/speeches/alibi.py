"""Positions in seed 003, section 3.1: learned, ALiBi, and none, in both tasks.

    python -m experiments.speeches.alibi --data FOLDER --scale small
    python -m experiments.speeches.alibi --data FOLDER

Figures 8, 9 and 10; tables 4 and 5 are in `timing`. The model without positions separates "ALiBi
improves" from "learned positions hurt". The language models are measured in windows of 32, 64 and
128 tokens, over the same tokens; where only 32 positions were learned, the last one serves for all
later places, or the positions begin again.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import pairwise

from experiments.results.claims import Says, decide, mean_of, paired
from experiments.results.curves import Quantity, by_record, number
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell, cells_of, spread_table
from experiments.results.trials import Trials, by_group, finished
from experiments.speeches import options
from experiments.speeches.accuracies import accuracies
from experiments.speeches.measures import (
    ALIBI,
    LEARNED,
    NONE,
    OF_BOTH,
    POSITIONS,
    SIGNED,
    TEST,
    TEXTS,
    as_the_seed,
    classifiers,
    exp,
    language_models,
    logarithm,
    of_classifiers,
    of_language_models,
    percent,
    perplexity,
)
from experiments.speeches.task import BANDS
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord
from experiments.train.trial import Trial

LENGTHS = (32, 64, 128)
SIGN = (
    "Signed: the distance to later tokens counts as negative, so that they gain; the seed does not "
    "say what its encoder does with them."
)
LOSSES = {"train": "train_loss"} | {name: f"{key}_loss" for key, name in TEXTS.items()}
# how windows of each length get positions: endings of keys in the records, and their names
READINGS = {f"_{n}": f"{n} tokens" for n in LENGTHS} | {
    f"_{n}_{how}": f"{n}, {name}"
    for n in LENGTHS[1:]
    for how, name in (("last", "the last position kept"), ("again", "positions again"))
}


@dataclass(frozen=True)
class Options(options.Options):
    """Section 3.1: learned positions, ALiBi and no positions, in both tasks."""

    def trials(self) -> dict[str, Trial]:
        trials: dict[str, Trial] = {}
        for seed in self.seeds:
            for group in (*POSITIONS, SIGNED):
                name = f"{group.value}-seed{seed}"
                trials[f"classifier-{name}"] = self.classify(seed=seed, positions=group.value)
            for group in POSITIONS:
                settings = {"seed": seed, "positions": group.value, "lengths": LENGTHS}
                trials[f"language_model-{group.value}-seed{seed}"] = self.predict(**settings)
        return trials


def results(trials: Trials) -> Results:
    from experiments.results import bands

    ended = finished(trials)
    sentences, texts = classifiers(ended), language_models(ended)
    accuracy = [
        bands.Curve(
            group.label, by_record(of, "test_accuracy", percent),
            group.color,
        )
        for group, of in by_group(sentences, (*POSITIONS, SIGNED)).items()
    ]  # fmt: skip
    panels = {
        name: [
            bands.Curve(group.label, by_record(of, key, exp), group.color)
            for group, of in by_group(texts, POSITIONS).items()
        ]
        for name, key in LOSSES.items()
    }
    every = texts[0].settings["every"] if texts else 1
    lengths = {
        name: [
            bands.Curve(f"{n}", by_record(ALIBI.of(texts), f"{key}_{n}", exp), color)
            for n, color in zip(LENGTHS, ("#0072B2", "#D55E00", "#009E73"), strict=True)
        ]
        for key, name in TEXTS.items()
    }
    over = "mean ± one standard deviation over seeds as a band"
    note = "After the last epoch or iteration, mean ± standard deviation over seeds."
    ratios = [perplexity(key, name) for name, key in LOSSES.items()]
    return Results(
        [
            accuracies("classifier", "The classifier", sentences, (*POSITIONS, SIGNED), SIGN),
            spread_table(
                "language_model", "The language model: perplexity on whole texts", texts,
                POSITIONS, {}, ratios, note=note,
            ),
            lengths_table(texts),
            places_table(texts),
        ],
        [
            Drawing("accuracy", f"Figure 8: test accuracy over epochs, {over}.",
                    bands.curves({"": accuracy}, "epoch", "%")),
            Drawing("perplexity", f"Figure 9: perplexity, {over}.",
                    bands.curves(panels, "iteration", "perplexity", every=every, log=True)),
            Drawing("lengths", f"Figure 10: ALiBi, in windows of 32, 64 and 128 tokens, {over}.",
                    bands.curves(lengths, "iteration", "perplexity", every=every, log=True)),
        ],
        decide(CLAIMS, as_the_seed(ended)),
        Answer(
            "Perplexity on Obama: "
            + ", ".join(f"{g.label} {cell(ratios[1], ratios[1].over(of))}"
                        for g, of in by_group(texts, POSITIONS).items()),
            "language_model",
        ),
        shown=OF_BOTH,
    )  # fmt: skip


def lengths_table(trials: Trials) -> Table:
    """Perplexity after the last iteration, by the length of the windows."""
    rows, data = [], {}
    for group, of in by_group(trials, POSITIONS).items():
        for ending, name in READINGS.items():
            quantities = [perplexity(f"{key}{ending}", who) for key, who in TEXTS.items()]
            cells, numbers = cells_of(quantities, of)
            if any(numbers):
                rows.append([group.label, name, *cells])
                data[f"{group.value}{ending}"] = numbers
    note = "Mean ± standard deviation over seeds, of the same tokens for every length."
    title = "Perplexity by the length of what is read"
    return Table("lengths", title, ["model", "windows", *TEXTS.values()], rows, note, data)


def places_table(trials: Trials) -> Table:
    """Perplexity by the place in a window, over all three texts."""
    bands = [f"{low}_{high}" for low, high in pairwise(BANDS)]
    rows, data = [], {}
    for group, of in by_group(trials, POSITIONS).items():
        for ending in READINGS:
            quantities = [
                Quantity(
                    band,
                    lambda t, end=f"{ending}_{band}": math.exp(
                        sum(number(t.records[-1].get(f"{key}{end}")) for key in TEXTS) / len(TEXTS)
                    ),
                    formats=(".1f", ".1f"),
                )
                for band in bands
            ]
            cells, numbers = cells_of(quantities, of)
            if any(numbers):
                rows.append([group.label, READINGS[ending], *cells])
                data[f"{group.value}{ending}"] = numbers
    heads = [f"{int(low) + 1} to {high}" for low, high in (band.split("_") for band in bands)]
    note = (
        "The columns are places in a window, each over the same tokens: what is gained by more of "
        "the text before. Geometric mean over the three texts."
    )
    title = "Perplexity by the place in a window"
    return Table("places", title, ["model", "windows", *heads], rows, note, data)


# --- what the seed says ---------------------------------------------------------------------------
def ratio(name: str) -> Quantity:
    return logarithm(LOSSES[name], name)


def longer(name: str, key: str) -> Quantity:
    """The log perplexity in windows of 128 tokens less that in windows of 32."""

    def of(trial: TrialRecord) -> float:
        last = trial.records[-1]
        return number(last.get(f"{key}_128")) - number(last.get(f"{key}_32"))

    return Quantity(f"log PPL {name}, 128 less 32 tokens", of)


CLAIMS = (
    Says("003, 3.1", "ALiBi leaves the test accuracy as it is",
         of_classifiers(paired(TEST, ALIBI, LEARNED).within(1.0))),
    *(
        Says("003, 3.1", f"ALiBi has the lower perplexity on {name}",
             of_language_models(paired(ratio(name), ALIBI, LEARNED) < 0))
        for name in LOSSES
    ),
    *(
        Says("003, 3.1", f"It is ALiBi that lowers it on {name}, not the lack of learned positions",
             of_language_models(paired(ratio(name), ALIBI, NONE) < 0))
        for name in LOSSES
    ),
    *(
        Says("003, 3.1", f"With ALiBi perplexity on {name} is the same in windows of 128 tokens",
             of_language_models(mean_of(longer(name, key), ALIBI).within(0.02)))
        for key, name in TEXTS.items()
    ),
)  # fmt: skip

TITLE = "Positions: learned, ALiBi, or none"
EXPERIMENT = Experiment("alibi", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
