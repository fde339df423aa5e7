"""The language model of seed 003, section 2: tables 2 and 3, figures 4 and 5.

    python -m experiments.speeches.language_model --data FOLDER --scale small
    python -m experiments.speeches.language_model --data FOLDER

500 batches, with feed-forward parts 256 and 100 wide; perplexity on the training text and on a test
text of each speaker, over random batches as in the assignment and over whole texts. And the wider
one with dropout, which the seed mentions for its classifier only, though both share their blocks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from experiments.results.claims import Says, decide, one_of, paired
from experiments.results.curves import by_record, spread
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell, spread_table
from experiments.results.trials import Group, Trials, by_group, finished, where
from experiments.speeches import options
from experiments.speeches.measures import (
    OF_LANGUAGE_MODELS,
    TEXTS,
    as_the_seed,
    exp,
    logarithm,
    perplexity,
)
from experiments.speeches.seed import TABLES_2_3
from experiments.speeches.task import Predict
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord

HIDDEN = WIDE, NARROW = (
    Group("hidden", 256, "256 wide", "#0072B2", "#56B4E9"),
    Group("hidden", 100, "100 wide", "#D55E00", "#E69F00"),
)
DROPOUTS = (
    Group("dropout", 0.0, "none", "#0072B2", "#56B4E9"),
    Group("dropout", 0.2, "0.2", "#009E73", "#5FD3B0"),
)
# columns of the seed's tables -> keys of the same losses in our records
SAMPLED = {"train": "train_loss"} | {name: f"{key}_sampled" for key, name in TEXTS.items()}
COLUMNS = {name: perplexity(key, name) for name, key in SAMPLED.items()}
WHOLE = [perplexity(f"{key}_loss", f"{name}, whole") for key, name in TEXTS.items()]
FIRST = [perplexity(f"{key}_first", f"{name}, first 200 batches") for key, name in TEXTS.items()]
KNOWN = [perplexity(f"{key}_known", f"{name}, known words") for key, name in TEXTS.items()]
COLORS = dict(zip(SAMPLED, ("#000000", "#0072B2", "#D55E00", "#009E73"), strict=True))


@dataclass(frozen=True)
class Options(options.Options):
    """Section 2: the language model with two widths of its feed-forward part, and dropout."""

    def trials(self) -> dict[str, Predict]:
        trials: dict[str, Predict] = {}
        for seed in self.seeds:
            for group in HIDDEN:
                settings = {"seed": seed, "hidden": group.value}
                trials[f"hidden{group.value}-seed{seed}"] = self.predict(**settings)
            trials[f"dropout0.2-seed{seed}"] = self.predict(
                seed=seed, hidden=WIDE.value, dropout=0.2
            )
        return trials


def results(trials: Trials) -> Results:
    from experiments.results import bands

    with_dropout, trials = trials, where(trials, dropout=0.0)
    ended = finished(trials)
    tables = [
        iterations(f"hidden{g.value}", f"Table {n}: feed-forward part {g.label}", of)
        for n, (g, of) in enumerate(by_group(ended, HIDDEN).items(), 2)
    ]
    note = (
        "After the last iteration, mean ± standard deviation over seeds. Whole: all windows of a "
        "text instead of 200 random batches. First 200 batches: those that a loader which does not "
        "shuffle gives. Known words: of all windows the tokens in the vocabulary."
    )
    title = "On whole texts, and on the words that the model knows"
    tables.append(
        spread_table("whole", title, trials, HIDDEN, {}, [*WHOLE, *FIRST, *KNOWN], note=note)
    )
    title = "256 wide, with dropout: 200 random batches"
    wide = WIDE.of(with_dropout)
    tables.append(spread_table("dropout", title, wide, DROPOUTS, {}, [*COLUMNS.values()]))
    every = trials[0].settings["every"]
    panels = {
        group.label: [
            bands.Curve(name, by_record(of, key, exp), COLORS[name], theirs(of, i))
            for i, (name, key) in enumerate(SAMPLED.items())
        ]
        for group, of in by_group(trials, HIDDEN).items()
    }
    caption = (
        "Perplexity on the text learnt from and on the three tests, mean ± one standard deviation "
        "over seeds as a band, beside tables 2 and 3 of the seed (dashed)."
    )
    figure = bands.curves(panels, "iteration", "perplexity", every=every, log=True)
    last = ", ".join(f"{n} {cell(q, q.over(WIDE.of(ended)))}" for n, q in COLUMNS.items())
    return Results(
        tables,
        [Drawing("perplexity", caption, figure)],
        decide(CLAIMS, as_the_seed(ended)),
        Answer(f"Perplexity, 256 wide: {last}", "hidden256"),
        shown=OF_LANGUAGE_MODELS,
    )


def theirs(trials: list[TrialRecord], column: int) -> list[float]:
    """A column of the seed's table, whose rows are 100 iterations apart; none beside others."""
    settings = trials[0].settings
    rows = TABLES_2_3[settings["hidden"]] if settings["every"] == Predict.every else ()
    return [row[column] for row in rows]


def iterations(name: str, title: str, trials: list[TrialRecord]) -> Table:
    """A table of the seed: our mean ± std over seeds, and the numbers of the seed in brackets."""
    columns, data = [], {}
    for i, (head, key) in enumerate(SAMPLED.items()):
        spreads = [spread(values) for values in by_record(trials, key, exp)]
        beside = [*(f" [{value:.1f}]" for value in theirs(trials, i)), *[""] * len(spreads)]
        cells = zip((cell(COLUMNS[head], s) for s in spreads), beside, strict=False)
        columns.append([a + b for a, b in cells])
        data[head] = [s._asdict() for s in spreads]
    steps = [str(r["step"]) for r in trials[0].records[1:]]
    rows = [list(cells) for cells in zip(steps, *columns, strict=False)]
    note = f"Perplexity, mean ± standard deviation over {len(trials)} seeds [seed 003, one run]."
    return Table(name, title, ["iteration", *SAMPLED], rows, note, data)


CLAIMS = (
    *(
        Says("003, 2", f"256 wide is better than 100 on {name}",
             paired(logarithm(key, name), WIDE, NARROW) < 0)
        for name, key in SAMPLED.items()
    ),
    *(
        Says("003, 2", f"Perplexity {group.label} on {name} at last: {value:.1f}",
             one_of(COLUMNS[name], group, value))
        for group in HIDDEN
        for name, value in zip(SAMPLED, TABLES_2_3[group.value][-1], strict=True)
    ),
)  # fmt: skip

TITLE = "What word comes next: a language model of presidents"
EXPERIMENT = Experiment("language_model", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
