"""What does compute buy? Question 4.6 of seeds 000 and 001: batch size B and training time.

    python -m experiments.grokking.compute                # the whole experiment
    python -m experiments.grokking.compute --scale small  # shows that everything works
    python -m experiments.grokking.compute --resume       # go on, or make results again

LSTM and GPT learn a + b mod 31 for T = 20,001 steps with batches of B = 32 ... 512. Figures: loss
and accuracy against the step, coloured by B (4.6 a), and best values up to α T steps against B,
coloured by α (4.6 b). Tables: these numbers. Claims: what both seeds say of it.

B = 512 is really all 480 training samples. And T steps of a larger batch see more samples: the
last claim compares batch sizes at equal samples too.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from experiments.grokking import options, seeds
from experiments.grokking.seeds import A_VAL, GPT, L_VAL, LOG_L_VAL, LSTM, MODELS, NAMED
from experiments.grokking.task import Grokking, data_of
from experiments.results.claims import (
    Along,
    Finding,
    Says,
    all_of,
    by_interval,
    decide,
    gap,
    labelled,
    slope,
    trend,
)
from experiments.results.curves import Quantity, roughness
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell
from experiments.results.trials import Trials, by_group, by_value, complete, finished, until
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

BATCH_SIZES = (32, 64, 128, 256, 512)
STEPS = 20_001  # T
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Compute(options.Options):
    """The sweep over the batch size."""

    batch_sizes: tuple[int, ...] | None = None
    """Samples a step, at most the training set. If not given 32, 64, 128, 256, 512."""

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
    ended = finished(trials)
    return Results(
        tables=[
            seeds.best_table(trials, {"batch_size": "B"}, REAL_BATCH),
            *(cutoff_table(ended, quantity) for quantity in (L_VAL, A_VAL)),
        ],
        drawings=drawings(trials),
        claims=decide(CLAIMS, whole(seeds.comparable(trials, "batch_size", steps=STEPS))),
        answer=Answer(answer(ended), "best"),
        groups=MODELS,
    )


def whole(trials: Trials) -> Trials:
    """The trials if both models have every batch size, else none."""
    found = complete(trials, MODELS, lambda t: t.settings["batch_size"], BATCH_SIZES)
    return found if len(by_group(found, MODELS)) == len(MODELS) else []


REAL_BATCH = (
    "A batch has at most the whole training set: B = 512 stands for the 480 sums of the seeds."
)


def cut(trial: TrialRecord, alpha: float) -> TrialRecord:
    """The trial up to α T steps; where α = 1 all of it.

    T is what was asked for: whole epochs make a trial up to 9 steps longer, all of which count in
    the whole. ValueError unless 0 < α <= 1.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"α: expected a fraction in (0, 1], got {alpha}")
    return trial if alpha == 1 else until(trial, math.floor(alpha * trial.settings["steps"]))


def cut_all(at: dict[int, list[TrialRecord]], alpha: float) -> dict[int, list[TrialRecord]]:
    return {size: [cut(trial, alpha) for trial in of] for size, of in at.items()}


def cutoff_table(trials: Trials, quantity: Quantity) -> Table:
    """A quantity under every cut-off."""
    rows, data = [], []
    for model, of_model in by_group(trials, MODELS).items():
        for size, group in by_value(of_model, "batch_size").items():
            found = {a: quantity.over(cut(t, a) for t in group) for a in ALPHAS}
            rows.append([model.label, str(size), *(cell(quantity, s) for s in found.values())])
            about = {"model": model.value, "batch_size": size}
            data += [
                {**about, "alpha": a, quantity.name: s and s._asdict()} for a, s in found.items()
            ]
    return Table(
        f"{quantity.name.lower()}_under_cutoff",
        f"Best {quantity.name} up to α T steps",
        ["model", "B", *(f"α = {a:g}" for a in ALPHAS)],
        rows,
        note="Mean ± population standard deviation over the seeds.",
        data={"rows": data},
    )


