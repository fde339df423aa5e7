"""Scaling compute, question 4.6 of seeds 000 and 001: batch size B and training time.

LSTM and GPT learn a + b mod 31 for T = 20,001 steps with batches of B = 32 ... 512. Figures: loss
and accuracy against the step, coloured by B (4.6 a), and best values up to α T steps against B,
coloured by α (4.6 b). Tables: these numbers. Claims: those of both seeds.

With B = 512 a batch is all 480 training samples. T steps with a larger batch see more samples, so
the last claim also compares batch sizes at equal numbers of samples.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from experiments.grokking import options, seeds
from experiments.grokking.seeds import A_VAL, GPT, L_VAL, LOG_L_VAL, LSTM, MODELS, NAMED
from experiments.grokking.task import Grokking, data_of
from experiments.results import claims
from experiments.results.claims import Along, Estimate, Finding, Says, gap, labelled, slope, trend
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import spread_table
from experiments.results.trends import Trend
from experiments.results.trials import Setting, Trials, by_group, by_value, finished, until
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

BATCH_SIZES = (32, 64, 128, 256, 512)
STEPS = 20_001  # T
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Compute(options.Options):
    """The sweep over the batch size."""

    batch_sizes: tuple[int, ...] | None = None
    """Samples per step, at most the training set. By default 32, 64, 128, 256, 512."""

    def trials(self) -> dict[str, Grokking]:
        sizes = self.batch_sizes or self.pick(BATCH_SIZES, (8, 16, 512))
        check_different("batch-sizes", sizes, at_least=1)
        p = self.pick(Grokking.p, 11)
        return {
            f"{model}-b{size}-seed{seed}": self.trial(
                model=model, seed=seed, p=p, batch_size=size, steps=STEPS
            )
            for seed in self.seeds
            for size in sizes
            for model in self.models
        }


def results(trials: Trials) -> Results:
    note = "A batch has at most the whole training set: B = 512 stands for the seeds' 480 sums."
    best = seeds.best_table(trials, {"batch_size": "B"}, note)
    return Results(
        tables=[best, cutoff_table(trials, L_VAL), cutoff_table(trials, A_VAL)],
        drawings=drawings(trials),
        claims=claims.decide(CLAIMS, seeds.comparable(trials, steps=STEPS, batch_size=BATCH_SIZES)),
        answer=Answer(answer(finished(trials)), "best"),
        groups=MODELS,
    )


def answer(trials: Trials) -> str:
    texts = seeds.of_models(trials, lambda of_model: str(slope(LOG_L_VAL, IN_B).of(of_model)))
    return f"Change of log10 L_val with each doubling of the batch: {texts}"


# --- under a cut-off ------------------------------------------------------------------------------
def cut(trial: TrialRecord, alpha: float) -> TrialRecord:
    """The trial up to α T steps; for α = 1 the whole trial.

    T is the setting `steps`: because epochs are whole, a trial has up to 9 steps more, which count
    for α = 1. ValueError unless 0 < α <= 1.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"α: expected a fraction in (0, 1], got {alpha}")
    return trial if alpha == 1 else until(trial, math.floor(alpha * trial.settings["steps"]))


def under(quantity: Quantity, alpha: float) -> Quantity:
    """A quantity up to α T steps."""
    name = f"{quantity.name} at α = {alpha:g}"
    return quantity._replace(name=name, of=lambda t: quantity.of(cut(t, alpha)))


def cutoff_table(trials: Trials, quantity: Quantity) -> Table:
    columns = [under(quantity, alpha)._replace(name=f"α = {alpha:g}") for alpha in ALPHAS]
    name, title = f"{quantity.name.lower()}_under_cutoff", f"Best {quantity.name} up to α T steps"
    note = "Mean ± population standard deviation over the seeds."
    return spread_table(name, title, trials, MODELS, {"batch_size": "B"}, columns, note=note)


def drawings(trials: Trials) -> list[Drawing]:
    from experiments.grokking import figures  # matplotlib takes a second to import
    from experiments.results import panels

    size = Setting("batch_size", "batch size, B (512: all that there are)", log2=True)
    alpha = Setting("alpha", "cut-off α: steps up to α T")
    curves = figures.AGAINST_STEP.format("the batch size B (question 4.6 a)")
    best = (
        "best values up to α T steps, and the first steps at which they were reached, against the "
        "batch size B, coloured by α (question 4.6 b)."
    )
    colors = panels.color_bar(alpha, ALPHAS)
    drawn = figures.curves(trials, size, curves)
    for model, ended in by_group(finished(trials), MODELS).items():
        at = by_value(ended, "batch_size")
        lines = [
            panels.Line({b: [cut(t, a) for t in of] for b, of in at.items()}, colors.to_rgba(a))
            for a in ALPHAS
        ]
        title = f"{model.label}: {seeds.alike(ended)}"
        figure = panels.best_against(lines, size, title=title, bar=(alpha, ALPHAS))
        drawn.append(Drawing(f"best_{model.value}", f"{model.label}: {best}", figure))
    return drawn


