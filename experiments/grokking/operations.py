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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from experiments.grokking import options
from experiments.grokking.task import ORDERS, Grokking, data_of
from experiments.results.groups import LABELS, by_model, comparable, finished
from experiments.results.metrics import Spread, first_step, spread, summarize
from experiments.results.results import Claim, Drawing, Results, Table, verdict_of
from experiments.results.tables import cell, label
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import Record, TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASKS: tuple[Literal["code", "handout"], ...] = ("code", "handout")  # the seeds' first
SAID = {"code": "mask of the released code", "handout": "mask of the assignment's text"}
P = 11  # the seeds' modulus
KINDS = ("all", *ORDERS.values())
LEARNT = 0.9  # validation accuracy
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


def results(trials: Sequence[TrialRecord]) -> Results:
    ended = finished(trials)
    whole = comparable(ended, "p", "orders", "split_each_order", "mask")
    return Results(
        tables=[best_table(ended), mask_table(ended)],
        drawings=drawings_of(trials),
        claims=claims([trial for trial in whole if trial.settings["p"] == P]),
    )


# --- trials and their numbers ---------------------------------------------------------------------
def select(trials: Sequence[TrialRecord], model: str, mask: str) -> dict[int, TrialRecord]:
    """The trials of a model with a mask, by their seed."""
    return {
        t.settings["seed"]: t
        for t in trials
        if (t.settings["model"], t.settings["mask"]) == (model, mask)
    }


def pairs(trials: Sequence[TrialRecord], model: str) -> list[tuple[TrialRecord, TrialRecord]]:
    """The trials of a model under both masks, in the order of `MASKS`, seed by seed."""
    code, handout = (select(trials, model, mask) for mask in MASKS)
    return [(code[seed], handout[seed]) for seed in sorted(code.keys() & handout.keys())]


def of_kind(records: Sequence[Record], kind: str) -> list[Record]:
    """The metrics of all, of the binary or of the ternary equations, by their plain names."""
    if kind == "all":
        return list(records)
    head = f"{kind}_"
    return [
        {"step": r["step"]} | {k.removeprefix(head): r[k] for k in r if k.startswith(head)}
        for r in records
    ]


def numbers(records: Sequence[Record]) -> dict[str, float]:
    """The numbers of `NAMES`, and the first step with `LEARNT`: infinite if there was none."""
    found, step = summarize(records), first_step(records, "val_accuracy", LEARNT)
    return {name: found[name] for name in NAMES} | {FIRST: math.inf if step is None else step}


def average(records: Sequence[Record], key: str) -> float:
    """The mean of a metric over the run: over evaluated steps, each for the time since the last."""
    parts = [(b["step"] - a["step"]) * b[key] for a, b in pairwise(records)]
    return math.fsum(parts) / (records[-1]["step"] - records[0]["step"])


def unrest(records: Sequence[Record], key: str) -> float | None:
    """How much a metric goes up and down an evaluation, once it was `LEARNT`.

    Σ |change| - |Σ change|, over the number of changes; None if there is none.
    """
    start = first_step(records, key, LEARNT)
    values = [r[key] for r in records if start is not None and r["step"] >= start]
    if len(values) < 2:
        return None
    changes = [b - a for a, b in pairwise(values)]
    return (math.fsum(map(abs, changes)) - abs(math.fsum(changes))) / len(changes)


# --- tables ---------------------------------------------------------------------------------------
def show(name: str, values: Sequence[float]) -> str:
    """Mean ± std of values over seeds; of steps that were not all reached, how many were."""
    reached = [v for v in values if math.isfinite(v)]
    if len(reached) == len(values):
        return cell(name, spread(values))
    text = f"in {len(reached)} of {len(values)}"
    return f"{text}: {cell(name, spread(reached))}" if reached else text


def best_table(trials: Sequence[TrialRecord]) -> Table:
    rows, data = [], {}
    for mask in MASKS:
        for model in LABELS:
            group = select(trials, model, mask)
            for kind in KINDS if group else ():
                found = [numbers(of_kind(t.records, kind)) for t in group.values()]
                columns = {name: [each[name] for each in found] for name in found[0]}
                values = [show(name, column) for name, column in columns.items()]
                rows.append([LABELS[model], mask, kind, *values])
                data[f"{model}-{mask}-{kind}"] = {
                    name: [v if math.isfinite(v) else None for v in column]
                    for name, column in columns.items()
                }
    return Table(
        name="best",
        title="Best values by kind of equation",
        columns=["model", "mask", "equations", *map(label, NAMES), f"{FIRST} ↓"],
        rows=rows,
        note=f"Mean ± population standard deviation over seeds; t_f is the first evaluated step "
        f"with the best value, the last column the first with a validation accuracy of {LEARNT}. "
        f"Losses of binary equations do not compare between masks: under that of the code they "
        f"are means over three words, one of them PAD, which is easy.",
        data=data,
    )


