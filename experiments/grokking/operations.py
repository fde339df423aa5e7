"""Sums of two and of three numbers at once (question 4.4 of seeds 000 and 001).

Both models learn a + b and a + b + c modulo 11 from half of each kind. Which is learnt faster?
Sums of two are padded to the length of the others. The mask over their right-hand side is {r, EOS}
in the assignment's text, but in the released code, which the seeds ran, it includes one PAD. Both
masks are run, so that the difference is measured.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import gt
from typing import Any

from experiments.grokking import options, seeds
from experiments.grokking.seeds import GPT, LEARNT, LSTM, MODELS
from experiments.grokking.task import ORDERS, Grokking, data_of
from experiments.results.claims import Finding, Says, Test, by_share, decide, share_of
from experiments.results.curves import Quantity, Spread, average, first_step, spread, unrest
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell
from experiments.results.trials import Group, Trials, by_group, finished, pairs, where
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord

MASKS = OF_CODE, OF_TEXT = (  # the seeds' first; colours that no model or set has
    Group("mask", "code", "mask of the released code", "#009E73", "#009E73"),
    Group("mask", "handout", "mask of the assignment's text", "#CC79A7", "#CC79A7"),
)
P = 11  # the seeds' modulus
KINDS = {kind: f"{kind}_" for kind in ORDERS.values()}  # kind -> prefix of its record keys
ALL_KINDS = {"all": "", **KINDS}
NAMES = ("L_train", "L_val", "A_train", "A_val", "t_f(L_val)", "t_f(A_val)")
FIRST = f"step of A_val ≥ {LEARNT}"
ALIKE = 0.05  # accuracies are alike if they differ by at most this


@dataclass(frozen=True)
class Options(options.Options):
    """Question 4.4."""

    p: int = P
    """The modulus. There are p² sums of two and p³ of three."""

    def trials(self) -> dict[str, Grokking]:
        return {
            f"{model}-{mask}-seed{seed}": self.trial(
                model=model, mask=mask, seed=seed, p=self.p, orders=(2, 3), split_each_order=True
            )
            for mask in (group.value for group in MASKS)
            for seed in self.seeds
            for model in self.models
        }


def results(trials: Trials) -> Results:
    ended = finished(trials)
    usual = where(seeds.comparable(ended, "p", "orders", "split_each_order", "mask"), p=P)
    return Results(
        tables=[best_table(ended), mask_table(ended)],
        drawings=drawings(trials),
        claims=[*decide(CLAIMS, OF_CODE.of(usual)), *decide(OF_BOTH_MASKS, usual)],
        answer=Answer(answer(ended), "best"),
        groups=MODELS,
    )


# --- tables ---------------------------------------------------------------------------------------
def step_learnt(trial: TrialRecord, head: str) -> float:
    """The first step with accuracy `LEARNT`; infinite if there is none. head: see `KINDS`."""
    step = first_step(trial, f"{head}val_accuracy", LEARNT)
    return math.inf if step is None else step


def quantities(head: str = "") -> list[Quantity]:
    """The quantities of `NAMES`, and `FIRST`."""
    numbers = [number for number in seeds.table_numbers(head) if number.name in NAMES]
    return [*numbers, Quantity(FIRST, lambda t: step_learnt(t, head), formats=seeds.STEPS)]


def show(quantity: Quantity, values: Sequence[float]) -> str:
    """Mean ± std over seeds; if not all values are finite, also the number of those that are."""
    reached = [v for v in values if math.isfinite(v)]
    if len(reached) == len(values):
        return cell(quantity, spread(values))
    text = f"in {len(reached)} of {len(values)}"
    return f"{text}: {cell(quantity, spread(reached))}" if reached else text


def known(values: Sequence[float]) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values]


def best_table(trials: Trials) -> Table:
    rows, data = [], {}
    for mask, of_mask in by_group(trials, MASKS).items():
        for model, group in by_group(of_mask, MODELS).items():
            for kind, head in ALL_KINDS.items():
                values = {q: [q.of(t) for t in group] for q in quantities(head)}
                cells = [show(q, each) for q, each in values.items()]
                rows.append([model.label, mask.value, kind, *cells])
                name = f"{model.value}-{mask.value}-{kind}"
                data[name] = {q.name: known(each) for q, each in values.items()}
    columns = ["model", "mask", "equations", *(q.label for q in quantities())]
    note = (
        f"Mean ± population standard deviation over seeds; t_f is the first evaluated step with "
        f"the best value, the last column the first with a validation accuracy of {LEARNT}. Losses "
        f"of binary equations do not compare between masks: under that of the code they are means "
        f"over three words, one of them PAD, which is easy."
    )
    return Table("best", "Best values by kind of equation", columns, rows, note, data)


def mask_table(trials: Trials) -> Table:
    rows, data = [], {}
    for model, of_model in by_group(trials, MODELS).items():
        for kind, head in ALL_KINDS.items() if pairs(of_model, OF_CODE, OF_TEXT) else ():
            effects = {q: effect(q, of_model) for q in quantities(head)}
            rows.append([model.label, kind, *(in_words(q, *each) for q, each in effects.items())])
            data[f"{model.value}-{kind}"] = {q.name: known(v) for q, (v, _) in effects.items()}
    note = (
        "Mask of the released code less that of the assignment's text, seed by seed: mean ± "
        "population standard deviation; in brackets the standard deviation between seeds under one "
        "mask. A difference not greater than that may be chance."
    )
    columns = ["model", "equations", *NAMES, FIRST]
    return Table("mask", "What the mask changes", columns, rows, note, data)


def effect(quantity: Quantity, trials: Trials) -> tuple[list[float], float]:
    """Differences by seed, code's mask minus text's; the std over seeds for one mask, or NaN."""
    both = pairs(trials, OF_CODE, OF_TEXT)
    under_mask = [quantity.over(mask.of(trials)) for mask in MASKS]
    stds = [each.std for each in under_mask if each and each.std is not None]
    chance = math.fsum(stds) / len(stds) if stds else math.nan
    return [quantity.of(code) - quantity.of(text) for code, text in both], chance


def in_words(quantity: Quantity, values: Sequence[float], chance: float) -> str:
    """Signed mean ± std of the finite differences; in brackets the std over seeds."""
    amount = lambda value: cell(quantity, Spread(value, None))
    bracket = f" ({amount(chance)})" if math.isfinite(chance) else ""
    if not (finite := [v for v in values if math.isfinite(v)]):
        return f"not reached{bracket}"
    mean, std = spread(finite)
    return f"{'+' if mean >= 0 else '-'}{amount(abs(mean))} ± {amount(std or 0.0)}{bracket}"


# --- figures --------------------------------------------------------------------------------------
def drawings(trials: Trials) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    drawn = []

    def draw(name: str, trials: Trials, what: str, caption: str, columns: Any) -> None:
        figure = panels.bands_against_steps(f"{what}\n{seeds.alike(trials)}", columns)
        drawn.append(Drawing(name, caption, figure, live=True))

    for mask, of_mask in by_group(trials, MASKS).items():
        models = by_group(of_mask, MODELS)
        columns = {model.label: panels.both_parts(group) for model, group in models.items()}
        caption = f"Loss and accuracy on all equations, {mask.label}."
        draw(f"overall_{mask.value}", of_mask, f"All equations, {mask.label}", caption, columns)
        for model, group in models.items():
            columns = {f"{k} equations": panels.both_parts(group, h) for k, h in KINDS.items()}
            caption = f"{model.label}: binary and ternary equations apart, {mask.label}."
            name = f"orders_{model.value}_{mask.value}"
            draw(name, group, f"{model.label}, {mask.label}", caption, columns)
    rows = [
        panels.Curve("accuracy", f"validation accuracy, {kind}", kind=head)
        for kind, head in KINDS.items()
    ]
    columns = {
        model.label: [
            panels.Band(group, "val", mask.color, mask.label)
            for mask, group in by_group(of_model, MASKS).items()
        ]
        for model, of_model in by_group(trials, MODELS).items()
    }
    figure = panels.bands_against_steps(f"Both masks\n{seeds.alike(trials)}", columns, rows)
    return [*drawn, Drawing("masks", "Validation accuracy under both masks.", figure)]


def answer(trials: Trials) -> str:
    firsts = {kind: quantities(head)[-1] for kind, head in KINDS.items()}
    steps = lambda of_model: ", ".join(
        f"{kind} {show(first, [first.of(t) for t in of_model])}" for kind, first in firsts.items()
    )
    texts = seeds.of_models(OF_CODE.of(trials), steps)
    return f"First step with nine in ten held-out sums right: {texts}"


# --- claims of the seeds --------------------------------------------------------------------------
def of_kinds(
    words: str,
    number: Callable[[TrialRecord, str], float | None],
    holds: Callable[[float, float], bool | None],
    show: Callable[[float], str] = "{:.3f}".format,
    *,
    note: str = "",
) -> Test:
    """Whether, in most trials, something holds for the numbers of binary and of ternary sums."""

    def both(trial: TrialRecord) -> Any:
        values = [number(trial, head) for head in KINDS.values()]
        return None if None in values else values

    shown = lambda values: " and ".join(map(show, values))
    words = f"{words}, binary and ternary"
    return share_of(MODELS, words, both, lambda values: holds(*values), shown, note=note)


mean_accuracy = lambda trial, head: average(trial, f"{head}val_accuracy")
more_right = lambda trial: mean_accuracy(trial, "ternary_") - mean_accuracy(trial, "binary_")
overfit = lambda trial, head: average(trial, f"{head}train_accuracy") - mean_accuracy(trial, head)


def confound(trials: Trials) -> Finding:
    """Erratum 001.2: the number of equations of each kind, and the effect of the mask."""
    larger, texts = [], []
    binary_accuracy = Quantity("", lambda t: mean_accuracy(t, "binary_"))
    for model, of_model in by_group(trials, MODELS).items():
        values, chance = effect(binary_accuracy, of_model)
        if not values:
            continue
        mean, std = spread(values)
        words = "the code's mask changes binary A_val, averaged over the run, by"
        texts.append(f"{model.label}: {words} {mean:+.3f}")
        if std is not None:
            larger.append(abs(mean) > chance)
            texts[-1] += f" ± {std:.3f}; between seeds ± {chance:.3f}"
    counts = ""
    if trials:
        train, _ = data_of(Grokking.of(trials[0].settings))
        binary, ternary = (int((train.order == n).sum()) for n in ORDERS)
        counts = f"{binary} binary and {ternary} ternary equations to train on; "
    ours = counts + ("; ".join(texts) or "not both masks were run")
    return Finding(ours, by_share(larger, ran=bool(texts)))


MORE = "A_val averaged over the run, ternary less binary"
CLAIMS = (  # question 4.4 (c), by the trials with the mask that the seeds ran
    Says("000, 4.4 (c)", "GPT: ternary sums are right more often than binary ones",
         share_of([GPT], MORE, more_right, lambda gap: gap > 0, "{:+.3f}".format)),
    Says("000, 4.4 (c)", "LSTM: not much difference between them",
         share_of([LSTM], MORE, more_right, lambda gap: abs(gap) <= ALIKE, "{:+.3f}".format,
                  note=f" (alike: up to {ALIKE})")),
    Says("001, 4.4 (c)", "Ternary sums converge sooner",
         of_kinds(f"step with A_val ≥ {LEARNT}", step_learnt,
                  lambda binary, ternary: None if binary == ternary else binary > ternary,
                  lambda step: f"{step:,}" if step < math.inf else "never")),
    Says("001, 4.4 (c)", "The curves of binary sums are less stable",
         of_kinds(f"mean up-and-down of A_val between evaluations after {LEARNT}",
                  lambda trial, head: unrest(trial, f"{head}val_accuracy", LEARNT), gt,
                  "{:.4f}".format, note="; of the fewer binary equations each counts for more")),
    Says("001, 4.4 (c)", "Both models overfit slightly more on binary sums",
         of_kinds("A_train - A_val averaged over the run", overfit, gt)),
)  # fmt: skip
OF_BOTH_MASKS = (
    Says("001, 4.4 (c)", "The comparison is confounded: there are fewer binary sums, and the mask "
         "of the code adds a PAD to them", confound, "001.2"),
)  # fmt: skip

TITLE = "Sums of two and of three numbers"
EXPERIMENT = Experiment("operations", TITLE, Options, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
