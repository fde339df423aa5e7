"""Encoder-decoders that translate into Pig Latin, section 2.1 of seed 004: table 1, figures 3, 4.

    python -m experiments.attention.translation --data FOLDER --scale small
    python -m experiments.attention.translation --data FOLDER

The seed's four runs differ in more than sizes and data: in layers, batches, epochs and patience. So
four others differ in size and data only: three layers, batches of 64, 8,400 updates, and the same
words held out. A run that stops early is the beginning of one that does not, so all are trained to
their end, and what early stopping changes is read from the same records.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from experiments.attention import options
from experiments.attention.measures import (
    BEST_EPOCH,
    BY_CHARACTER,
    EPOCHS,
    EXACT,
    LEAST,
    by_rule,
    early,
    maps,
    mistakes,
    sentence,
)
from experiments.attention.seed import TABLE_1
from experiments.attention.translate import Translate
from experiments.results import trends
from experiments.results.claims import Says, decide, one_of, paired
from experiments.results.curves import Quantity, average, by_record
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell, cells_of
from experiments.results.trials import Having, Trials, finished, pairs, where
from experiments.sweep.experiment import Experiment, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES, DATA = (32, 64), ("small", "large")
PAIRS = [*product(SIZES, DATA)]
# the seed's runs; how many batches an epoch has depends on the split: at most 90 and 95
PROTOCOL = {
    (32, "small"): {"layers": 4, "batch_size": 64, "epochs": 100, "steps": 100 * 90},
    (32, "large"): {"layers": 3, "batch_size": 512, "epochs": 100, "steps": 100 * 95},
    (64, "small"): {"layers": 3, "batch_size": 64, "epochs": 50, "steps": 50 * 90},
    (64, "large"): {"layers": 3, "batch_size": 512, "epochs": 50, "steps": 50 * 95},
}
PATIENCE = {(32, "small"): 100, (32, "large"): 10, (64, "small"): 20, (64, "large"): 20}
RUNS = {
    (d, data): Having(f"{d}, {data}", {"d": d, "data": data, "validate": "own"})
    for d, data in PAIRS
}
EQUAL = {
    (d, data): Having(f"{d}, {data}", {"d": d, "data": data, "validate": "small"})
    for d, data in PAIRS
}
# of those that differ in one thing; 84 updates are an epoch of the small data
SHARED = {"layers": 3, "batch_size": 64, "epochs": 100, "every": 84, "steps": 8_400}
LEAST_PATIENCE = min(PATIENCE.values())


@dataclass(frozen=True)
class Options(options.Options):
    """Section 2.1: the seed's four encoder-decoders, and four that differ in one thing."""

    def trials(self) -> dict[str, Translate]:
        trials: dict[str, Translate] = {}
        for seed in self.seeds:
            for d, data in PAIRS:
                settings = {"seed": seed, "d": d, "data": data}
                name = f"{d}-{data}-seed{seed}"
                trials[name] = self.translate(**settings, **PROTOCOL[d, data])
                trials[f"equal-{name}"] = self.translate(**settings, **SHARED, validate="small")
        return trials


def results(trials: Trials) -> Results:
    ended = finished(trials)
    whole = {key: run.of(ended) for key, run in RUNS.items()}
    as_run = {key: [early(t, PATIENCE[key]) for t in of] for key, of in whole.items()}
    equal = [t for run in EQUAL.values() for t in run.of(ended)]
    stopped = [early(t, LEAST_PATIENCE) for t in equal]
    of_seed = {f"{RUNS[key].label}, as the seed": of for key, of in as_run.items() if of}
    others = {f"{run.label}, equal": of for run in EQUAL.values() if (of := run.of(equal))}
    least = "; ".join(
        f"{RUNS[key].label}: {cell(LEAST, LEAST.over(of))}" for key, of in as_run.items() if of
    )
    return Results(
        [
            table_1(as_run, whole),
            cells(equal, stopped),
            effects(equal, stopped),
            by_rule(of_seed | others),
            sentence(of_seed),
            mistakes("Hidden size 64, small data, first split", whole[64, "small"][:1]),
        ],
        [*figures(as_run, equal), *maps("Encoder-decoder", whole[64, "small"][:1])],
        [
            *decide(CLAIMS, [t for key, of in as_run.items() for t in where(of, **PROTOCOL[key])]),
            *decide(EQUAL_CLAIMS, where(equal, **SHARED)),
            *decide(STOPPED_CLAIMS, where(stopped, **SHARED)),
        ],
        Answer(f"Least validation loss: {least}", "table_1"),
        shown=("val_loss", "val_token_loss", "train_loss", "exact"),
    )


