"""How much data is enough? Question 4.3 of seeds 000 and 001: the fraction r used for training.

    python -m experiments.grokking.data_size                # the whole experiment
    python -m experiments.grokking.data_size --scale small  # shows that everything works
    python -m experiments.grokking.data_size --resume       # go on, or make results again

LSTM and GPT learn a + b mod 31 from a fraction r = .1 ... .9 of all sums. Figures: loss and
accuracy against the step, coloured by r (4.3 a), and best values with the steps at which they were
reached against r (4.3 b). Tables: these numbers, and between which fractions a model turns from
one that learns by heart to one that generalises (4.3 d). Claims: what both seeds say of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from experiments.grokking.options import Options, summary
from experiments.grokking.task import Grokking
from experiments.results.groups import (
    LABELS,
    accuracy,
    by_model,
    comparable,
    finished,
    grouped,
    log_loss,
    number,
    rough_loss,
    roughness,
)
from experiments.results.results import Claim, Drawing, Results, Table, Verdict
from experiments.results.tables import best_table
from experiments.results.trends import average, difference, slope, together, verdict
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GENERALIZES = 0.9  # least A_val of a model that has generalised, question 4.3 (d)
FITS = 0.99  # least A_train of a model that has learnt its training set: "A_train ~ 1"
FAILS = 0.5  # greatest A_val of one that has done no more


@dataclass(frozen=True)
class DataSize(Options):
    """The sweep over the fraction used for training."""

    fractions: tuple[float, ...] | None = None
    """Fractions r of all sums to train on; the others validate. If not given .1 ... .9."""

    def trials(self) -> dict[str, Grokking]:
        fractions = self.fractions or self.pick(FRACTIONS, (0.3, 0.6, 0.9))
        p = self.pick(Grokking.p, 11)
        check_different("fractions", fractions)
        for r in fractions:
            if not 0 < r < 1 or not 0 < round(r * p**2) < p**2:
                raise ValueError(
                    f"--fractions: expected 0 < r < 1, with sums left on both sides, got {r:g}"
                )
        return {
            f"{model}-r{r:g}-seed{seed}": self.trial(model=model, seed=seed, p=p, r_train=r)
            for seed in self.seeds
            for r in sorted(fractions, key=lambda r: abs(r - 0.5))  # near .5 it is decided
            for model in self.models
        }


def results(trials: Sequence[TrialRecord]) -> Results:
    return Results(
        tables=[best_table("best", trials, {"r_train": "r"}), thresholds_table(trials)],
        drawings=drawings(trials),
        claims=claims(comparable(trials, "r_train")),
    )


def drawings(trials: Sequence[TrialRecord]) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    setting = panels.Setting("r_train", "fraction used for training, r")
    found = [
        Drawing(
            f"curves_{model}",
            f"{LABELS[model]}: loss and accuracy against the training step, coloured by the "
            f"fraction r used for training (question 4.3 a).",
            panels.curves(of_model, setting, title=LABELS[model]),
        )
        for model, of_model in by_model(trials).items()
    ]
    if ended := finished(trials):
        lines = panels.lines_of_models(ended, "r_train")
        found.append(
            Drawing(
                "best",
                "Best values, and the first steps at which they were reached, against the fraction "
                "used for training (question 4.3 b).",
                panels.best_against(lines, setting, title=panels.shared(ended)),
            )
        )
    return found


# --- where generalisation begins ------------------------------------------------------------------
def generalizes(trial: TrialRecord) -> bool:
    return number(trial, "A_val") >= GENERALIZES


def overfits(trial: TrialRecord) -> bool:
    return number(trial, "A_train") >= FITS and number(trial, "A_val") <= FAILS


class Threshold(NamedTuple):
    """The fraction asked for in 4.3 (d), of one model and seed.

    r:    None if no trial is so.
    of:   the fractions that were looked at.
    """

    r: float | None
    of: tuple[float, ...]


def thresholds(
    trials: Sequence[TrialRecord],
    holds: Callable[[TrialRecord], bool],
    choose: Callable[[Sequence[float]], float],
) -> dict[int, Threshold]:
    """By seed, the smallest (choose=min) or the largest (max) r of the trials of which it holds."""
    found: dict[int, Threshold] = {}
    for seed, of_seed in grouped(trials, "seed").items():
        so = [t.settings["r_train"] for t in of_seed if holds(t)]
        looked_at = tuple(sorted(t.settings["r_train"] for t in of_seed))
        found[seed] = Threshold(choose(so) if so else None, looked_at)
    return found


QUESTIONS = (
    ("generalises", f"smallest r with A_val ≥ {GENERALIZES}", generalizes, min),
    ("overfits", f"largest r with A_train ≥ {FITS} and A_val ≤ {FAILS}", overfits, max),
)


def thresholds_table(trials: Sequence[TrialRecord]) -> Table:
    rows, data = [], []
    for model, of_model in by_model(finished(trials)).items():
        for name, what, holds, choose in QUESTIONS:
            for seed, (r, of) in thresholds(of_model, holds, choose).items():
                looked_at = ", ".join(f"{each:g}" for each in of)
                rows.append([LABELS[model], what, str(seed), of_r(r), looked_at])
                data.append({"model": model, "what": name, "seed": seed, "r": r, "of": list(of)})
    return Table(
        "thresholds",
        "Where generalisation begins",
        ["model", "what", "seed", "r", "among"],
        rows,
        note="Question 4.3 (d), answered for each seed; “none” if no trial is so.",
        data={"rows": data},
    )


def of_r(r: float | None) -> str:
    return "none" if r is None else f"{r:g}"


# --- what the seeds say ---------------------------------------------------------------------------
def claims(trials: Sequence[TrialRecord]) -> list[Claim]:
    """trials: those that ran as the seeds' did."""
    return [
        close_at_most_fractions(trials),
        *(better_at(trials, *said) for said in PAIRED[:2]),
        both_perfect(trials),
        *(threshold_claim(trials, *said) for said in THRESHOLDS[:2]),
        scales_better(trials),
        *(better_at(trials, *said) for said in PAIRED[2:]),
        *(threshold_claim(trials, *said) for said in THRESHOLDS[2:]),
        thresholds_near(trials),
        noise(trials),
    ]


