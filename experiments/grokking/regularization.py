"""Weight decay and the norm of the parameters (question 4.7 of seeds 000 and 001).

    python -m experiments.grokking.regularization --scale small    # shows that everything works
    python -m experiments.grokking.regularization --model lstm     # as the seeds were asked
    python -m experiments.grokking.regularization                  # the GPT besides
    python -m experiments.grokking.regularization --resume         # go on, or make figures again

Both models learn a + b modulo 31 under weight decays from 1/4 to 1, four times as long as in the
sanity check. Three things that the seeds say of the norm are decided by measurement, trial by
trial: that models generalize once it is flat (000), that it falls while they do (001), and that its
spikes are weight decay in action (001). See `Norm` for what is measured.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.grokking import options
from experiments.grokking.task import Grokking
from experiments.results.groups import (
    LABELS,
    by_model,
    comparable,
    finished,
    grouped,
    over_seeds,
)
from experiments.results.metrics import first_step, spread
from experiments.results.results import Claim, Drawing, Results, Table, verdict_of
from experiments.results.tables import best_table
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 40_001
LEARNT = 0.9  # validation accuracy from which a model is said to generalize
WINDOW = 11  # evaluations of the running median, which leaves spikes out
TREND = 0.01  # change of the norm in 1,000 steps, of itself, up to which it counts as flat
RISE = 0.02  # of the norm from one evaluation to the next, from which it is a spike
BURST = 10.0  # times as much as before: a spike of the training loss
LEAST = float(np.finfo(np.float32).eps)  # of the losses that are compared: others are rounding


@dataclass(frozen=True)
class Options(options.Options):
    """Question 4.7."""

    weight_decays: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Of all parameters; AdamW multiplies them by 1 - lr * weight decay a step."""

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


def results(trials: Sequence[TrialRecord]) -> Results:
    ended = [t for t in finished(trials) if not t.status.get("diverged")]
    whole = comparable(ended, "weight_decay", steps=STEPS)
    norms = {t.folder.name: norm_of(t) for t in ended}
    return Results(
        tables=[
            best_table("best", ended, {"weight_decay": "weight decay"}),
            norm_table(ended, norms),
        ],
        drawings=drawings_of(trials, ended, norms),
        claims=[*decay_claims(whole), *norm_claims(whole, norms)],
    )


# --- the norm of a trial --------------------------------------------------------------------------
@dataclass(frozen=True)
class Norm:
    """What is measured in one trial, at its regular evaluations, 100 steps apart.

    The median norm is the median over `WINDOW` evaluations, in which spikes do not show. Its trend
    at a step is the change of its logarithm in 1,000 steps, over as many evaluations around it.

    learnt:   the first step with a validation accuracy of `LEARNT`; None if there is none.
    trend:    that of the median norm at `learnt`.
    flat:     the first step from which the trend has been `TREND` at most until `learnt`; None if
              it is more there.
    greatest: the step of the greatest norm.
    rises:    evaluations whose norm is greater by more than `RISE` than that of the one before,
              after the training set was first learnt. Weight decay makes no norm greater.
    bursts:   how many of them come with a spike of the training loss, at their evaluation or the
              ones beside it: more than `BURST` times the median of the evaluations before.
    calm:     what part of the other evaluations since then do.
    falls:    evaluations whose norm is less than weight decay alone would have left of the one
              before, (1 - lr * weight decay) to the power of the steps between.
    """

    learnt: int | None
    trend: float | None
    flat: int | None
    greatest: int
    rises: int
    bursts: int
    calm: float
    falls: int