def figures(as_run: Mapping[tuple[int, str], Trials], equal: Trials) -> list[Drawing]:
    from experiments.results import bands  # matplotlib takes a second to import

    def drawn(panels: Mapping[str, Mapping[str, Trials]]) -> Figure:
        colors = ("#0072B2", "#D55E00")
        curves = {
            title: [
                bands.Curve(label, by_record(of, "val_loss"), color)
                for (label, of), color in zip(kinds.items(), colors, strict=True)
            ]
            for title, kinds in panels.items()
        }
        return bands.curves(curves, "epoch", "validation loss", log=True)

    sizes = {d: f"hidden size {d}" for d in SIZES}
    data = {n: f"{n} data" for n in DATA}
    by_data = {data[n]: {sizes[d]: as_run[d, n] for d in SIZES} for n in DATA}
    by_size = {sizes[d]: {data[n]: as_run[d, n] for n in DATA} for d in SIZES}
    of_equal = {data[n]: {sizes[d]: EQUAL[d, n].of(equal) for d in SIZES} for n in DATA}
    band = "Mean ± one standard deviation over splits as a band."
    captions = {
        "by_data": f"Figure 3: validation loss of the seed's four runs, by data set. {band}",
        "by_size": f"Figure 4: the same by hidden size. {band}",
        "equal": "Validation loss on the same words, of runs that differ in hidden size and data "
        f"only. An epoch is {SHARED['every']} updates of 64 words. {band}",
    }
    panels = zip(captions.items(), (by_data, by_size, of_equal), strict=True)
    return [Drawing(name, caption, drawn(of)) for (name, caption), of in panels]


def table_1(
    as_run: Mapping[tuple[int, str], Trials], whole: Mapping[tuple[int, str], Trials]
) -> Table:
    """A row a run of the seed."""
    rows, data = [], {}
    quantities = (LEAST, BY_CHARACTER, EXACT, BEST_EPOCH, EPOCHS)
    for key, trials in as_run.items():
        if trials:
            texts, numbers = cells_of(quantities, trials)
            on = LEAST.over(whole[key])
            rows.append(
                [RUNS[key].label, str(len(trials)), f"{TABLE_1[key]:.3f}", *texts, cell(LEAST, on)]
            )
            data[RUNS[key].label] = {"spreads": numbers, "without patience": on and on._asdict()}
    heads = ["hidden size, data", "splits", "seed 004", *(q.label for q in quantities)]
    note = (
        "The seed's four runs, mean ± standard deviation over splits. The validation loss is the "
        "mean over batches, as in the seed; by character, it is that of the same model over all "
        "characters. Exact: held-out words translated without a mistake at the end. Without "
        "patience: the least loss if the run goes on to its last epoch."
    )
    return Table(
        "table_1",
        "Table 1: least validation loss",
        [*heads, "without patience ↓"],
        rows,
        note,
        data,
    )