def paired(
    trials: Sequence[TrialRecord], fractions: Sequence[float], f: Callable[[TrialRecord], float]
) -> list[float]:
    """f(LSTM) - f(GPT) of trials with the same r and seed; empty if a fraction has no pair."""
    found: list[float] = []
    for r in fractions:
        at = {(t.settings["model"], t.settings["seed"]): t for t in of_fraction(trials, r)}
        seeds = {s for m, s in at if m == "lstm"} & {s for m, s in at if m == "gpt"}
        if not seeds:
            return []
        found += [f(at["lstm", s]) - f(at["gpt", s]) for s in sorted(seeds)]
    return found


def of_fraction(trials: Sequence[TrialRecord], r: float) -> list[TrialRecord]:
    return [t for t in trials if t.settings["r_train"] == r]


def rough_accuracy(trial: TrialRecord) -> float:
    return roughness(trial, "val_accuracy")


ROUGH = "mean absolute change of {} from one evaluation to the next in the second half, LSTM - GPT"
PAIRED = (  # source, what it says, fractions, f, words for its difference, direction LSTM - GPT
    (
        "000, 4.3 (c)", "L_val: for r = .7, .8, .9 LSTM is better",
        (0.7, 0.8, 0.9), log_loss, "log10 L_val, LSTM - GPT", -1,
    ),
    (
        "000, 4.3 (c)", "A_val: for r from .1 to .4 LSTM generalises better",
        (0.1, 0.2, 0.3, 0.4), accuracy, "A_val, LSTM - GPT", 1,
    ),
    (
        "001, 4.3 (c)", "A_val: GPT is better at small fractions, it needs less data",
        (0.1, 0.2, 0.3, 0.4), accuracy, "A_val, LSTM - GPT", -1,
    ),
    (
        "001, 4.3 (c)", "Curves of LSTM are less unstable",
        FRACTIONS, rough_loss, ROUGH.format("log10 of validation loss"), -1,
    ),
    (
        "001, 4.3 (c)", "A_val(t) of GPT is unstable",
        FRACTIONS, rough_accuracy, ROUGH.format("validation accuracy"), -1,
    ),
)  # fmt: skip


def better_at(
    trials: Sequence[TrialRecord],
    source: str,
    said: str,
    fractions: Sequence[float],
    f: Callable[[TrialRecord], float],
    words: str,
    direction: int,
) -> Claim:
    """A claim that one model has more of f than the other, by pairs of trials."""
    trend = average(paired(trials, fractions, f))
    ours = f"{words}, mean of {trend.n} pairs: {trend}" if trend else ""
    return Claim(source, said, ours, verdict(trend, direction))


def close_at_most_fractions(trials: Sequence[TrialRecord]) -> Claim:
    source, said = "000, 4.3 (c)", "L_val: LSTM and GPT are close for most r"
    gaps = [average(paired(trials, [r], log_loss)) for r in FRACTIONS]
    if None in gaps:
        return Claim(source, said, "", "not run")
    near = [r for r, gap in zip(FRACTIONS, gaps, strict=True) if gap and abs(gap.value) <= 0.301]
    ours = f"within a factor of 2 at {len(near)} of {len(FRACTIONS)} fractions: " + (
        ", ".join(f"{r:g}" for r in near) or "none"
    )
    return Claim(source, said, ours, "agrees" if len(near) > len(FRACTIONS) / 2 else "differs")


def both_perfect(trials: Sequence[TrialRecord]) -> Claim:
    """Perfect as in the seed's own table, where one of two trials is wrong once in 481."""
    at = by_model(of_fraction(trials, 0.5))
    ours = "; ".join(
        f"{LABELS[model]} " + ", ".join(f"{accuracy(t):.4f}" for t in group)
        for model, group in at.items()
    )
    every: Verdict = "not run"
    if len(at) == 2:
        perfect = [accuracy(t) >= 0.997 for group in at.values() for t in group]
        every = "agrees" if all(perfect) else "undecided" if any(perfect) else "differs"
    return Claim("000, 4.3 (c)", "At r = .5 both have perfect A_val", ours, every)