# --- claims of the seeds --------------------------------------------------------------------------
def real_batch(trial: TrialRecord) -> int:
    """Samples per step: B, or the size of the training set if that is smaller."""
    return min(trial.settings["batch_size"], len(data_of(Grokking.of(trial.settings))[0]))


IN_B = Along("B", "per doubling of B", lambda t: math.log2(real_batch(t)))
# t_f(L_val) among steps that all trials evaluate; their last step is T or up to 9 later
STEP_OF_BEST = Quantity("t_f(L_val)", lambda t: NAMED["t_f(L_val)"].of(until(t, STEPS - 1)))


def longer(trials: Trials) -> Finding:
    """By definition best values never get worse with α; this tests whether they get better."""
    if len(by_group(trials, MODELS)) < len(MODELS):
        return Finding()
    l_half, a_half = under(L_VAL, 0.5).of, under(A_VAL, 0.5).of
    losses = sum(L_VAL.of(t) < l_half(t) for t in trials)
    accuracies = sum(A_VAL.of(t) > a_half(t) for t in trials)
    perfect = sum(a_half(t) == 1 for t in trials)
    ours = (
        f"a best value cannot get worse with α, by definition; from α = .5 to 1 L_val got better "
        f"in {losses} and A_val in {accuracies} of {len(trials)} trials, {perfect} of which had "
        f"A_val = 1 before"
    )
    most = losses > len(trials) / 2 and accuracies >= (len(trials) - perfect) / 2
    return Finding(ours, "agrees" if most else "differs")


def at_equal_samples(trials: Trials) -> tuple[str, list[Trend | None]]:
    """Erratum 000.6: T steps of B samples are B T samples, so B and compute change together.

    The slope of log10 L_val against B at equal samples, minus the slope at equal steps.
    """
    if not trials:
        return "", [None]
    batches = sorted(map(real_batch, trials))
    budget = STEPS * batches[0]
    at_samples = lambda t: LOG_L_VAL.of(until(t, budget // real_batch(t)))
    equal_steps, equal_samples, more = (
        [slope(Quantity("", y), IN_B).of(model.of(trials)) for model in MODELS]
        for y in (LOG_L_VAL.of, at_samples, lambda t: at_samples(t) - LOG_L_VAL.of(t))
    )
    ours = (
        f"largest batch {batches[-1]}; T steps see {budget:,} to {STEPS * batches[-1]:,} samples; "
        f"slope of log10 L_val per doubling of B at equal steps: {labelled(MODELS, equal_steps)}; "
        f"at {budget:,} samples: {labelled(MODELS, equal_samples)}"
    )
    return ours, more


CLAIMS = (
    Says("000, 4.6 (c)", "With larger α loss and accuracy are better", longer),
    Says("000, 4.6 (c)", "With larger B L_val is worse",
         trend(slope(LOG_L_VAL, IN_B), *MODELS) > 0),
    Says("000, 4.6 (c)", "With larger B A_val is worse",
         trend(slope(A_VAL, IN_B), *MODELS) < 0),
    Says("001, 4.6 (c)", "With larger α L_val and A_val get better, until overfitting",
         longer),
    Says("001, 4.6 (c)", "L_val of GPT is more sensitive to B than that of LSTM, and better with "
         "small batches", gap(slope(LOG_L_VAL, IN_B), LSTM, GPT) < 0),
    Says("001, 4.6 (c)", "Larger batches need a larger α for their least L_val",
         trend(slope(STEP_OF_BEST, IN_B), *MODELS) > 0),
    Says("001, 4.6 (c)", "Smaller batches reach accuracy with less compute",
         trend(slope(under(A_VAL, ALPHAS[0]), IN_B), *MODELS) < 0),
    Says("001, 4.6 (c)", "Smaller batches converge with more noise",
         trend(slope(seeds.ROUGH_L_VAL, IN_B), *MODELS) < 0),
    Says("000, 4.6 (c)", "B = 512 is 480, and equal steps give larger batches more samples: at "
         "equal samples they are worse by more than at equal steps",
         Estimate(at_equal_samples) > 0, "000.6"),
)  # fmt: skip

EXPERIMENT = Experiment("compute", "Scaling compute", Compute, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