def norm_of(trial: TrialRecord) -> Norm:
    """The measurements of one trial that did not diverge."""
    s, every = trial.settings, trial.settings["eval_period"]
    records = [r for r in trial.records if r["step"] % every == 0]
    steps = np.array([r["step"] for r in records])
    norms = np.array([r["norm"] for r in records], dtype=float)
    loss = np.array([r["train_loss"] for r in records], dtype=float)
    trends = trends_of(steps, running_median(norms))
    learnt = first_step(records, "val_accuracy", LEARNT)
    ratios = norms[1:] / norms[:-1]
    decays = (1 - s["lr"] * s["weight_decay"]) ** np.diff(steps)
    fitted = first_step(records, "train_accuracy", LEARNT)
    late = steps[1:] > (math.inf if fitted is None else fitted)
    rises = late & (ratios > 1 + RISE)
    burst = near(loss > BURST * np.maximum(median_before(loss), LEAST))[1:]
    others = late & ~rises
    at = None if learnt is None else int(np.searchsorted(steps, learnt))
    flat = None if at is None else flat_until(np.abs(trends) <= TREND, at)
    return Norm(
        learnt=learnt,
        trend=None if at is None else float(trends[at]),
        flat=None if flat is None else int(steps[flat]),
        greatest=int(steps[norms.argmax()]),
        rises=int(rises.sum()),
        bursts=int((rises & burst).sum()),
        calm=float(burst[others].mean()) if others.any() else 0.0,
        falls=int((ratios < decays).sum()),
    )