def differences(trials: Sequence[TrialRecord], model: str, kind: str) -> dict[str, list[float]]:
    """Released code less assignment text, seed by seed, where both were run; NaN if not reached."""
    found: dict[str, list[float]] = {}
    for pair in pairs(trials, model):
        code, handout = (numbers(of_kind(trial.records, kind)) for trial in pair)
        for name in code:
            finite = math.isfinite(code[name]) and math.isfinite(handout[name])
            found.setdefault(name, []).append(code[name] - handout[name] if finite else math.nan)
    return found


def between_seeds(trials: Sequence[TrialRecord], model: str, kind: str, name: str) -> float:
    """The standard deviation of a number over seeds, mean over the masks: what chance does."""
    found = [
        [numbers(of_kind(t.records, kind))[name] for t in select(trials, model, mask).values()]
        for mask in MASKS
    ]
    return mean_std(values for values in found if all_finite(values))


def mean_std(groups: Iterable[Sequence[float]]) -> float:
    """The mean of the standard deviations of groups; NaN if none has two values."""
    stds = [std for values in groups if values and (std := spread(values).std) is not None]
    return math.fsum(stds) / len(stds) if stds else math.nan


def all_finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def mask_table(trials: Sequence[TrialRecord]) -> Table:
    rows, data = [], {}
    for model in LABELS:
        for kind in KINDS:
            found = differences(trials, model, kind)
            if not found:
                continue
            cells = []
            for name, values in found.items():
                known = [v for v in values if math.isfinite(v)]
                text = difference(name, spread(known)) if known else "not reached"
                chance = between_seeds(trials, model, kind, name)
                cells.append(f"{text} ({amount(name, chance)})" if math.isfinite(chance) else text)
            rows.append([LABELS[model], kind, *cells])
            data[f"{model}-{kind}"] = {
                name: [v if math.isfinite(v) else None for v in values]
                for name, values in found.items()
            }
    return Table(
        name="mask",
        title="What the mask changes",
        columns=["model", "equations", *NAMES, FIRST],
        rows=rows,
        note="Mask of the released code less that of the assignment's text, seed by seed: mean ± "
        "population standard deviation; in brackets the standard deviation between seeds under "
        "one mask. A difference not greater than that may be chance.",
        data=data,
    )


def difference(name: str, value: Spread) -> str:
    sign = "+" if value.mean >= 0 else "-"
    return f"{sign}{amount(name, abs(value.mean))} ± {amount(name, value.std or 0.0)}"


def amount(name: str, value: float) -> str:
    return cell(name, Spread(value, None))


# --- figures --------------------------------------------------------------------------------------
def drawings_of(trials: Sequence[TrialRecord]) -> list[Drawing]:
    from experiments.results import panels

    found = []
    for mask in MASKS:
        groups = {m: [*select(trials, m, mask).values()] for m in LABELS}
        groups = {m: group for m, group in groups.items() if group}
        if not groups:
            continue
        about = f"{SAID[mask]}\n{panels.shared([t for g in groups.values() for t in g])}"
        columns = {LABELS[m]: [t.records for t in group] for m, group in groups.items()}
        figure = panels.curves_of_parts(columns, title=f"All equations, {about}")
        caption = f"Loss and accuracy on all equations, {SAID[mask]}."
        found.append(Drawing(f"overall_{mask}", caption, figure))
        for model, group in groups.items():
            columns = {
                f"{kind} equations": [of_kind(t.records, kind) for t in group]
                for kind in ORDERS.values()
            }
            title = f"{LABELS[model]}, {SAID[mask]}\n{panels.shared(group)}"
            caption = f"{LABELS[model]}: binary and ternary equations apart, {SAID[mask]}."
            figure = panels.curves_of_parts(columns, title=title)
            found.append(Drawing(f"orders_{model}_{mask}", caption, figure))
    caption = "Validation accuracy under both masks."
    return [*found, Drawing("masks", caption, masks_figure(trials))]


def masks_figure(trials: Sequence[TrialRecord]) -> Figure:
    """Validation accuracy under both masks: a row a kind of equation, a column a model."""
    import matplotlib as mpl

    from experiments.results import panels
    from experiments.results.figures import STYLE, draw_band

    models = by_model(trials)
    colors = {"code": "#009E73", "handout": "#CC79A7"}  # Okabe and Ito, and no model's or set's
    with mpl.rc_context(STYLE):
        title = f"Both masks\n{panels.shared(trials)}"
        figure, axes = panels.grid_of_panels(2, len(models), title, sharey=True)
        for row, kind in zip(axes, ORDERS.values(), strict=True):
            for ax, model in zip(row, models, strict=True):
                for mask, color in colors.items():
                    group = select(trials, model, mask).values()
                    shown = [of_kind(t.records, kind) for t in group]
                    if shown:
                        draw_band(ax, shown, "val_accuracy", color=color, label=SAID[mask])
                ax.set_title(f"{LABELS[model]}, {kind}", loc="left")
                panels.style_axes(ax, panels.ACCURACY)
            row[0].set_ylabel("validation accuracy")
        panels.label_steps(axes)
        axes[0, 0].legend(loc="upper left")
    return figure


