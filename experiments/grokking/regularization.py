"""Weight decay and the norm of the parameters (question 4.7 of seeds 000 and 001).

Both models learn a + b modulo 31 with weight decays from 1/4 to 1, four times as long as in the
sanity check. Three claims about the norm are tested by measurements of each trial: that models
generalize once it is flat (000), that it falls while they do (001), and that its spikes are weight
decay in action (001). The measurements are in `experiments/grokking/norm.py`. The question was
about the LSTM (`--model lstm`), so its trials decide.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from experiments.grokking import options, seeds
from experiments.grokking.norm import BURST, REACH, RISE, TREND, WINDOW, Norm, norm_of
from experiments.grokking.seeds import LEARNT, LSTM, MODELS, NAMED
from experiments.grokking.task import Grokking
from experiments.results.claims import Finding, Says, Test, by_share, decide, share_in
from experiments.results.curves import spread
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Setting, Trials, by_group, by_value, finished
from experiments.sweep.experiment import Experiment, check_different, main

STEPS = 40_001


@dataclass(frozen=True)
class Options(options.Options):
    """Question 4.7."""

    weight_decays: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Weight decays of all parameters; AdamW multiplies them by 1 - lr * weight decay per step."""

    def __post_init__(self) -> None:
        check_different("weight-decays", self.weight_decays)
        super().__post_init__()

    def trials(self) -> dict[str, Grokking]:
        return {
            f"{model}-wd{decay:g}-seed{seed}": self.trial(
                model=model, weight_decay=decay, seed=seed, steps=STEPS
            )
            for model in self.models
            for seed in self.seeds
            for decay in self.weight_decays
        }


def results(trials: Trials) -> Results:
    ended = [trial for trial in finished(trials) if not trial.status.get("diverged")]
    return Results(
        tables=[seeds.best_table(ended, {"weight_decay": "weight decay"}), norm_table(ended)],
        drawings=drawings(trials, ended),
        claims=decide(CLAIMS, seeds.comparable(ended, "weight_decay", steps=STEPS)),
        answer=Answer(answer(ended), "norm"),
        groups=MODELS,
    )


def answer(trials: Trials) -> str:
    norms = [norm for norm in map(norm_of, trials) if norm.learnt is not None]
    flat = sum(norm.flat is not None for norm in norms)
    return (
        f"{flat} of {len(norms)} trials that came to nine in ten held-out sums did so while the "
        f"norm of the parameters was flat"
    )


def norm_table(trials: Trials) -> Table:
    rows, data = [], {}
    for model, of_model in by_group(trials, MODELS).items():
        for trial in sorted(of_model, key=lambda t: t.settings["weight_decay"]):
            n = norm_of(trial)
            rows.append([
                model.label, f"{trial.settings['weight_decay']:g}", str(trial.settings["seed"]),
                f"{n.greatest:,}", "never" if n.learnt is None else f"{n.learnt:,}",
                "" if n.trend is None else f"{n.trend:+.1%}",
                "not flat" if n.flat is None else f"{n.flat:,}",
                str(n.rises), f"{n.bursts} ({n.calm:.0%})", str(n.falls),
            ])  # fmt: skip
            data[trial.folder.name] = asdict(n)
    columns = [
        "model", "weight decay", "seed", "greatest at", f"A_val ≥ {LEARNT} at", "trend then",
        "flat from", "rises", "with a burst (others)", "falls",
    ]  # fmt: skip
    note = (
        f"At the regular evaluations. Trend: the change of the running median of the norm, over "
        f"{WINDOW} evaluations, in 1,000 steps around that of A_val. Flat from: where the stretch "
        f"begins in which A_val comes to {LEARNT} and all of which has a trend of at most "
        f"{TREND:.0%}. Rises: evaluations with a norm more than {RISE:.0%} above that of the one "
        f"before, once the training accuracy was {LEARNT}; with a burst: those beside which the "
        f"training loss is more than {BURST:g} times the median of the {REACH} evaluations before "
        f"it, and in brackets the share of other evaluations of which that is true. Falls: "
        f"evaluations with a norm below what weight decay alone would have left of the one before."
    )
    title = "The norm of the parameters, trial by trial"
    return Table("norm", title, columns, rows, note, data)


def drawings(trials: Trials, ended: Trials) -> list[Drawing]:
    from experiments.grokking import figures  # matplotlib takes a second to import
    from experiments.results import panels

    decay = Setting("weight_decay", "weight decay")
    curves = (
        "loss, accuracy and norm of the parameters under each weight decay; the norm, which is no "
        "matter of a set, stands in both columns."
    )
    best = (
        "Best values and their steps against weight decay. A loss of exactly 0, as float32 has it "
        "once it is less than rounding, lies off the axis."
    )
    norms = (
        f"The norm of each trial on a linear scale of steps: triangles where the validation "
        f"accuracy has come to {LEARNT}, circles where the flat stretch before that begins, if the "
        f"norm is flat there."
    )
    rows = (panels.LOSS, panels.ACCURACY, panels.NORM)
    drawn = figures.curves(trials, decay, curves, rows=rows)
    if ended:
        drawn += figures.best(ended, decay, best, head="Best values: ")
        drawn.append(Drawing("norm", norms, figures.norms(ended)))
    return drawn