def running_median(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(n,) the median of the `WINDOW` values around each, of fewer at the ends."""
    reach = WINDOW // 2
    padded = np.pad(values, reach, constant_values=math.nan)
    return np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, WINDOW), axis=1)


def median_before(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(n,) the median of half a window of values before each; NaN for the first."""
    reach = WINDOW // 2
    before = [values[max(0, i - reach) : i] for i in range(1, len(values))]
    return np.array([math.nan, *map(np.median, before)])


def trends_of(steps: np.ndarray[Any, Any], median: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(n,) d log(norm) in 1,000 steps, from half a window before each to half a window after."""
    i, reach = np.arange(len(steps)), WINDOW // 2
    a, b = np.maximum(0, i - reach), np.minimum(len(steps) - 1, i + reach)
    return 1000 * np.log(median[b] / median[a]) / np.maximum(steps[b] - steps[a], 1)


def flat_until(flat: np.ndarray[Any, Any], at: int) -> int | None:
    """The first index from which all are flat up to `at`; None if that is not."""
    if not flat[at]:
        return None
    steep = np.flatnonzero(~flat[:at])
    return int(steep[-1]) + 1 if len(steep) else 0


def near(flags: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether a flag or one beside it is set."""
    padded = np.pad(flags, 1)
    return padded[:-2] | padded[1:-1] | padded[2:]


# --- tables ---------------------------------------------------------------------------------------
def by_decay(trials: Sequence[TrialRecord], model: str) -> dict[float, list[TrialRecord]]:
    """The trials of a model at each weight decay."""
    return grouped([t for t in trials if t.settings["model"] == model], "weight_decay")


def norm_table(trials: Sequence[TrialRecord], norms: dict[str, Norm]) -> Table:
    rows = []
    for model in LABELS:
        for decay, group in by_decay(trials, model).items():
            for trial in group:
                n = norms[trial.folder.name]
                rows.append([
                    LABELS[model], f"{decay:g}", str(trial.settings["seed"]), f"{n.greatest:,}",
                    "never" if n.learnt is None else f"{n.learnt:,}",
                    "" if n.trend is None else f"{n.trend:+.1%}",
                    "not flat" if n.flat is None else f"{n.flat:,}",
                    str(n.rises), f"{n.bursts} ({n.calm:.0%})", str(n.falls),
                ])  # fmt: skip
    return Table(
        name="norm",
        title="The norm of the parameters, trial by trial",
        columns=[
            "model", "weight decay", "seed", "greatest at", f"A_val ≥ {LEARNT} at", "trend then",
            "flat from", "rises", "with a burst (others)", "falls",
        ],
        rows=rows,
        note=f"At the regular evaluations. Trend: the change of the running median of the norm, "
        f"over {WINDOW} evaluations, in 1,000 steps around that of A_val. Flat from: where the "
        f"stretch begins in which A_val comes to {LEARNT} and all of which has a trend of at most "
        f"{TREND:.0%}. Rises: evaluations with a norm more than {RISE:.0%} above that of the one "
        f"before, once the training accuracy was {LEARNT}; with a burst: those beside which the "
        f"training loss is more than {BURST:g} times the median of the {WINDOW // 2} evaluations "
        f"before it, and in brackets the share of other evaluations of which that is true. Falls: "
        f"evaluations with a norm below what weight decay alone would have left of the one before.",
        data={name: asdict(norm) for name, norm in norms.items()},
    )  # fmt: skip


# --- figures --------------------------------------------------------------------------------------
def drawings_of(
    trials: Sequence[TrialRecord], ended: Sequence[TrialRecord], norms: dict[str, Norm]
) -> list[Drawing]:
    from experiments.results import panels

    decay, found = panels.Setting("weight_decay", "weight decay"), []
    rows = (panels.LOSS, panels.ACCURACY, panels.NORM)
    for model, group in by_model(trials).items():
        figure = panels.curves(group, decay, title=LABELS[model], quantities=rows)
        caption = (
            f"{LABELS[model]}: loss, accuracy and norm of the parameters under each weight decay; "
            f"the norm, which is no matter of a set, stands in both columns."
        )
        found.append(Drawing(f"curves_{model}", caption, figure))
    if ended:
        lines = panels.lines_of_models(ended, decay.name)
        title = f"Best values: {panels.shared(ended)}"
        figure = panels.best_against(lines, decay, title=title)
        caption = (
            "Best values and their steps against weight decay. A loss of exactly 0, as float32 has "
            "it once it is less than rounding, lies off the axis."
        )
        found.append(Drawing("best", caption, figure))
        caption = (
            f"The norm of each trial on a linear scale of steps: triangles where the validation "
            f"accuracy has come to {LEARNT}, circles where the flat stretch before that begins, if "
            f"the norm is flat there."
        )
        found.append(Drawing("norm", caption, norm_figure(ended, norms)))
    return found


def norm_figure(trials: Sequence[TrialRecord], norms: dict[str, Norm]) -> Figure:
    """The norm against the step: a row a model, a column a weight decay, a line a trial."""
    import matplotlib as mpl

    from experiments.results import panels
    from experiments.results.figures import COLORS, STYLE, draw_grid

    models = by_model(trials)
    decays = [*grouped(trials, "weight_decay")]
    markers = {"flat": ("o", "flat from here"), "learnt": ("^", f"A_val ≥ {LEARNT} from here")}
    with mpl.rc_context(STYLE):
        title = "The norm of the parameters, trial by trial"
        figure, axes = panels.grid_of_panels(len(models), len(decays), title, sharey="row")
        for row, (model, group) in zip(axes, models.items(), strict=True):
            for ax, decay in zip(row, decays, strict=True):
                for trial in grouped(group, "weight_decay").get(decay, []):
                    at = {r["step"]: r["norm"] for r in trial.records}
                    ax.plot([*at], [*at.values()], color=COLORS[model], linewidth=0.8)
                    for name, (marker, _) in markers.items():
                        step = getattr(norms[trial.folder.name], name)
                        if step is not None:
                            ax.plot(step, at[step], marker, color="black", markersize=5)
                draw_grid(ax)
                ax.set_title(f"{LABELS[model]}, weight decay {decay:g}", loc="left")
                ax.xaxis.set_major_formatter("{x:,.0f}")
                ax.locator_params(axis="x", nbins=4)
            row[0].set_ylabel(panels.NORM.label)
        for ax in axes[-1]:
            ax.set_xlabel("training step")
        for marker, text in markers.values():
            axes[0, 0].plot([], [], marker, color="black", markersize=5, label=text)
        figure.legend(loc="outside lower left", ncols=len(markers))
        figure.set_size_inches(1.5 + 2.6 * len(decays), 0.8 + 2.3 * len(models))
    return figure


# --- what the seeds say ---------------------------------------------------------------------------
def decay_claims(trials: Sequence[TrialRecord]) -> list[Claim]:
    """Question 4.7 (c): whether more weight decay is better and sooner, in each pair of decays."""

    def compare(names: Sequence[str]) -> tuple[str, list[bool]]:
        """In words for both models, and for the LSTM, which the seeds ran, pair by pair."""
        lines, held = [], {model: list[bool]() for model in LABELS}
        for model in LABELS:
            means = [
                {name: found.mean for name in names if (found := over_seeds(group, name))}
                for group in by_decay(trials, model).values()
            ]
            for name in names:
                pairs = [
                    (less[name] < more[name]) == name.startswith("A_")
                    for i, less in enumerate(means)
                    for more in means[i + 1 :]
                    if name in less and name in more and less[name] != more[name]
                ]
                held[model] += pairs
                if means:
                    lines.append(f"{LABELS[model]}: {name} in {sum(pairs)} of {len(pairs)}")
        return "better with more, in pairs of decays: " + ("; ".join(lines) or "none"), held["lstm"]

    said = (
        ("000", "better L_val and A_val", ("L_val", "A_val")),
        ("000", "both are best sooner", ("t_f(L_val)", "t_f(A_val)")),
        ("001", "a lower L_val", ("L_val",)),
        ("001", "lower t_f of both", ("t_f(L_val)", "t_f(A_val)")),
    )
    ran, found = bool(by_decay(trials, "lstm")), []
    for source, text, names in said:
        ours, held = compare(names)
        verdict = verdict_of(held, ran=ran)
        found.append(Claim(f"{source}, 4.7 (c)", f"More weight decay: {text}", ours, verdict))
    return found


def norm_claims(trials: Sequence[TrialRecord], norms: dict[str, Norm]) -> list[Claim]:
    """Question 4.7 (d). Verdicts by the LSTM, which the seeds ran; the GPT stands besides."""
    of = {
        model: [norms[t.folder.name] for t in trials if t.settings["model"] == model]
        for model in LABELS
    }
    learnt = {model: [n for n in found if n.learnt is not None] for model, found in of.items()}
    spiky = {model: [n for n in found if n.rises] for model, found in of.items()}
    ran = bool(of["lstm"])

    def count(groups: dict[str, list[Norm]], held: Any) -> tuple[str, list[bool]]:
        lines = [
            f"{LABELS[model]}: in {sum(map(held, found))} of {len(found)} trials"
            for model, found in groups.items()
            if of[model]
        ]
        return "; ".join(lines) or "no trial", [held(n) for n in groups["lstm"]]

    flat, flat_held = count(learnt, lambda n: n.flat is not None)
    falls, falls_held = count(learnt, lambda n: n.trend < -TREND)
    grows, grows_held = count(of, lambda n: n.greatest > 0)
    unstable, unstable_held = count(spiky, lambda n: n.bursts / n.rises > n.calm)
    spikes = "; ".join(
        f"{LABELS[model]}: {sum(n.rises for n in found)} rises, {sum(n.bursts for n in found)} of "
        f"them with a burst of the training loss, and {sum(n.falls for n in found)} falls faster "
        f"than by weight decay alone, in {len(found)} trials"
        for model, found in of.items()
        if found
    )
    lags = [n.learnt - n.flat for n in learnt["lstm"] if n.flat is not None]
    lag = f"; LSTM: by then for {spread(lags).mean:,.0f} steps" if lags else ""
    return [
        Claim(
            "000, 4.7 (d)",
            "Models generalize once the norm is flat",
            f"the median norm changed by at most {TREND:.0%} in 1,000 steps around A_val ≥ "
            f"{LEARNT}, of those that reached it: {flat}{lag}",
            verdict_of(flat_held, ran=ran),
        ),
        Claim(
            "001, 4.7 (d)",
            "Before that the weights grow",
            f"the norm was ever greater than in the untrained model: {grows}",
            verdict_of(grows_held, ran=ran),
        ),
        Claim(
            "001, 4.7 (d)",
            "The norm falls while the model generalizes",
            f"the median norm fell by more than {TREND:.0%} in 1,000 steps around A_val ≥ "
            f"{LEARNT}, of those that reached it: {falls}",
            verdict_of(falls_held, ran=ran),
        ),
        Claim(
            "001, 4.7 (d)",
            "Spikes of the norm are weight decay in action, which stomps them",
            f"{spikes or 'no trial'}. Weight decay raises no norm, so no spike is its work; coming "
            f"down from one may be, where no fall is faster",
            verdict_of([False] * len(spiky["lstm"]), ran=ran),
        ),
        Claim(
            "001, 4.7 (d)",
            "Spikes are instabilities of the optimizer",
            f"bursts of the training loss are more frequent at rises of the norm than elsewhere, "
            f"of those that have rises: {unstable}",
            verdict_of(unstable_held, ran=ran),
            erratum="001.3",
        ),
    ]


EXPERIMENT = Experiment(
    "regularization",
    "Weight decay and the norm of the parameters",
    Options,
    results,
    options.summary,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
