"""Sums of two and of three numbers at once (question 4.4 of seeds 000 and 001).

    python -m experiments.grokking.operations --scale small    # shows that everything works
    python -m experiments.grokking.operations                  # the whole experiment
    python -m experiments.grokking.operations --resume         # go on, or make figures again

Both models learn a + b and a + b + c modulo 11 from half of each kind. Which is learnt faster?
Sums of two are padded to the length of the others, and there are two readings of the mask over
their right-hand side: that of the assignment's text, {r, EOS}, and that of the released code, which
the seeds ran and which counts one PAD as well. Both are run, so that the difference is measured.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from experiments.grokking import options, seeds
from experiments.grokking.seeds import GPT, LEARNT, LSTM, MODELS
from experiments.grokking.task import ORDERS, Grokking, data_of
from experiments.results.claims import Finding, Says, by_share, decide, share_of
from experiments.results.curves import Quantity, Spread, average, first_step, spread, unrest
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell
from experiments.results.trials import Group, Trials, by_group, finished, pairs, where
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord

MASKS: tuple[Literal["code", "handout"], ...] = ("code", "handout")  # the seeds' first
OF_CODE, OF_TEXT = (  # Okabe and Ito, and no model's or set's colours
    Group("mask", "code", "mask of the released code", "#009E73", "#009E73"),
    Group("mask", "handout", "mask of the assignment's text", "#CC79A7", "#CC79A7"),
)
BY_MASK = (OF_CODE, OF_TEXT)
P = 11  # the seeds' modulus
KINDS = tuple(ORDERS.values())  # binary, ternary
NAMES = ("L_train", "L_val", "A_train", "A_val", "t_f(L_val)", "t_f(A_val)")
FIRST = f"step of A_val ≥ {LEARNT}"
ALIKE = 0.05  # difference in accuracy up to which two are called alike


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
            for mask in MASKS
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
    """The first step with `LEARNT`; infinite if there was none. head: of names in the records."""
    step = first_step(trial, f"{head}val_accuracy", LEARNT)
    return math.inf if step is None else step


def quantities(kind: str = "") -> list[Quantity]:
    """Those of `NAMES` and `FIRST`; kind: if not of all equations."""
    head = f"{kind}_" if kind else ""
    numbers = [number for number in seeds.table_numbers(head) if number.name in NAMES]
    return [*numbers, Quantity(FIRST, lambda t: step_learnt(t, head), formats=seeds.STEPS)]


def show(quantity: Quantity, values: Sequence[float]) -> str:
    """Mean ± std of values over seeds; of steps that were not all reached, how many were."""
    reached = [v for v in values if math.isfinite(v)]
    if len(reached) == len(values):
        return cell(quantity, spread(values))
    text = f"in {len(reached)} of {len(values)}"
    return f"{text}: {cell(quantity, spread(reached))}" if reached else text


def known(values: Iterable[float]) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values]


def best_table(trials: Trials) -> Table:
    rows, data = [], {}
    for mask, of_mask in by_group(trials, BY_MASK).items():
        for model, group in by_group(of_mask, MODELS).items():
            for kind in ("", *KINDS):
                values = {q: [q.of(t) for t in group] for q in quantities(kind)}
                cells = [show(q, each) for q, each in values.items()]
                rows.append([model.label, mask.value, kind or "all", *cells])
                data[f"{model.value}-{mask.value}-{kind or 'all'}"] = {
                    q.name: known(each) for q, each in values.items()
                }
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
        both = pairs(of_model, OF_CODE, OF_TEXT)
        for kind in ("", *KINDS) if both else ():
            cells, values = [], {}
            for q in quantities(kind):
                apart = [q.of(code) - q.of(text) for code, text in both]
                chance = between_seeds([q.of(t) for t in mask.of(of_model)] for mask in BY_MASK)
                cells.append(difference(q, apart, chance))
                values[q.name] = known(apart)
            rows.append([model.label, kind or "all", *cells])
            data[f"{model.value}-{kind or 'all'}"] = values
    note = (
        "Mask of the released code less that of the assignment's text, seed by seed: mean ± "
        "population standard deviation; in brackets the standard deviation between seeds under one "
        "mask. A difference not greater than that may be chance."
    )
    columns = ["model", "equations", *NAMES, FIRST]
    return Table("mask", "What the mask changes", columns, rows, note, data)


def between_seeds(columns: Iterable[Sequence[float]]) -> float:
    """The mean of the standard deviations of columns; NaN if none has two values, all finite."""
    finite = [values for values in columns if values and all(map(math.isfinite, values))]
    stds = [std for _, std in map(spread, finite) if std is not None]
    return math.fsum(stds) / len(stds) if stds else math.nan


def difference(quantity: Quantity, values: Sequence[float], chance: float) -> str:
    """Mean with its sign ± std of the differences that are known, and what may be chance."""
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

    def draw(name: str, title: str, caption: str, columns: dict[str, list[panels.Band]]) -> None:
        figure = panels.bands_against_steps(title, columns)
        drawn.append(Drawing(name, caption, figure, live=True))

    for mask, of_mask in by_group(trials, BY_MASK).items():
        models = by_group(of_mask, MODELS)
        columns = {model.label: panels.both_parts(group) for model, group in models.items()}
        title = f"All equations, {mask.label}\n{seeds.alike(of_mask)}"
        caption = f"Loss and accuracy on all equations, {mask.label}."
        draw(f"overall_{mask.value}", title, caption, columns)
        for model, group in models.items():
            columns = {f"{kind} equations": panels.both_parts(group, f"{kind}_") for kind in KINDS}
            title = f"{model.label}, {mask.label}\n{seeds.alike(group)}"
            caption = f"{model.label}: binary and ternary equations apart, {mask.label}."
            draw(f"orders_{model.value}_{mask.value}", title, caption, columns)
    rows = [
        panels.Curve("accuracy", f"validation accuracy, {kind}", kind=f"{kind}_") for kind in KINDS
    ]
    columns = {
        model.label: [
            panels.Band(group, "val", mask.color, mask.label)
            for mask, group in by_group(of_model, BY_MASK).items()
        ]
        for model, of_model in by_group(trials, MODELS).items()
    }
    figure = panels.bands_against_steps(f"Both masks\n{seeds.alike(trials)}", columns, rows)
    return [*drawn, Drawing("masks", "Validation accuracy under both masks.", figure)]


def answer(trials: Trials) -> str:
    firsts = {kind: quantities(kind)[-1] for kind in KINDS}
    steps = lambda of_model: ", ".join(
        f"{kind} {show(first, [first.of(t) for t in of_model])}" for kind, first in firsts.items()
    )
    texts = seeds.of_models(OF_CODE.of(trials), steps)
    return f"First step with nine in ten held-out sums right: {texts}"


# --- what the seeds say: binary sums beside ternary ones ------------------------------------------
def both_kinds(number: Callable[[TrialRecord, str], float | None]) -> Callable[..., Any]:
    """(binary, ternary): a number of a trial's records of each kind; None if one is not known."""

    def of(trial: TrialRecord) -> Any:
        both = tuple(number(trial, f"{kind}_") for kind in KINDS)
        return None if None in both else both

    return of


