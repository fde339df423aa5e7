"""The twelve language models of seed 002: tables 1 and 2, and all curves.

    python -m experiments.wikitext.comparison --data FOLDER --scale small
    python -m experiments.wikitext.comparison --data FOLDER --scale reduced --launcher processes
    python -m experiments.wikitext.comparison --data FOLDER --device cuda

LSTMs and GPTs of one layer with Adam, AdamW, SGD and momentum, and of two and four with AdamW. All
perplexities are over tokens; the seed's carry an error of their program, without which they are
given beside ours. N-grams of the same training text show what a perplexity is worth.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from experiments.results.claims import (
    Finding,
    Says,
    Test,
    by_share,
    fact,
    one_of,
    paired,
)
from experiments.results.curves import Quantity, Spread, number
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell, cells_of
from experiments.results.trials import Having, Trials, finished
from experiments.sweep.experiment import Experiment, main
from experiments.train import records
from experiments.train.records import TrialRecord
from experiments.train.trial import waited
from experiments.wikitext import options
from experiments.wikitext.measures import (
    EPOCH,
    LAST_VAL,
    LEARNT,
    LOG_TRAIN,
    LOG_VAL,
    NAMES,
    RISE,
    SECONDS,
    SHOWN,
    TEST,
    TRAIN,
    VAL,
    as_the_seed,
    below,
    decided,
    exp,
    full,
    run,
)
from experiments.wikitext.seed import RUNS, TRAIN_SHARE, VAL_SHARE, corrected
from experiments.wikitext.task import LEARNT_CHUNKS, YARDSTICKS, LanguageModel
from minigrad import nn
from models import count

CLOSE = (1, 2, 5, 6)  # whose perplexities differ by 1 % or less in the seed
GROUPS: dict[int, Having] = {n: run(n) for n in RUNS}


@dataclass(frozen=True)
class Options(options.Options):
    """Problem 3: twelve language models on WikiText-2."""

    runs: tuple[int, ...] = tuple(RUNS)
    """Which of the twelve, by the seed's numbers."""
    more_seeds: tuple[int, ...] = (1,)
    """Seeds besides of the models of one layer with Adam and AdamW, which differ little."""

    def __post_init__(self) -> None:
        if unknown := [n for n in self.runs if n not in RUNS]:
            raise ValueError(f"--runs: expected some of 1 to {len(RUNS)}, got {unknown[0]}")
        super().__post_init__()

    def trials(self) -> dict[str, LanguageModel]:
        return dict(
            self.of_seed(n, seed)
            for seed in dict.fromkeys((*self.seeds, *self.more_seeds))
            for n in RUNS
            if n in self.runs and (seed in self.seeds or n in CLOSE)
        )


def results(trials: Trials) -> Results:
    from experiments.wikitext import figures

    ended, levels = finished(trials), yardsticks(trials)
    panels = {f"{n}: {group.label}": group.of(ended) for n, group in GROUPS.items()}
    lines = (
        "Dotted across: what n-grams with Kneser-Ney smoothing reach on the same validation text."
        if levels else ""
    )  # fmt: skip
    caption = "Perplexity of the twelve, training during an epoch and validation after it, against"
    axes = {"epoch": figures.epochs, "minutes of training": figures.minutes}
    best = {
        kind: min((s for n, s in means(VAL, ended).items() if RUNS[n].model == kind), default=None)
        for kind in ("lstm", "gpt")
    }
    return Results(
        [table_1(ended), table_2(ended), table_4(ended)],
        [
            Drawing("epochs", f"{caption} epochs. {lines}",
                    figures.grid(panels, levels, figures.epochs, "epoch")),
            Drawing("minutes", f"{caption} minutes of training. {lines}",
                    figures.grid(panels, levels, figures.minutes, "minutes of training")),
            Drawing("together", f"Validation perplexity of all. {lines}",
                    figures.together(panels, levels, axes)),
        ],
        decided(CLAIMS, as_the_seed(ended)),
        Answer("Least validation perplexity: LSTM " + cell(VAL, best["lstm"]) + ", GPT "
               + cell(VAL, best["gpt"]), "best"),
        shown=SHOWN,
    )  # fmt: skip