THRESHOLDS = (  # source, what it says, which question, the r of each model
    (
        "000, 4.3 (d)", "The smallest r with A_val > .9 is .5",
        QUESTIONS[0], {"lstm": 0.5, "gpt": 0.5},
    ),
    (
        "000, 4.3 (d)", "The largest r that overfits is .4",
        QUESTIONS[1], {"lstm": 0.4, "gpt": 0.4},
    ),
    (
        "001, 4.3 (d)", "The smallest r that generalises is .5 for both",
        QUESTIONS[0], {"lstm": 0.5, "gpt": 0.5},
    ),
    (
        "001, 4.3 (d)", "The largest r that overfits is .4 for LSTM and .3 for GPT",
        QUESTIONS[1], {"lstm": 0.4, "gpt": 0.3},
    ),
)  # fmt: skip


def answers(
    trials: Sequence[TrialRecord],
    holds: Callable[[TrialRecord], bool],
    choose: Callable[[Sequence[float]], float],
) -> dict[str, dict[int, float | None]]:
    """r by model and seed, of those that ran with every fraction; empty if a model has none."""
    found = {
        model: {
            seed: threshold.r
            for seed, threshold in thresholds(of_model, holds, choose).items()
            if set(FRACTIONS) <= set(threshold.of)
        }
        for model, of_model in by_model(trials).items()
    }
    return found if len(found) == len(LABELS) and all(found.values()) else {}


def in_words(found: dict[str, dict[int, float | None]]) -> str:
    return "; ".join(
        f"{LABELS[model]} " + ", ".join(f"{of_r(r)} (seed {seed})" for seed, r in of_model.items())
        for model, of_model in found.items()
    )


def threshold_claim(
    trials: Sequence[TrialRecord],
    source: str,
    said: str,
    question: tuple[str, str, Callable[[TrialRecord], bool], Callable[[Sequence[float]], float]],
    expected: dict[str, float],
) -> Claim:
    """A claim that r is so for each model: undecided if that depends on the seed."""
    found = answers(trials, *question[2:])
    verdicts: list[Verdict] = ["not run"]
    if found:
        right = [
            {r == expected[model] for r in of_seed.values()} for model, of_seed in found.items()
        ]
        verdicts = [
            "undecided" if len(e) == 2 else "agrees" if True in e else "differs" for e in right
        ]
    return Claim(source, said, in_words(found), together(verdicts))


def scales_better(trials: Sequence[TrialRecord]) -> Claim:
    source, said = "001, 4.3 (c)", "LSTM scales better with r in L_val"
    if not paired(trials, FRACTIONS, log_loss):
        return Claim(source, said, "", "not run")
    trends = {
        model: slope((t.settings["r_train"], log_loss(t), t.settings["seed"]) for t in of_model)
        for model, of_model in by_model(trials).items()
    }
    gap = difference(trends["lstm"], trends["gpt"])
    ours = (
        f"slope of log10 L_val in r: LSTM {trends['lstm']}, GPT {trends['gpt']}, difference {gap}"
    )
    return Claim(source, said, ours, verdict(gap, -1))


def thresholds_near(trials: Sequence[TrialRecord]) -> Claim:
    source, said = "001, 4.3 (d)", "These two r differ by little (.1 for LSTM, .2 for GPT)"
    first, last = (answers(trials, *question[2:]) for question in QUESTIONS)
    if not first or not last:
        return Claim(source, said, "", "not run")
    gaps = [
        round(r - last[model][seed], 9)
        for model, of_seed in first.items()
        for seed, r in of_seed.items()
        if r is not None and last[model][seed] is not None
    ]
    near: Verdict = "undecided" if not gaps else "agrees" if max(gaps) <= 0.2 else "differs"
    ours = "differences " + ", ".join(f"{gap:g}" for gap in gaps) if gaps else "none to compare"
    return Claim(source, said, ours, near)


def noise(trials: Sequence[TrialRecord]) -> Claim:
    """Erratum 001.4: models cannot be told apart where their seeds overlap."""
    source, number = "001, 4.3 (d)", "001.4"
    said = "The largest r that overfits GPT, .3 in 001 and .4 in 000, is noise of grid and seeds"
    found = answers(trials, *QUESTIONS[1][2:])
    if not found:
        return Claim(source, said, "", "not run", number)
    lstm, gpt = ({r or 0.0 for r in found[model].values()} for model in ("lstm", "gpt"))
    apart = max(gpt) < min(lstm) or max(lstm) < min(gpt)
    alone = min(len(found["lstm"]), len(found["gpt"])) < 2
    found_so: Verdict = "undecided" if alone else "differs" if apart else "agrees"
    return Claim(source, said, in_words(found), found_so, number)


EXPERIMENT = Experiment("data_size", "Scaling data size", DataSize, results, summary)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
