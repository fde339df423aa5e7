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
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.grokking.options import Options, summary
from experiments.grokking.task import Grokking, data_of
from experiments.results.groups import (
    LABELS,
    accuracy,
    by_model,
    comparable,
    complete,
    finished,
    grouped,
    log_loss,
    number,
    over_seeds,
    rough_loss,
)
from experiments.results.results import Claim, Drawing, Results, Table
from experiments.results.tables import best_table, cell
from experiments.results.trends import Trend, difference, slope, together, verdict
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

BATCH_SIZES = (32, 64, 128, 256, 512)
STEPS = 20_001  # T
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Compute(Options):
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


def results(trials: Sequence[TrialRecord]) -> Results:
    return Results(
        tables=[
            best_table("best", trials, {"batch_size": "B"}, note=REAL_BATCH),
            *(cutoff_table(finished(trials), name) for name in ("L_val", "A_val")),
        ],
        drawings=drawings(trials),
        claims=claims(comparable(trials, "batch_size", steps=STEPS)),
    )


REAL_BATCH = (
    "A batch has at most the whole training set: B = 512 stands for the 480 sums of the seeds."
)


def cutoff(alpha: float, trial: TrialRecord) -> int | None:
    """The last step that counts, α T. None, for all, where α = 1.

    T is what was asked for: whole epochs make a trial up to 9 steps longer, all of which count in
    the whole. ValueError unless 0 < α <= 1.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"α: expected a fraction in (0, 1], got {alpha}")
    return None if alpha == 1 else math.floor(alpha * trial.settings["steps"])


def cutoff_table(trials: Sequence[TrialRecord], name: str) -> Table:
    """One of `metrics.NAMES` under every cut-off."""
    rows, data = [], []
    for model, of_model in by_model(trials).items():
        for size, group in grouped(of_model, "batch_size").items():
            found = {a: over_seeds(group, name, cutoff(a, group[0])) for a in ALPHAS}
            rows.append([LABELS[model], str(size), *(cell(name, s) for s in found.values())])
            data += [
                {"model": model, "batch_size": size, "alpha": a, name: s and s._asdict()}
                for a, s in found.items()
            ]
    return Table(
        f"{name.lower()}_under_cutoff",
        f"Best {name} up to α T steps",
        ["model", "B", *(f"α = {a:g}" for a in ALPHAS)],
        rows,
        note="Mean ± population standard deviation over the seeds.",
        data={"rows": data},
    )


def drawings(trials: Sequence[TrialRecord]) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    size = panels.Setting("batch_size", "batch size, B (512: all that there are)", log2=True)
    alpha = panels.Setting("alpha", "cut-off α: steps up to α T")
    colors = panels.color_bar(alpha, ALPHAS)
    found: list[Drawing] = []
    for model, of_model in by_model(trials).items():
        caption = (
            f"{LABELS[model]}: loss and accuracy against the training step, coloured by the batch "
            f"size B (question 4.6 a)."
        )
        figure = panels.curves(of_model, size, title=LABELS[model])
        found.append(Drawing(f"curves_{model}", caption, figure))
    for model, ended in by_model(finished(trials)).items():
        caption = (
            f"{LABELS[model]}: best values up to α T steps, and the first steps at which they were "
            f"reached, against the batch size B, coloured by α (question 4.6 b)."
        )
        at = grouped(ended, "batch_size")
        lines = [panels.Line(at, colors.to_rgba(a), cutoff=cutoff(a, ended[0])) for a in ALPHAS]
        title = f"{LABELS[model]}: {panels.shared(ended)}"
        figure = panels.best_against(lines, size, title=title, bar=(alpha, ALPHAS))
        found.append(Drawing(f"best_{model}", caption, figure))
    return found


# --- what the seeds say ---------------------------------------------------------------------------
def claims(trials: Sequence[TrialRecord]) -> list[Claim]:
    """trials: those that ran as the seeds' did."""
    whole = complete(trials, lambda t: t.settings["batch_size"], BATCH_SIZES)
    whole = whole if len(whole) == len(LABELS) else {}
    return [
        longer(whole, "000, 4.6 (c)", "With larger α loss and accuracy are better"),
        *(trend_claim(whole, *said) for said in TRENDS[:2]),
        longer(
            whole, "001, 4.6 (c)", "With larger α L_val and A_val get better, until overfitting"
        ),
        sensitive(whole),
        *(trend_claim(whole, *said) for said in TRENDS[2:]),
        samples(whole),
    ]


def in_batch(trials: Sequence[TrialRecord], y: Callable[[TrialRecord], float]) -> Trend | None:
    """The slope of y per doubling of the real batch, within seeds."""
    return slope((math.log2(real_batch(t)), y(t), t.settings["seed"]) for t in trials)


def real_batch(trial: TrialRecord) -> int:
    """Samples in a step: B, or the whole training set if that is smaller."""
    return min(trial.settings["batch_size"], n_train(trial))