def means(quantity: Quantity, trials: Trials) -> dict[int, Spread]:
    """Those of the experiments that were run."""
    spreads = {n: quantity.over(group.of(trials)) for n, group in GROUPS.items()}
    return {n: each for n, each in spreads.items() if each is not None}


def yardsticks(trials: Trials) -> dict[str, float]:
    """Validation perplexities of n-grams, by name, as the trials have left them."""
    paths = (trial.folder / YARDSTICKS for trial in trials)
    path = next((path for path in paths if path.exists()), None)
    return {} if path is None else records.read_json(path, dict)


# --- the seed's tables ----------------------------------------------------------------------------
def printed(trial: TrialRecord) -> float:
    """What the seed's program would print for the validation perplexity; NaN at another scale."""
    whole = full([trial]) and trial.settings["batch_size"] == LanguageModel.batch_size
    return VAL.of(trial) ** VAL_SHARE if whole else math.nan


PRINTED = Quantity("as its program prints it", printed, -1, (".1f", ".1f"))
QUANTITIES = (VAL, TRAIN, EPOCH, LEARNT, TEST, PRINTED)


def table_1(trials: Trials) -> Table:
    """In the order of the seed's table; the best of each architecture in bold."""
    known = means(VAL, trials)
    of_kind = [[n for n in known if RUNS[n].model == kind] for kind in ("lstm", "gpt")]
    best = {min(each, key=lambda n: known[n].mean) for each in of_kind if each}
    order = sorted(RUNS, key=lambda n: (RUNS[n].model, RUNS[n].layers, RUNS[n].optimizer))
    rows, data = [], {}
    for n in order:
        theirs = RUNS[n]
        ours, numbers = cells_of(QUANTITIES, GROUPS[n].of(trials))
        right = (
            corrected(theirs.val, VAL_SHARE), theirs.val, corrected(theirs.train, TRAIN_SHARE)
        )  # fmt: skip
        cells = [str(n), GROUPS[n].label, *ours, *(f"{x:.1f}" for x in right), str(theirs.epoch)]
        rows.append([f"**{c}**" if n in best and c else c for c in cells])
        data[str(n)] = {q.name: x for q, x in zip(QUANTITIES, numbers, strict=True)}
    theirs = ("002: validation", "002: as printed", "002: training", "002: epoch")
    heads = ["no.", "model", *(q.label for q in QUANTITIES), *theirs]
    note = (
        "Perplexities at the epoch with the least validation perplexity, epochs from 0; mean ± "
        "standard deviation over seeds. Training: over the epoch, of models that still change; "
        f"afterwards: of the model at its end, on {LEARNT_CHUNKS} chunks of the text. All are over "
        "tokens, but for those that the seed's program would print or has printed, whose "
        "logarithms it shrinks (erratum 002.6). Bold: the best of its architecture."
    )
    return Table("best", "Table 1: the least validation perplexity", heads, rows, note, data)


def table_4(trials: Trials) -> Table:
    """Question 4: means over the models of one layer."""
    rows, data = [], {}
    for optimizer in ("adam", "adamw", "sgd", "momentum"):
        of = [n for n, r in RUNS.items() if r.optimizer == optimizer and r.layers == 1]
        chosen = [t for n in of for t in GROUPS[n].of(trials)]
        ours, numbers = cells_of((SECONDS, VAL), chosen)
        theirs = [sum(getattr(RUNS[n], name) for n in of) / len(of) for name in ("seconds", "val")]
        rows.append([NAMES.get(optimizer, optimizer), *ours, *(f"{x:,.2f}" for x in theirs)])
        data[optimizer] = dict(zip(("seconds", "validation"), numbers, strict=True))
    heads = ["optimizer", SECONDS.label, VAL.label, "002: seconds", "002: validation, as printed"]
    note = "Mean ± standard deviation over the LSTM and the GPT of one layer, and over seeds."
    return Table("optimizers", "Question 4: the optimizers", heads, rows, note, data)


