"""Does ALiBi train faster? Seed 003, section 3.1: tables 4 and 5.

    python -m experiments.speeches.timing --data FOLDER --scale small
    python -m experiments.speeches.timing --data FOLDER

Five trainings of each model with learned positions, with ALiBi and without positions, which take
turns. Only training counts, and no measuring. One trial runs at a time: do nothing else on the
machine.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.results.claims import Says, decide, paired
from experiments.results.curves import Quantity, spread
from experiments.results.results import Answer, Results, Table
from experiments.results.tables import cell
from experiments.results.trials import Trials, by_group, finished
from experiments.speeches import options
from experiments.speeches.measures import (
    ALIBI,
    LEARNED,
    OF_BOTH,
    POSITIONS,
    as_the_seed,
    classifiers,
    language_models,
    of_classifiers,
    of_language_models,
)
from experiments.speeches.seed import SECONDS
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord
from experiments.train.trial import Trial

TIME = Quantity("seconds", lambda t: t.status["seconds"], -1, (".2f", ".2f"))
LOG_TIME = Quantity("log seconds", lambda t: math.log(TIME.of(t)))
Chosen = Callable[[Trials], list[TrialRecord]]
TABLES: dict[str, tuple[str, Chosen]] = {
    "classifier": ("Table 4: the classifier", classifiers),
    "language model": ("Table 5: the language model", language_models),
}


@dataclass(frozen=True)
class Options(options.Options):
    """Section 3.1: the time of training with learned positions, ALiBi and no positions. Whatever
    --launcher says, trials run here, one after the other."""

    seeds: tuple[int, ...] = tuple(range(5))
    """One training of each kind a seed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "launcher", "here")  # the options are frozen
        super().__post_init__()

    def trials(self) -> dict[str, Trial]:
        trials: dict[str, Trial] = {}
        for seed in self.seeds:
            for group in POSITIONS:
                name, settings = f"{group.value}-seed{seed}", {"positions": group.value}
                trials[f"classifier-{name}"] = self.classify(seed=seed, **settings)
                # measured at the beginning and the end
                last = self.predict(seed=seed).steps
                predict = self.predict(seed=seed, every=last, **settings)
                trials[f"language_model-{name}"] = predict
        return trials


def results(trials: Trials) -> Results:
    ended = finished(trials)
    tables = [table(kind, title, of(ended)) for kind, (title, of) in TABLES.items()]
    means = {
        kind: [f"{g.label} {cell(TIME, TIME.over(found))} s"
               for g, found in by_group(of(ended), POSITIONS).items()]
        for kind, (_, of) in TABLES.items()
    }  # fmt: skip
    text = "; ".join(f"{kind}: {', '.join(each)}" for kind, each in means.items())
    claims = decide(CLAIMS, as_the_seed(ended))
    return Results(tables, [], claims, Answer(text, "classifier"), shown=OF_BOTH)


def table(kind: str, title: str, trials: Sequence[TrialRecord]) -> Table:
    """A row a seed, and the means; ours, and the seed's two columns."""
    ours = {
        group.label: {t.settings["seed"]: TIME.of(t) for t in of}
        for group, of in by_group(trials, POSITIONS).items()
    }
    theirs = dict(zip((LEARNED.label, ALIBI.label), SECONDS[kind], strict=True))
    rows = []
    for n, seed in enumerate(sorted({t.settings["seed"] for t in trials})):
        times = [f"{of[seed]:.2f}" if seed in of else "" for of in ours.values()]
        beside = [f"{of[n]:.2f}" if n < len(of) else "" for of in theirs.values()]
        rows.append([str(seed), *times, *beside])
    if rows:
        spreads = [spread(list(of.values())) for of in [*ours.values()]]
        spreads += [spread(list(of)) for of in theirs.values()]
        rows.append(["mean ± std", *(cell(TIME, each) for each in spreads)])
    heads = ["seed", *ours, *(f"003: {label}" for label in theirs)]
    note = (
        "Seconds of training, without measuring. The trials of a seed run one after the other, so "
        "that a drift of the machine meets all kinds. The seed does not say on what it ran."
    )
    name = kind.replace(" ", "_")
    return Table(name, title, heads, rows, note, {"ours": ours})


def faster(kind: str) -> str:
    """How much less time the seed's five timings say."""
    learned, alibi = (sum(times) for times in SECONDS[kind])
    return f"in {1 - alibi / learned:.1%} less time"


CLAIMS = (
    Says("003, 3.1", f"ALiBi trains the classifier {faster('classifier')}",
         of_classifiers(paired(LOG_TIME, ALIBI, LEARNED) < 0)),
    Says("003, 3.1", f"ALiBi trains the language model {faster('language model')}",
         of_language_models(paired(LOG_TIME, ALIBI, LEARNED) < 0)),
)  # fmt: skip

TITLE = "The time of training with learned positions, ALiBi, or none"
EXPERIMENT = Experiment("timing", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