mean_accuracy = both_kinds(lambda t, head: average(t, f"{head}val_accuracy"))
learnt = both_kinds(step_learnt)
unrests = both_kinds(lambda t, head: unrest(t, f"{head}val_accuracy", LEARNT))
overfit = both_kinds(
    lambda t, head: average(t, f"{head}train_accuracy") - average(t, f"{head}val_accuracy")
)


def more_right(trial: TrialRecord) -> float:
    binary, ternary = mean_accuracy(trial)
    return ternary - binary


def confound(trials: Trials) -> Finding:
    """Erratum 001.2: how many equations there are of each kind, and what the mask does."""
    larger, texts = [], []
    for model in MODELS:
        both = pairs(model.of(trials), OF_CODE, OF_TEXT)
        if not both:
            continue
        code, text = ([mean_accuracy(trial)[0] for trial in of] for of in zip(*both, strict=True))
        mean, std = spread([c - t for c, t in zip(code, text, strict=True)])
        words = (
            f"{model.label}: the code's mask changes binary A_val, averaged over the run, by "
            f"{mean:+.3f}"
        )
        if std is not None:
            chance = between_seeds([code, text])
            larger.append(abs(mean) > chance)
            words += f" ± {std:.3f}; between seeds ± {chance:.3f}"
        texts.append(words)
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
         share_of(MODELS, f"step with A_val ≥ {LEARNT}, binary and ternary", learnt,
                  lambda pair: None if pair[0] == pair[1] else pair[0] > pair[1],
                  lambda pair: " and ".join(f"{s:,}" if s < math.inf else "never" for s in pair))),
    Says("001, 4.4 (c)", "The curves of binary sums are less stable",
         share_of(MODELS, f"mean up-and-down of A_val between evaluations after {LEARNT}, binary "
                  "and ternary", unrests, lambda pair: pair[0] > pair[1],
                  lambda pair: f"{pair[0]:.4f} and {pair[1]:.4f}",
                  note="; of the fewer binary equations each counts for more")),
    Says("001, 4.4 (c)", "Both models overfit slightly more on binary sums",
         share_of(MODELS, "A_train - A_val averaged over the run, binary and ternary", overfit,
                  lambda pair: pair[0] > pair[1],
                  lambda pair: f"{pair[0]:.3f} and {pair[1]:.3f}")),
)  # fmt: skip
OF_BOTH_MASKS = (
    Says("001, 4.4 (c)", "The comparison is confounded: there are fewer binary sums, and the mask "
         "of the code adds a PAD to them", confound, "001.2"),
)  # fmt: skip

TITLE = "Sums of two and of three numbers"
EXPERIMENT = Experiment("operations", TITLE, Options, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