# --- what the seeds say ---------------------------------------------------------------------------
def claims(trials: Sequence[TrialRecord]) -> list[Claim]:
    """Question 4.4 (c), by the trials with the mask that the seeds ran.

    trials: with the settings of the seeds, run to the end.
    """
    runs = {model: [*select(trials, model, "code").values()] for model in LABELS}
    both = [t for model in LABELS for t in runs[model]]
    apart = {t.folder.name: [of_kind(t.records, kind) for kind in ORDERS.values()] for t in both}

    def gap(trial: TrialRecord) -> float:
        binary, ternary = apart[trial.folder.name]
        return average(ternary, "val_accuracy") - average(binary, "val_accuracy")

    def listed(values: Mapping[str, str]) -> str:
        return "; ".join(f"{name}: {text}" for name, text in values.items()) or "no trial"

    gaps = {t.folder.name: gap(t) for t in both}
    said = {name: f"{value:+.3f}" for name, value in gaps.items()}
    of_gpt, of_lstm = ([t.folder.name for t in runs[model]] for model in ("gpt", "lstm"))
    more = "A_val averaged over the run, ternary less binary"
    steps = {
        name: [first_step(records, "val_accuracy", LEARNT) for records in pair]
        for name, pair in apart.items()
    }
    rests = {name: [unrest(r, "val_accuracy") for r in pair] for name, pair in apart.items()}
    rests = {name: (b, t) for name, (b, t) in rests.items() if b is not None and t is not None}
    fits = {
        name: [average(r, "train_accuracy") - average(r, "val_accuracy") for r in pair]
        for name, pair in apart.items()
    }
    reached = [[math.inf if s is None else s for s in pair] for pair in steps.values()]
    earlier = [ternary < binary for binary, ternary in reached if ternary != binary]
    learnt = {
        name: " and ".join("never" if step is None else f"{step:,}" for step in pair)
        for name, pair in steps.items()
    }
    ran = bool(both)
    return [
        Claim(
            "000, 4.4 (c)",
            "GPT: ternary sums are right more often than binary ones",
            f"{more}: {listed({name: said[name] for name in of_gpt})}",
            verdict_of([gaps[name] > 0 for name in of_gpt], ran=bool(of_gpt)),
        ),
        Claim(
            "000, 4.4 (c)",
            "LSTM: not much difference between them",
            f"{more}: {listed({name: said[name] for name in of_lstm})} (alike: up to {ALIKE})",
            verdict_of([abs(gaps[name]) <= ALIKE for name in of_lstm], ran=bool(of_lstm)),
        ),
        Claim(
            "001, 4.4 (c)",
            "Ternary sums converge sooner",
            f"step with A_val ≥ {LEARNT}, binary and ternary: {listed(learnt)}",
            verdict_of(earlier, ran=ran),
        ),
        Claim(
            "001, 4.4 (c)",
            "The curves of binary sums are less stable",
            f"mean up-and-down of A_val between evaluations after {LEARNT}, binary and ternary: "
            f"{listed({k: f'{b:.4f} and {t:.4f}' for k, (b, t) in rests.items()})}; of the fewer "
            f"binary equations each counts for more",
            verdict_of([b > t for b, t in rests.values()], ran=ran),
        ),
        Claim(
            "001, 4.4 (c)",
            "Both models overfit slightly more on binary sums",
            f"A_train - A_val averaged over the run, binary and ternary: "
            f"{listed({k: f'{b:.3f} and {t:.3f}' for k, (b, t) in fits.items()})}",
            verdict_of([b > t for b, t in fits.values()], ran=ran),
        ),
        confound(trials),
    ]


def confound(trials: Sequence[TrialRecord]) -> Claim:
    """Erratum 2 of 001: how many equations there are of each kind, and what the mask does."""
    held, parts = list[bool](), list[str]()

    def binary_accuracy(trial: TrialRecord) -> float:
        return average(of_kind(trial.records, "binary"), "val_accuracy")

    for model in LABELS:
        found = [(binary_accuracy(a), binary_accuracy(b)) for a, b in pairs(trials, model)]
        if not found:
            continue
        effect = spread([code - handout for code, handout in found])
        text = (
            f"{LABELS[model]}: the code's mask changes binary A_val, averaged over the run, by "
            f"{effect.mean:+.3f}"
        )
        if effect.std is not None:
            chance = mean_std(zip(*found, strict=True))
            held.append(abs(effect.mean) > chance)
            text += f" ± {effect.std:.3f}; between seeds ± {chance:.3f}"
        parts.append(text)
    counts = ""
    if trials:
        train, _ = data_of(Grokking.of(trials[0].settings))
        binary, ternary = (int((train.order == n).sum()) for n in ORDERS)
        counts = f"{binary} binary and {ternary} ternary equations to train on; "
    return Claim(
        "001, 4.4 (c)",
        "The comparison is confounded: there are fewer binary sums, and the mask of the code adds "
        "a PAD to them",
        counts + ("; ".join(parts) or "not both masks were run"),
        verdict_of(held, ran=bool(parts)),
        erratum="001.2",
    )


EXPERIMENT = Experiment(
    "operations", "Sums of two and of three numbers", Options, results, options.summary
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
