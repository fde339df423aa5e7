"""Scaling data, question 4.3 of seeds 000 and 001: the fraction r used for training.

LSTM and GPT learn a + b mod 31 from a fraction r = .1 ... .9 of all sums. Figures: loss and
accuracy against the step, coloured by r (4.3 a), and best values, with the steps at which they were
reached, against r (4.3 b). Tables: these numbers, and the largest fraction at which a model only
memorizes, the smallest at which it generalizes (4.3 d). Claims: those of both seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from experiments.grokking import options, seeds
from experiments.grokking.seeds import A_TRAIN, A_VAL, GPT, LEARNT, LOG_L_VAL, LSTM, MODELS
from experiments.grokking.task import Grokking
from experiments.results import claims
from experiments.results.claims import Along, Finding, Says, equals, every, gap, paired, slope
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Setting, Trials, by_group, by_value, complete, finished
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FITS = 0.99  # least A_train of a model that has learnt its training set: "A_train ~ 1"
FAILS = 0.5  # greatest A_val of a model that only memorizes
PERFECT = 0.997  # for the seed, whose table has one error in 481 samples in one of two trials


@dataclass(frozen=True)
class DataSize(options.Options):
    """The sweep over the fraction used for training."""

    fractions: tuple[float, ...] | None = None
    """Fractions r of all sums to train on; the others are for validation. By default .1 ... .9."""

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
            for r in sorted(fractions, key=lambda r: abs(r - 0.5))  # most informative first
            for model in self.models
        }


def results(trials: Trials) -> Results:
    return Results(
        tables=[seeds.best_table(trials, {"r_train": "r"}), thresholds_table(trials)],
        drawings=drawings(trials),
        claims=claims.decide(CLAIMS, seeds.comparable(trials, "r_train")),
        answer=Answer(answer(trials), "thresholds"),
        groups=MODELS,
    )


def drawings(trials: Trials) -> list[Drawing]:
    from experiments.grokking import figures  # matplotlib takes a second to import

    r = Setting("r_train", "fraction used for training, r")
    curves = figures.AGAINST_STEP.format("the fraction r used for training (question 4.3 a)")
    best = (
        "Best values, and the first steps at which they were reached, against the fraction used "
        "for training (question 4.3 b)."
    )
    return [*figures.curves(trials, r, curves), *figures.best(trials, r, best)]


# --- where generalisation begins: question 4.3 (d) ------------------------------------------------
fraction = lambda trial: trial.settings["r_train"]


class Threshold(NamedTuple):
    """The smallest or the largest fraction for which something holds; choose: min or max."""

    name: str
    words: str
    holds: Callable[[TrialRecord], bool]
    choose: Callable[..., float]

    def of(self, trials: Trials) -> float | None:
        """The fraction among trials of one model and seed; None if it holds for none."""
        return self.choose(map(fraction, filter(self.holds, trials)), default=None)

    def by_seed(self, trials: Trials) -> dict[int, float | None]:
        return {seed: self.of(of_seed) for seed, of_seed in by_value(trials, "seed").items()}

    def by_model(self, trials: Trials) -> claims.BySeed[float]:
        """`by_seed` for both models, of seeds with all fractions; empty if a model has no seed."""
        with_all_fractions = [
            trial
            for of_seed in by_value(trials, "seed").values()
            for trial in complete(of_seed, MODELS, fraction, FRACTIONS)
        ]
        models = by_group(with_all_fractions, MODELS)
        if len(models) < len(MODELS):
            return {}
        return {model: self.by_seed(of_model) for model, of_model in models.items()}


GENERALIZING = Threshold(
    "generalises", f"smallest r with A_val ≥ {LEARNT}", lambda t: A_VAL.of(t) >= LEARNT, min
)
OVERFITTING = Threshold(
    "overfits",
    f"largest r with A_train ≥ {FITS} and A_val ≤ {FAILS}",
    lambda t: A_TRAIN.of(t) >= FITS and A_VAL.of(t) <= FAILS,
    max,
)


def thresholds_table(trials: Trials) -> Table:
    rows, data = [], []
    for model, of_model in by_group(finished(trials), MODELS).items():
        for threshold in (GENERALIZING, OVERFITTING):
            for seed, of_seed in by_value(of_model, "seed").items():
                r, among = threshold.of(of_seed), sorted(map(fraction, of_seed))
                shown = [str(seed), in_words(r), ", ".join(map(in_words, among))]
                rows.append([model.label, threshold.words, *shown])
                about = {"model": model.value, "what": threshold.name, "seed": seed}
                data.append(about | {"r": r, "of": among})
    columns = ["model", "what", "seed", "r", "among"]
    note = "Question 4.3 (d), answered for each seed; “none” if no trial is so."
    title = "Where generalisation begins"
    return Table("thresholds", title, columns, rows, note, {"rows": data})


def in_words(r: float | None) -> str:
    return "none" if r is None else f"{r:g}"


def answer(trials: Trials) -> str:
    fractions = lambda of: ", ".join(map(in_words, GENERALIZING.by_seed(of).values()))
    texts = seeds.of_models(finished(trials), fractions)
    return f"Least r at which nine in ten held-out sums are right, seed by seed: {texts}"


# --- claims of the seeds --------------------------------------------------------------------------
def close_at_most_fractions(trials: Trials) -> Finding:
    """Whether L_val of both is within a factor of 2 at most r, in the mean over pairs."""
    gaps = {}
    for r in FRACTIONS:
        _, (gaps[r],) = paired(LOG_L_VAL, LSTM, GPT, r_train=[r]).of(trials)
    if not all(gaps.values()):
        return Finding()
    near = [f"{r:g}" for r, gap in gaps.items() if gap and abs(gap.value) <= 0.301]
    listed = ", ".join(near) or "none"
    ours = f"within a factor of 2 at {len(near)} of {len(gaps)} fractions: {listed}"
    return Finding(ours, "agrees" if len(near) > len(gaps) / 2 else "differs")


def thresholds_near(trials: Trials) -> Finding:
    first, last = (threshold.by_model(trials) for threshold in (GENERALIZING, OVERFITTING))
    if not first:
        return Finding()
    gaps = [
        round(r - before, 9)
        for model, of_seed in first.items()
        for seed, r in of_seed.items()
        if r is not None and (before := last[model][seed]) is not None
    ]
    if not gaps:
        return Finding("none to compare", "undecided")
    ours = f"differences {', '.join(f'{gap:g}' for gap in gaps)}"
    return Finding(ours, "agrees" if max(gaps) <= 0.2 else "differs")


def noise(trials: Trials) -> Finding:
    """Erratum 001.4: if the fractions of both models overlap over seeds, it is noise."""
    if not (fractions := OVERFITTING.by_model(trials)):
        return Finding()
    lstm, gpt = ({r or 0.0 for r in fractions[model].values()} for model in MODELS)
    disjoint = max(gpt) < min(lstm) or max(lstm) < min(gpt)
    one_seed = min(map(len, fractions.values())) < 2
    verdict = "undecided" if one_seed else "differs" if disjoint else "agrees"
    return Finding(claims.seeds_in_words(fractions), verdict)


IN_R = Along("r", "in r", fraction)
FEW, MANY = FRACTIONS[:4], FRACTIONS[6:]

CLAIMS = (
    Says("000, 4.3 (c)", "L_val: LSTM and GPT are close for most r", close_at_most_fractions),
    Says("000, 4.3 (c)", "L_val: for r = .7, .8, .9 LSTM is better",
         paired(LOG_L_VAL, LSTM, GPT, r_train=MANY) < 0),
    Says("000, 4.3 (c)", "A_val: for r from .1 to .4 LSTM generalises better",
         paired(A_VAL, LSTM, GPT, r_train=FEW) > 0),
    Says("000, 4.3 (c)", "At r = .5 both have perfect A_val",
         every(MODELS, A_VAL, lambda a: a >= PERFECT, r_train=0.5)),
    Says("000, 4.3 (d)", "The smallest r with A_val > .9 is .5",
         equals(GENERALIZING.by_model, {LSTM: 0.5, GPT: 0.5})),
    Says("000, 4.3 (d)", "The largest r that overfits is .4",
         equals(OVERFITTING.by_model, {LSTM: 0.4, GPT: 0.4})),
    Says("001, 4.3 (c)", "LSTM scales better with r in L_val",
         gap(slope(LOG_L_VAL, IN_R), LSTM, GPT, r_train=FRACTIONS) < 0),
    Says("001, 4.3 (c)", "A_val: GPT is better at small fractions, it needs less data",
         paired(A_VAL, LSTM, GPT, r_train=FEW) < 0),
    Says("001, 4.3 (c)", "Curves of LSTM are less unstable",
         paired(seeds.ROUGH_L_VAL, LSTM, GPT, r_train=FRACTIONS) < 0),
    Says("001, 4.3 (c)", "A_val(t) of GPT is unstable",
         paired(seeds.ROUGH_A_VAL, LSTM, GPT, r_train=FRACTIONS) < 0),
    Says("001, 4.3 (d)", "The smallest r that generalises is .5 for both",
         equals(GENERALIZING.by_model, {LSTM: 0.5, GPT: 0.5})),
    Says("001, 4.3 (d)", "The largest r that overfits is .4 for LSTM and .3 for GPT",
         equals(OVERFITTING.by_model, {LSTM: 0.4, GPT: 0.3})),
    Says("001, 4.3 (d)", "These two r differ by little (.1 for LSTM, .2 for GPT)",
         thresholds_near),
    Says("001, 4.3 (d)", "The largest r that overfits GPT, .3 in 001 and .4 in 000, is noise of "
         "grid and seeds", noise, "001.4"),
)  # fmt: skip

EXPERIMENT = Experiment("data_size", "Scaling data size", DataSize, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