def n_train(trial: TrialRecord) -> int:
    return len(data_of(Grokking.of(trial.settings))[0])


def early_accuracy(trial: TrialRecord) -> float:
    return number(trial, "A_val", cutoff(ALPHAS[0], trial))


def step_of_best(trial: TrialRecord) -> float:
    """t_f(L_val) among steps that all evaluate: after them trials end at T or up to 9 later."""
    return number(trial, "t_f(L_val)", STEPS - 1)


TRENDS = (  # source, what it says, y, words for it, direction with B
    ("000, 4.6 (c)", "With larger B L_val is worse", log_loss, "log10 L_val", 1),
    ("000, 4.6 (c)", "With larger B A_val is worse", accuracy, "A_val", -1),
    (
        "001, 4.6 (c)", "Larger batches need a larger α for their least L_val",
        step_of_best, "t_f(L_val)", 1,
    ),
    (
        "001, 4.6 (c)", "Smaller batches reach accuracy with less compute",
        early_accuracy, f"A_val at α = {ALPHAS[0]}", -1,
    ),
    (
        "001, 4.6 (c)", "Smaller batches converge with more noise",
        rough_loss, "the mean absolute change of log10 of validation loss in the second half", -1,
    ),
)  # fmt: skip


def trend_claim(
    whole: dict[str, list[TrialRecord]],
    source: str,
    said: str,
    y: Callable[[TrialRecord], float],
    words: str,
    direction: int,
) -> Claim:
    """A claim that y of both models rises or falls with B."""
    if not whole:
        return Claim(source, said, "", "not run")
    trends = {model: in_batch(of_model, y) for model, of_model in whole.items()}
    ours = f"slope of {words} per doubling of B: {in_words(trends)}"
    return Claim(source, said, ours, together(verdict(t, direction) for t in trends.values()))


def in_words(trends: dict[str, Trend | None]) -> str:
    return ", ".join(f"{LABELS[model]} {trend}" for model, trend in trends.items())


def longer(whole: dict[str, list[TrialRecord]], source: str, said: str) -> Claim:
    """By definition best values never get worse with α; so whether they still get better."""
    if not whole:
        return Claim(source, said, "", "not run")
    trials = [t for of_model in whole.values() for t in of_model]
    gains = {
        name: sum(sign * number(t, name) < sign * number(t, name, cutoff(0.5, t)) for t in trials)
        for name, sign in (("L_val", 1), ("A_val", -1))
    }
    perfect = sum(number(t, "A_val", cutoff(0.5, t)) == 1 for t in trials)
    ours = (
        f"a best value cannot get worse with α, by definition; from α = .5 to 1 L_val got better "
        f"in {gains['L_val']} and A_val in {gains['A_val']} of {len(trials)} trials, {perfect} of "
        f"which had A_val = 1 before"
    )
    most = gains["L_val"] > len(trials) / 2 and gains["A_val"] >= (len(trials) - perfect) / 2
    return Claim(source, said, ours, "agrees" if most else "differs")


def sensitive(whole: dict[str, list[TrialRecord]]) -> Claim:
    source = "001, 4.6 (c)"
    said = "L_val of GPT is more sensitive to B than that of LSTM, and better with small batches"
    if not whole:
        return Claim(source, said, "", "not run")
    trends = {model: in_batch(of_model, log_loss) for model, of_model in whole.items()}
    gap = difference(trends["gpt"], trends["lstm"])
    ours = f"slope of log10 L_val per doubling of B: {in_words(trends)}, GPT - LSTM {gap}"
    return Claim(source, said, ours, verdict(gap, 1))


def samples(whole: dict[str, list[TrialRecord]]) -> Claim:
    """Erratum 000.6: T steps of B samples are B T samples, so B and compute change together."""
    source, number = "000, 4.6 (c)", "000.6"
    said = (
        "B = 512 is 480, and equal steps give larger batches more samples: at equal samples they "
        "are worse by more than at equal steps"
    )
    if not whole:
        return Claim(source, said, "", "not run", number)
    everything = [t for of_model in whole.values() for t in of_model]
    budget = STEPS * min(map(real_batch, everything))
    seen = sorted({STEPS * real_batch(t) for t in everything})
    at_samples = lambda t: log_loss(t, budget // real_batch(t))
    equal_steps, equal_samples, gap = (
        {model: in_batch(of_model, y) for model, of_model in whole.items()}
        for y in (log_loss, at_samples, lambda t: at_samples(t) - log_loss(t))
    )
    ours = (
        f"largest batch {max(map(real_batch, everything))}; T steps see {seen[0]:,} to "
        f"{seen[-1]:,} samples; slope of log10 L_val per doubling of B at equal steps: "
        f"{in_words(equal_steps)}; at {budget:,} samples: {in_words(equal_samples)}"
    )
    return Claim(source, said, ours, together(verdict(t, 1) for t in gap.values()), number)


EXPERIMENT = Experiment("compute", "Scaling compute", Compute, results, summary)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
