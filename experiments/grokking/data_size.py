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
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from experiments.grokking import options, seeds
from experiments.grokking.seeds import A_TRAIN, A_VAL, GPT, LOG_L_VAL, LSTM, MODELS
from experiments.grokking.task import Grokking
from experiments.results import trends
from experiments.results.claims import (
    Along,
    BySeed,
    Finding,
    Says,
    decide,
    equals,
    gap,
    paired,
    seeds_in_words,
    slope,
)
from experiments.results.curves import Quantity, roughness
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials, by_group, by_value, finished, pairs, where
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GENERALIZES = 0.9  # least A_val of a model that has generalised, question 4.3 (d)
FITS = 0.99  # least A_train of a model that has learnt its training set: "A_train ~ 1"
FAILS = 0.5  # greatest A_val of one that has done no more


@dataclass(frozen=True)
class DataSize(options.Options):
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


def results(trials: Trials) -> Results:
    return Results(
        tables=[seeds.best_table(trials, {"r_train": "r"}), thresholds_table(trials)],
        drawings=drawings(trials),
        claims=decide(CLAIMS, seeds.comparable(trials, "r_train")),
        answer=Answer(answer(trials), "thresholds"),
        groups=MODELS,
    )


def drawings(trials: Trials) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    setting = panels.Setting("r_train", "fraction used for training, r")
    found = [
        Drawing(
            f"curves_{model.value}",
            f"{model.label}: loss and accuracy against the training step, coloured by the "
            f"fraction r used for training (question 4.3 a).",
            panels.curves(of_model, setting, title=f"{model.label}: {seeds.alike(of_model)}"),
            live=True,
        )
        for model, of_model in by_group(trials, MODELS).items()
    ]
    if ended := finished(trials):
        lines = panels.lines_of_groups(ended, MODELS, "r_train")
        caption = (
            "Best values, and the first steps at which they were reached, against the fraction "
            "used for training (question 4.3 b)."
        )
        figure = panels.best_against(lines, setting, title=seeds.alike(ended))
        found.append(Drawing("best", caption, figure))
    return found


# --- where generalisation begins ------------------------------------------------------------------
class Question(NamedTuple):
    """The fraction asked for in 4.3 (d): the smallest or the largest of which something holds.

    choose: min or max.
    """

    name: str
    words: str
    holds: Callable[[TrialRecord], bool]
    choose: Callable[..., float]

    def by_seed(self, trials: Trials) -> dict[int, float | None]:
        """The fraction, seed by seed; None if there is none."""
        return {
            seed: self.choose((t.settings["r_train"] for t in of if self.holds(t)), default=None)
            for seed, of in by_value(trials, "seed").items()
        }

    def answers(self, trials: Trials) -> BySeed[float]:
        """`by_seed` of both models, where every fraction ran; empty if one has no such seed."""
        found = {}
        for model, of_model in by_group(trials, MODELS).items():
            whole = [
                trial
                for of_seed in by_value(of_model, "seed").values()
                if set(FRACTIONS) <= {t.settings["r_train"] for t in of_seed}
                for trial in of_seed
            ]
            found[model] = self.by_seed(whole)
        return found if len(found) == len(MODELS) and all(found.values()) else {}


GENERALIZING = Question(
    "generalises",
    f"smallest r with A_val ≥ {GENERALIZES}",
    lambda t: A_VAL.of(t) >= GENERALIZES,
    min,
)
OVERFITTING = Question(
    "overfits",
    f"largest r with A_train ≥ {FITS} and A_val ≤ {FAILS}",
    lambda t: A_TRAIN.of(t) >= FITS and A_VAL.of(t) <= FAILS,
    max,
)


def thresholds_table(trials: Trials) -> Table:
    rows, data = [], []
    for model, of_model in by_group(finished(trials), MODELS).items():
        for question in (GENERALIZING, OVERFITTING):
            for seed, r in question.by_seed(of_model).items():
                of = sorted(t.settings["r_train"] for t in where(of_model, seed=seed))
                shown = ["none" if r is None else f"{r:g}", ", ".join(f"{each:g}" for each in of)]
                rows.append([model.label, question.words, str(seed), *shown])
                about = {"model": model.value, "what": question.name, "seed": seed}
                data.append(about | {"r": r, "of": of})
    return Table(
        "thresholds",
        "Where generalisation begins",
        ["model", "what", "seed", "r", "among"],
        rows,
        note="Question 4.3 (d), answered for each seed; “none” if no trial is so.",
        data={"rows": data},
    )


def answer(trials: Trials) -> str:
    found = {
        model: [f"{r:g}" if r else "none" for r in GENERALIZING.by_seed(of_model).values()]
        for model, of_model in by_group(finished(trials), MODELS).items()
    }
    texts = "; ".join(f"{model.label} {', '.join(values)}" for model, values in found.items())
    return f"Least r at which nine in ten held-out sums are right, seed by seed: {texts}"


# --- what the seeds say ---------------------------------------------------------------------------
def close_at_most_fractions(trials: Trials) -> Finding:
    """Within a factor of 2, in the mean over pairs."""
    at = {r: pairs(trials, LSTM, GPT, [{"r_train": r}]) for r in FRACTIONS}
    gaps = {
        r: trends.average([LOG_L_VAL.of(a) - LOG_L_VAL.of(b) for a, b in of])
        for r, of in at.items()
    }
    if not all(gaps.values()):
        return Finding()
    near = [f"{r:g}" for r, gap in gaps.items() if gap and abs(gap.value) <= 0.301]
    ours = f"within a factor of 2 at {len(near)} of {len(gaps)} fractions: " + (
        ", ".join(near) or "none"
    )
    return Finding(ours, "agrees" if len(near) > len(gaps) / 2 else "differs")