def table_2(trials: Trials) -> Table:
    """Sorted by our time, or where there is none by the seed's."""
    times = means(SECONDS, trials)
    order = sorted(RUNS, key=lambda n: (times[n].mean if n in times else math.inf, RUNS[n].seconds))
    rows = []
    for n in order:
        ours, _ = cells_of((SECONDS, VAL), GROUPS[n].of(trials))
        rows.append([str(n), GROUPS[n].label, *ours, f"{RUNS[n].seconds:.1f}"])
    heads = ["no.", "model", "seconds", VAL.label, "002: seconds"]
    note = (
        "Seconds of training without measuring, of runs that shared a machine with others: `cost` "
        "compares times. The seed's are a V100's."
    )
    data = {str(n): each._asdict() for n, each in times.items()}
    return Table("time", "Table 2: the time of training", heads, rows, note, data)


# --- what the seed says ---------------------------------------------------------------------------
def at_full_scale(test: Test) -> Test:
    """A test of a number of the seed: of trials with its sizes only."""
    return lambda trials: test(full(trials))


PATIENCE = 2  # epochs


def used(trial: TrialRecord) -> float:
    """The share of its time that a trial takes with early stopping; 1 if that misses its best."""
    after = trial.records[1:]
    ends = (n for n in range(1, len(after)) if waited(after[:n], "val_loss", PATIENCE))
    end = next(ends, len(after))
    missed = min(r["val_loss"] for r in after) < min(r["val_loss"] for r in after[:end])
    return 1.0 if missed else end / len(after)


USED = Quantity("share of the time", used)
LAST_GAIN = Quantity(
    "gain", lambda t: number(t.records[-2]["val_loss"]) - number(t.records[-1]["val_loss"])
)
GAP = Quantity(
    "gap", lambda t: number(t.records[-1]["val_loss"]) - number(t.records[-1]["learnt_loss"])
)


def counted(n: int, of: Quantity, holds: Callable[[float], bool], words: str, show: str) -> Test:
    """Whether something holds for a quantity in most of the trials of experiment n."""

    def test(trials: Trials) -> Finding:
        values = [of.of(trial) for trial in GROUPS[n].of(trials)]
        if not values:
            return Finding()
        listed = ", ".join(f"{value:{show}}" for value in values)
        return Finding(f"{words}: {listed}", by_share([holds(value) for value in values]))

    return test


def best_epoch(n: int, holds: Callable[[float], bool]) -> Test:
    return counted(n, EPOCH, holds, "best epoch, from 0", "g")


def rises(n: int, does: bool = True) -> Test:
    """Whether validation perplexity is 1 % above its least at the end, or that it is not."""
    words = "its logarithm is at last above its least by"
    return counted(n, RISE, lambda r: (r > 0.01) is does, words, ".3f")


def stopped_early(n: int) -> Test:
    words = (
        f"with {PATIENCE} epochs of patience it takes, of the time of all (halved: at most 60 %)"
    )
    return counted(n, USED, lambda u: u <= 0.6, words, ".0%")


def lower_than_training(n: int) -> Test:
    """Whether validation perplexity is below that of the same model on training text."""
    words = "at the end, log PPL on validation less that on training text"
    return counted(n, GAP, lambda gap: gap < 0, words, "+.3f")


def beyond(group: Having, name: str) -> Test:
    """Whether the last validation perplexity is below that of an n-gram, in all seeds."""

    def test(trials: Trials) -> Finding:
        of, levels = group.of(trials), yardsticks(trials)
        if not of or name not in levels:
            return Finding()
        return below([exp(LAST_VAL.of(trial)) for trial in of], levels[name], name)

    return test


def better(a: int, b: int) -> Test:
    return paired(LOG_VAL, GROUPS[a], GROUPS[b]) < 0