# --- claims of the seeds --------------------------------------------------------------------------
def better_with_more(*names: str) -> Test:
    """Whether more weight decay is better and sooner, in each pair of decays."""

    def test(trials: Trials) -> Finding:
        texts, better = [], {model: list[bool]() for model in MODELS}
        for model, of_model in by_group(trials, MODELS).items():
            decays = by_value(of_model, "weight_decay").values()
            for quantity in (NAMED[name] for name in names):
                means = [value.mean for group in decays if (value := quantity.over(group))]
                pairs = [(a, b) for a, b in combinations(means, 2) if a != b]
                right = [(less < more) == (quantity.better > 0) for less, more in pairs]
                better[model] += right
                texts.append(f"{model.label}: {quantity.name} in {sum(right)} of {len(right)}")
        ours = "better with more, in pairs of decays: " + ("; ".join(texts) or "none")
        return Finding(ours, by_share(better[LSTM], ran=bool(LSTM.of(trials))))

    return test


def norms_that(words: str, holds: Callable[[Norm], bool | None], **note: Any) -> Test:
    """Whether something holds for the norm of most trials. holds: None for trials not counted."""
    return share_in(MODELS, words, lambda trial: holds(norm_of(trial)), **note)


def flat_before(trials: Trials) -> str:
    """How long the norm of the LSTM had been flat when it generalized."""
    norms = [n for n in map(norm_of, LSTM.of(trials)) if None not in (n.learnt, n.flat)]
    lags = [n.learnt - n.flat for n in norms]
    return f"; LSTM: by then for {spread(lags).mean:,.0f} steps" if lags else ""


def spikes(trials: Trials) -> Finding:
    """Weight decay cannot raise the norm, so it does not cause spikes."""
    norms = {m: [*map(norm_of, of_model)] for m, of_model in by_group(trials, MODELS).items()}
    texts = "; ".join(
        f"{model.label}: {sum(n.rises for n in of)} rises, {sum(n.bursts for n in of)} of them "
        f"with a burst of the training loss, and {sum(n.falls for n in of)} falls faster than by "
        f"weight decay alone, in {len(of)} trials"
        for model, of in norms.items()
    )
    ours = (
        f"{texts or 'no trial'}. Weight decay raises no norm, so no spike is its work; coming down "
        f"from one may be, where no fall is faster"
    )
    work_of_decay = [False for n in norms.get(LSTM, ()) if n.rises]
    return Finding(ours, by_share(work_of_decay, ran=LSTM in norms))


SOONER = better_with_more("t_f(L_val)", "t_f(A_val)")
AROUND = f"in 1,000 steps around A_val ≥ {LEARNT}, of those that reached it"
CLAIMS = (
    Says("000, 4.7 (c)", "More weight decay: better L_val and A_val",
         better_with_more("L_val", "A_val")),
    Says("000, 4.7 (c)", "More weight decay: both are best sooner", SOONER),
    Says("001, 4.7 (c)", "More weight decay: a lower L_val", better_with_more("L_val")),
    Says("001, 4.7 (c)", "More weight decay: lower t_f of both", SOONER),
    Says("000, 4.7 (d)", "Models generalize once the norm is flat",
         norms_that(f"the median norm changed by at most {TREND:.0%} {AROUND}",
                    lambda n: None if n.learnt is None else n.flat is not None,
                    note=flat_before)),
    Says("001, 4.7 (d)", "Before that the weights grow",
         norms_that("the norm was ever greater than in the untrained model",
                    lambda n: n.greatest > 0)),
    Says("001, 4.7 (d)", "The norm falls while the model generalizes",
         norms_that(f"the median norm fell by more than {TREND:.0%} {AROUND}",
                    lambda n: None if n.learnt is None else n.trend < -TREND)),
    Says("001, 4.7 (d)", "Spikes of the norm are weight decay in action, which stomps them",
         spikes),
    Says("001, 4.7 (d)", "Spikes are instabilities of the optimizer",
         norms_that("bursts of the training loss are more frequent at rises of the norm than "
                    "elsewhere, of those that have rises",
                    lambda n: n.bursts / n.rises > n.calm if n.rises else None), "001.3"),
)  # fmt: skip

TITLE = "Weight decay and the norm of the parameters"
EXPERIMENT = Experiment("regularization", TITLE, Options, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