def both_perfect(trials: Trials) -> Finding:
    """Perfect as in the seed's own table, where one of two trials is wrong once in 481."""
    at = by_group(where(trials, r_train=0.5), MODELS)
    values = {model: [A_VAL.of(t) for t in of_model] for model, of_model in at.items()}
    ours = "; ".join(
        f"{model.label} {', '.join(f'{v:.4f}' for v in of)}" for model, of in values.items()
    )
    if len(at) < 2:
        return Finding(ours)
    perfect = [v >= 0.997 for of in values.values() for v in of]
    return Finding(ours, "agrees" if all(perfect) else "undecided" if any(perfect) else "differs")


def scales_better(trials: Trials) -> Finding:
    """The slopes, where every fraction has a pair."""
    if not pairs(trials, LSTM, GPT, [{"r_train": r} for r in FRACTIONS]):
        return Finding()
    return (gap(slope(LOG_L_VAL, IN_R), LSTM, GPT) < 0)(trials)


def thresholds_near(trials: Trials) -> Finding:
    first, last = (question.answers(trials) for question in (GENERALIZING, OVERFITTING))
    if not first or not last:
        return Finding()
    gaps = [
        round(r - before, 9)
        for model, of_seed in first.items()
        for seed, r in of_seed.items()
        if r is not None and (before := last[model][seed]) is not None
    ]
    if not gaps:
        return Finding("none to compare", "undecided")
    ours = "differences " + ", ".join(f"{gap:g}" for gap in gaps)
    return Finding(ours, "agrees" if max(gaps) <= 0.2 else "differs")


def noise(trials: Trials) -> Finding:
    """Erratum 001.4: models cannot be told apart where their seeds overlap."""
    found = OVERFITTING.answers(trials)
    if not found:
        return Finding()
    lstm, gpt = ({r or 0.0 for r in found[model].values()} for model in MODELS)
    apart = max(gpt) < min(lstm) or max(lstm) < min(gpt)
    alone = min(map(len, found.values())) < 2
    return Finding(
        seeds_in_words(found), "undecided" if alone else "differs" if apart else "agrees"
    )


IN_R = Along("r", "in r", lambda t: t.settings["r_train"])
ROUGH = "mean absolute change of {} from one evaluation to the next in the second half"
ROUGH_LOSS = Quantity(ROUGH.format("log10 of validation loss"), lambda t: roughness(t, "val_loss"))
ROUGH_ACCURACY = Quantity(
    ROUGH.format("validation accuracy"), lambda t: roughness(t, "val_accuracy")
)
FEW, MANY = FRACTIONS[:4], FRACTIONS[6:]

CLAIMS = (
    Says("000, 4.3 (c)", "L_val: LSTM and GPT are close for most r", close_at_most_fractions),
    Says("000, 4.3 (c)", "L_val: for r = .7, .8, .9 LSTM is better",
         paired(LOG_L_VAL, LSTM, GPT, r_train=MANY) < 0),
    Says("000, 4.3 (c)", "A_val: for r from .1 to .4 LSTM generalises better",
         paired(A_VAL, LSTM, GPT, r_train=FEW) > 0),
    Says("000, 4.3 (c)", "At r = .5 both have perfect A_val", both_perfect),
    Says("000, 4.3 (d)", "The smallest r with A_val > .9 is .5",
         equals(GENERALIZING.answers, {LSTM: 0.5, GPT: 0.5})),
    Says("000, 4.3 (d)", "The largest r that overfits is .4",
         equals(OVERFITTING.answers, {LSTM: 0.4, GPT: 0.4})),
    Says("001, 4.3 (c)", "LSTM scales better with r in L_val", scales_better),
    Says("001, 4.3 (c)", "A_val: GPT is better at small fractions, it needs less data",
         paired(A_VAL, LSTM, GPT, r_train=FEW) < 0),
    Says("001, 4.3 (c)", "Curves of LSTM are less unstable",
         paired(ROUGH_LOSS, LSTM, GPT, r_train=FRACTIONS) < 0),
    Says("001, 4.3 (c)", "A_val(t) of GPT is unstable",
         paired(ROUGH_ACCURACY, LSTM, GPT, r_train=FRACTIONS) < 0),
    Says("001, 4.3 (d)", "The smallest r that generalises is .5 for both",
         equals(GENERALIZING.answers, {LSTM: 0.5, GPT: 0.5})),
    Says("001, 4.3 (d)", "The largest r that overfits is .4 for LSTM and .3 for GPT",
         equals(OVERFITTING.answers, {LSTM: 0.4, GPT: 0.3})),
    Says("001, 4.3 (d)", "These two r differ by little (.1 for LSTM, .2 for GPT)",
         thresholds_near),
    Says("001, 4.3 (d)", "The largest r that overfits GPT, .3 in 001 and .4 in 000, is noise of "
         "grid and seeds", noise, "001.4"),
)  # fmt: skip

EXPERIMENT = Experiment("data_size", "Scaling data size", DataSize, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