def drawings(trials: Trials) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    size = panels.Setting("batch_size", "batch size, B (512: all that there are)", log2=True)
    alpha = panels.Setting("alpha", "cut-off α: steps up to α T")
    colors = panels.color_bar(alpha, ALPHAS)
    found: list[Drawing] = []
    for model, of_model in by_group(trials, MODELS).items():
        caption = (
            f"{model.label}: loss and accuracy against the training step, coloured by the batch "
            f"size B (question 4.6 a)."
        )
        figure = panels.curves(of_model, size, title=f"{model.label}: {seeds.alike(of_model)}")
        found.append(Drawing(f"curves_{model.value}", caption, figure, live=True))
    for model, ended in by_group(finished(trials), MODELS).items():
        caption = (
            f"{model.label}: best values up to α T steps, and the first steps at which they were "
            f"reached, against the batch size B, coloured by α (question 4.6 b)."
        )
        at = by_value(ended, "batch_size")
        lines = [panels.Line(cut_all(at, a), colors.to_rgba(a)) for a in ALPHAS]
        title = f"{model.label}: {seeds.alike(ended)}"
        figure = panels.best_against(lines, size, title=title, bar=(alpha, ALPHAS))
        found.append(Drawing(f"best_{model.value}", caption, figure))
    return found


def answer(trials: Trials) -> str:
    texts = [
        f"{model.label} {slope(LOG_L_VAL, IN_B).of(of_model)}"
        for model, of_model in by_group(trials, MODELS).items()
    ]
    return f"Change of log10 L_val with each doubling of the batch: {'; '.join(texts)}"


# --- what the seeds say ---------------------------------------------------------------------------
def real_batch(trial: TrialRecord) -> int:
    """Samples in a step: B, or the whole training set if that is smaller."""
    return min(trial.settings["batch_size"], len(data_of(Grokking.of(trial.settings))[0]))


IN_B = Along("B", "per doubling of B", lambda t: math.log2(real_batch(t)))
# t_f(L_val) among steps that all evaluate: after them trials end at T or up to 9 later
STEP_OF_BEST = Quantity("t_f(L_val)", lambda t: NAMED["t_f(L_val)"].of(until(t, STEPS - 1)))
EARLY_ACCURACY = Quantity(f"A_val at α = {ALPHAS[0]}", lambda t: A_VAL.of(cut(t, ALPHAS[0])), 1)
ROUGHNESS = Quantity(
    "the mean absolute change of log10 of validation loss in the second half",
    lambda t: roughness(t, "val_loss"),
)


def longer(trials: Trials) -> Finding:
    """By definition best values never get worse with α; so whether they still get better."""
    if not trials:
        return Finding()
    half = [(cut(t, 0.5), t) for t in trials]
    losses = sum(L_VAL.of(t) < L_VAL.of(before) for before, t in half)
    accuracies = sum(A_VAL.of(t) > A_VAL.of(before) for before, t in half)
    perfect = sum(A_VAL.of(before) == 1 for before, _ in half)
    ours = (
        f"a best value cannot get worse with α, by definition; from α = .5 to 1 L_val got better "
        f"in {losses} and A_val in {accuracies} of {len(half)} trials, {perfect} of which had "
        f"A_val = 1 before"
    )
    most = losses > len(half) / 2 and accuracies >= (len(half) - perfect) / 2
    return Finding(ours, "agrees" if most else "differs")


def samples(trials: Trials) -> Finding:
    """Erratum 000.6: T steps of B samples are B T samples, so B and compute change together."""
    if not trials:
        return Finding()
    budget = STEPS * min(map(real_batch, trials))
    seen = sorted({STEPS * real_batch(t) for t in trials})
    at_samples = lambda t: LOG_L_VAL.of(until(t, budget // real_batch(t)))
    equal_steps, equal_samples, more = (
        [slope(Quantity("", y), IN_B).of(model.of(trials)) for model in MODELS]
        for y in (LOG_L_VAL.of, at_samples, lambda t: at_samples(t) - LOG_L_VAL.of(t))
    )
    ours = (
        f"largest batch {max(map(real_batch, trials))}; T steps see {seen[0]:,} to "
        f"{seen[-1]:,} samples; slope of log10 L_val per doubling of B at equal steps: "
        f"{labelled(MODELS, equal_steps)}; at {budget:,} samples: {labelled(MODELS, equal_samples)}"
    )
    return Finding(ours, all_of(by_interval(t, 1) if t else "not run" for t in more))


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
         trend(slope(EARLY_ACCURACY, IN_B), *MODELS) < 0),
    Says("001, 4.6 (c)", "Smaller batches converge with more noise",
         trend(slope(ROUGHNESS, IN_B), *MODELS) < 0),
    Says("000, 4.6 (c)", "B = 512 is 480, and equal steps give larger batches more samples: at "
         "equal samples they are worse by more than at equal steps", samples, "000.6"),
)  # fmt: skip

EXPERIMENT = Experiment("compute", "Scaling compute", Compute, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