def cells(equal: Trials, stopped: Trials) -> Table:
    """A row for each size, data set, and whether it stops early."""
    rows, data = [], {}
    quantities = (LEAST, BY_CHARACTER, EXACT, EPOCHS)
    for patience, trials in ((str(LEAST_PATIENCE), stopped), ("none", equal)):
        for run in EQUAL.values():
            if of := run.of(trials):
                texts, numbers = cells_of(quantities, of)
                rows.append([run.label, patience, str(len(of)), *texts])
                data[f"{run.label}, patience {patience}"] = numbers
    heads = ["hidden size, data", "patience", "splits", *(q.label for q in quantities)]
    note = (
        f"Three layers, batches of 64, 8,400 updates, the same held-out words. Mean ± "
        f"standard deviation over splits. An epoch is {SHARED['every']} updates."
    )
    return Table("equal", "Runs that differ in one thing", heads, rows, note, data)


def effects(equal: Trials, stopped: Trials) -> Table:
    """A row a change of one thing: by how much it changes each number, split by split."""
    rows, data = [], {}
    quantities = (LEAST, BY_CHARACTER, EXACT)
    changes = [
        (f"64 instead of 32, {each} data", EQUAL[64, each], EQUAL[32, each]) for each in DATA
    ] + [(f"large instead of small data, {d}", EQUAL[d, "large"], EQUAL[d, "small"]) for d in SIZES]
    couples = {
        f"{name}, patience {patience}": pairs(trials, a, b)
        for patience, trials in (("none", equal), (LEAST_PATIENCE, stopped))
        for name, a, b in changes
    } | {
        f"patience {LEAST_PATIENCE} instead of none, {run.label}": [
            (early(t, LEAST_PATIENCE), t) for t in run.of(equal)
        ]
        for run in EQUAL.values()
    }
    for name, of in couples.items():
        if of:
            means = [trends.average([q.of(a) - q.of(b) for a, b in of]) for q in quantities]
            rows.append([name, str(len(of)), *map(str, means)])
            data[name] = [mean and mean.data() for mean in means]
    heads = ["", "splits", *(q.label for q in quantities)]
    note = "Differences in pairs of the same split: mean and 95 % interval."
    return Table("effects", "What one change does", heads, rows, note, data)


# --- what the seed says ---------------------------------------------------------------------------
SPEED = Quantity(
    "mean validation loss over training", lambda t: average(t, "val_loss"), -1, (".3f", ".3f")
)  # fmt: skip
QUESTION = "004, 2.1.4"


def by_size(runs: Mapping[tuple[int, str], Having], how: str = "") -> list[Says]:
    return [Says(QUESTION, f"64 is better than 32 on {data} data{how}",
                 paired(LEAST, runs[64, data], runs[32, data]) < 0) for data in DATA]  # fmt: skip


def by_data(runs: Mapping[tuple[int, str], Having], how: str = "") -> list[Says]:
    worse, better = (paired(LEAST, runs[d, "large"], runs[d, "small"]) for d in SIZES)
    return [
        Says(QUESTION, f"At 32 more data makes it worse{how}", worse > 0, "004.4"),
        Says(QUESTION, f"At 64 more data makes it better{how}", better < 0),
    ]


ALL_ELSE = ", all else equal"
CLAIMS = (
    *(Says(QUESTION, f"Least validation loss, hidden size {d}, {data} data: {value}",
           one_of(LEAST, RUNS[d, data], value)) for (d, data), value in TABLE_1.items()),
    *by_size(RUNS),
    *by_data(RUNS),
)  # fmt: skip
EQUAL_CLAIMS = (
    *by_size(EQUAL, ALL_ELSE),
    *(Says(QUESTION, f"64 learns faster than 32 on {data} data{ALL_ELSE}",
           paired(SPEED, EQUAL[64, data], EQUAL[32, data]) < 0) for data in DATA),
    *by_data(EQUAL, ALL_ELSE),
)  # fmt: skip
STOPPED_CLAIMS = by_data(EQUAL, f"{ALL_ELSE}, patience {LEAST_PATIENCE}")[:1]

TITLE = "Pig Latin: an encoder-decoder, by size and data"
EXPERIMENT = Experiment("translation", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