ATTENTION = nn.MultiHeadAttention(768, 12).count_parameters()
CLAIMS = (
    *(
        Says("002, table 1", f"{GROUPS[n].label}: validation perplexity {r.val:.1f}, or "
             f"{corrected(r.val, VAL_SHARE):.1f} without the error of its program",
             at_full_scale(one_of(VAL, GROUPS[n], corrected(r.val, VAL_SHARE))), "002.6")
        for n, r in RUNS.items()
    ),
    Says("002, question 4", "LSTM: AdamW is slightly worse than Adam", better(1, 2), "002.4"),
    Says("002, question 4", "GPT: AdamW is slightly better than Adam", better(6, 5), "002.4"),
    *(
        Says("beyond 002", f"{kind}: Adam and AdamW differ by less than 1 %",
             paired(LOG_VAL, GROUPS[a], GROUPS[b]).within(0.01), "002.4")
        for kind, a, b in (("LSTM", 1, 2), ("GPT", 5, 6))
    ),
    *(
        Says("002, question 4", f"{kind}: {first} is better than {second}", better(a, b))
        for kind, first, second, a, b in (
            ("LSTM", "momentum", "SGD", 4, 3), ("LSTM", "Adam", "momentum", 1, 4),
            ("GPT", "momentum", "SGD", 8, 7), ("GPT", "Adam", "momentum", 5, 8),
        )
    ),
    Says("002, question 5", "With Adam, the LSTM is slightly better than the GPT", better(1, 5)),
    Says("002, question 5", "With Adam, the GPT is best after half of the epochs",
         best_epoch(5, lambda e: e <= 4)),
    Says("002, question 5", "then it overfits: validation perplexity rises",
         rises(5)),
    Says("002, question 5", "With Adam, the LSTM is best after the last epoch",
         best_epoch(1, lambda e: e == 9)),
    Says("002, question 5", "and does not overfit", rises(1, does=False)),
    Says("002, question 5", "Early stopping halves the time of the GPT", stopped_early(5)),
    Says("002, table 1", "Of the LSTMs with AdamW, two layers are better than one", better(9, 2)),
    Says("002, table 1", "four layers are worse than one", better(2, 10)),
    Says("002, question 6", "More layers make the GPT worse: two than one", better(6, 11)),
    Says("002, question 6", "More layers make the GPT worse: four than two", better(11, 12)),
    Says("002, question 8", "The GPT of four layers learns from the training text: it gets further "
         "than the frequencies of tokens", beyond(GROUPS[12], "unigram"), "002.2"),
    Says("beyond 002", "The GPT of two layers gets further than pairs of tokens",
         beyond(GROUPS[11], "bigram"), "002.2"),
    Says("002, question 8", "The GPT of four layers does better on validation than on training "
         "text", lower_than_training(12), "002.3"),
    Says("002, question 8", "Of the LSTMs, four layers fit the training text better than two",
         paired(LOG_TRAIN, GROUPS[10], GROUPS[9]) < 0, "002.5"),
    Says("002, question 8", "The GPT of four layers still improves in the last epoch, by 1 %",
         counted(12, LAST_GAIN, lambda gain: gain > 0.01, "its logarithm falls by", "+.3f"),
         "002.2"),
    Says("002, question 8", "The GPT of one layer overfits: validation perplexity rises", rises(6)),
    Says("002, question 8", "With one layer, the GPT overfits sooner than the LSTM",
         paired(EPOCH, GROUPS[6], GROUPS[2]) < 0),
    Says("002, question 8", "Four layers delay the overfitting of the LSTM against two",
         paired(EPOCH, GROUPS[10], GROUPS[9]) > 0),
    Says("002, problem 2", "Attention has 4 ((heads · size)² + heads · size) parameters",
         fact(f"{ATTENTION:,} with 12 heads of 64; the formula gives {count.attention(768):,}",
              count.attention(768) == ATTENTION)),
    Says("002, question 8", "The LSTM of two layers overfits: validation perplexity rises",
         rises(9)),
)  # fmt: skip


TITLE = "Twelve language models on WikiText-2"
EXPERIMENT = Experiment("comparison", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
