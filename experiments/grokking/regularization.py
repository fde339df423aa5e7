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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.grokking import options, seeds
from experiments.grokking.seeds import GPT, LSTM, MODELS, NAMED
from experiments.grokking.task import Grokking
from experiments.results.claims import Finding, Says, Test, by_share, decide, share_in
from experiments.results.curves import first_step, spread
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials, by_group, by_value, finished, where
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


Norms = dict[str, "Norm"]  # by the name of the trial


def results(trials: Trials) -> Results:
    ended = [t for t in finished(trials) if not t.status.get("diverged")]
    norms = {t.folder.name: norm_of(t) for t in ended}
    claims = [*DECAY_CLAIMS, *norm_claims(norms)]
    return Results(
        tables=[
            seeds.best_table(ended, {"weight_decay": "weight decay"}),
            norm_table(ended, norms),
        ],
        drawings=drawings(trials, ended, norms),
        claims=decide(claims, seeds.comparable(ended, "weight_decay", steps=STEPS)),
        answer=Answer(answer(ended, norms), "norm"),
        groups=MODELS,
    )


def answer(trials: Trials, norms: Norms) -> str:
    found = [n for t in trials if (n := norms[t.folder.name]).learnt is not None]
    flat = sum(n.flat is not None for n in found)
    return (
        f"{flat} of {len(found)} trials that came to nine in ten held-out sums did so while the "
        f"norm of the parameters was flat"
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
    trial = replace(trial, records=records)
    steps = np.array([r["step"] for r in records])
    norms = np.array([r["norm"] for r in records], dtype=float)
    loss = np.array([r["train_loss"] for r in records], dtype=float)
    trends = trends_of(steps, running_median(norms))
    learnt = first_step(trial, "val_accuracy", LEARNT)
    ratios = norms[1:] / norms[:-1]
    decays = (1 - s["lr"] * s["weight_decay"]) ** np.diff(steps)
    fitted = first_step(trial, "train_accuracy", LEARNT)
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
def norm_table(trials: Trials, norms: Norms) -> Table:
    rows = []
    for model, of_model in by_group(trials, MODELS).items():
        for decay, group in by_value(of_model, "weight_decay").items():
            for trial in group:
                n = norms[trial.folder.name]
                rows.append([
                    model.label, f"{decay:g}", str(trial.settings["seed"]), f"{n.greatest:,}",
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
def drawings(trials: Trials, ended: Trials, norms: Norms) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    decay, found = panels.Setting("weight_decay", "weight decay"), []
    rows = (panels.LOSS, panels.ACCURACY, panels.NORM)
    for model, group in by_group(trials, MODELS).items():
        title = f"{model.label}: {seeds.alike(group)}"
        figure = panels.curves(group, decay, title=title, rows=rows)
        caption = (
            f"{model.label}: loss, accuracy and norm of the parameters under each weight decay; "
            f"the norm, which is no matter of a set, stands in both columns."
        )
        found.append(Drawing(f"curves_{model.value}", caption, figure, live=True))
    if ended:
        lines = panels.lines_of_groups(ended, MODELS, decay.name)
        figure = panels.best_against(lines, decay, title=f"Best values: {seeds.alike(ended)}")
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


def norm_figure(trials: Trials, norms: Norms) -> Figure:
    """The norm against the step: a row a model, a column a weight decay, a line a trial."""
    import matplotlib as mpl

    from experiments.results import panels
    from experiments.results.figures import STYLE, draw_grid

    models = by_group(trials, MODELS)
    decays = [*by_value(trials, "weight_decay")]
    markers = {"flat": ("o", "flat from here"), "learnt": ("^", f"A_val ≥ {LEARNT} from here")}
    with mpl.rc_context(STYLE):
        title = "The norm of the parameters, trial by trial"
        figure, axes = panels.grid_of_panels(len(models), len(decays), title, sharey="row")
        for row, (model, group) in zip(axes, models.items(), strict=True):
            for ax, decay in zip(row, decays, strict=True):
                for trial in where(group, weight_decay=decay):
                    at = {r["step"]: r["norm"] for r in trial.records}
                    ax.plot([*at], [*at.values()], color=model.color, linewidth=0.8)
                    for name, (marker, _) in markers.items():
                        step = getattr(norms[trial.folder.name], name)
                        if step is not None:
                            ax.plot(step, at[step], marker, color="black", markersize=5)
                draw_grid(ax)
                ax.set_title(f"{model.label}, weight decay {decay:g}", loc="left")
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
def better_with_more(*names: str) -> Test:
    """Whether more weight decay is better and sooner, in each pair of decays, for the LSTM.

    That is what the seeds ran; the GPT stands besides.
    """

    def test(trials: Trials) -> Finding:
        lines, held = [], {LSTM: list[bool](), GPT: list[bool]()}
        for model, of_model in by_group(trials, MODELS).items():
            for quantity in (NAMED[name] for name in names):
                means = [quantity.over(g) for g in by_value(of_model, "weight_decay").values()]
                pairs = [
                    (less.mean < more.mean) == (quantity.better > 0)
                    for less, more in combinations(filter(None, means), 2)
                    if less.mean != more.mean
                ]
                held[model] += pairs
                lines.append(f"{model.label}: {quantity.name} in {sum(pairs)} of {len(pairs)}")
        ours = "better with more, in pairs of decays: " + ("; ".join(lines) or "none")
        return Finding(ours, by_share(held[LSTM], ran=bool(LSTM.of(trials))))

    return test


def norm_claims(norms: Norms) -> list[Says]:
    """Question 4.7 (d), by the norms of the trials. What the LSTM did decides."""

    def count(
        words: str,
        holds: Callable[[Norm], bool | None],
        note: Callable[[Sequence[Norm]], str] = lambda lstms: "",
    ) -> Test:
        return share_in(
            (LSTM, GPT),
            words,
            lambda trial: holds(norms[trial.folder.name]),
            note=lambda trials: note([norms[t.folder.name] for t in LSTM.of(trials)]),
        )

    def by_then(lstms: Sequence[Norm]) -> str:
        lags = [n.learnt - n.flat for n in lstms if n.learnt is not None and n.flat is not None]
        return f"; LSTM: by then for {spread(lags).mean:,.0f} steps" if lags else ""

    def spikes(trials: Trials) -> Finding:
        """Weight decay makes no norm greater, so where there are spikes they are not its work."""
        of = {
            model: [norms[t.folder.name] for t in of_model]
            for model, of_model in by_group(trials, MODELS).items()
        }
        found = "; ".join(
            f"{model.label}: {sum(n.rises for n in group)} rises, {sum(n.bursts for n in group)} "
            f"of them with a burst of the training loss, and {sum(n.falls for n in group)} falls "
            f"faster than by weight decay alone, in {len(group)} trials"
            for model, group in of.items()
        )
        ours = (
            f"{found or 'no trial'}. Weight decay raises no norm, so no spike is its work; coming "
            f"down from one may be, where no fall is faster"
        )
        spiky = [n for n in of.get(LSTM, ()) if n.rises]
        return Finding(ours, by_share([False] * len(spiky), ran=LSTM in of))

    learnt = lambda holds: lambda n: None if n.learnt is None else holds(n)
    around = f"in 1,000 steps around A_val ≥ {LEARNT}, of those that reached it"
    return [
        Says("000, 4.7 (d)", "Models generalize once the norm is flat",
             count(f"the median norm changed by at most {TREND:.0%} {around}",
                   learnt(lambda n: n.flat is not None), by_then)),
        Says("001, 4.7 (d)", "Before that the weights grow",
             count("the norm was ever greater than in the untrained model",
                   lambda n: n.greatest > 0)),
        Says("001, 4.7 (d)", "The norm falls while the model generalizes",
             count(f"the median norm fell by more than {TREND:.0%} {around}",
                   learnt(lambda n: n.trend < -TREND))),
        Says("001, 4.7 (d)", "Spikes of the norm are weight decay in action, which stomps them",
             spikes),
        Says("001, 4.7 (d)", "Spikes are instabilities of the optimizer",
             count("bursts of the training loss are more frequent at rises of the norm than "
                   "elsewhere, of those that have rises",
                   lambda n: n.bursts / n.rises > n.calm if n.rises else None), "001.3"),
    ]  # fmt: skip


DECAY_CLAIMS = (
    Says("000, 4.7 (c)", "More weight decay: better L_val and A_val",
         better_with_more("L_val", "A_val")),
    Says("000, 4.7 (c)", "More weight decay: both are best sooner",
         better_with_more("t_f(L_val)", "t_f(A_val)")),
    Says("001, 4.7 (c)", "More weight decay: a lower L_val", better_with_more("L_val")),
    Says("001, 4.7 (c)", "More weight decay: lower t_f of both",
         better_with_more("t_f(L_val)", "t_f(A_val)")),
)  # fmt: skip

TITLE = "Weight decay and the norm of the parameters"
EXPERIMENT = Experiment("regularization", TITLE, Options, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
