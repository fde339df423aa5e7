"""Scaling the model, question 4.5 of seeds 000 and 001: layers L and width d.

LSTM and GPT of L = 1, 2, 3 layers with embedding and hidden size d = 64, 128, 256 learn a + b mod
31. Figures: loss and accuracy against the step for each L, coloured by d (4.5 a); best values for
each L and d, and against the number P of parameters outside the embedding (4.5 b). Tables: these
numbers, and which model scales better, by slopes with their intervals (4.5 c). Claims: those of
both seeds.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from experiments.grokking import options, seeds
from experiments.grokking.seeds import A_VAL, GPT, LOG_L_VAL, LSTM, MODELS
from experiments.grokking.task import Grokking, parameters_of
from experiments.results import claims, trends
from experiments.results.claims import Along, Estimate, Finding, Says, Test, gap, slope, trend
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Group, Setting, Trials, by_group, by_value, finished
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

LAYERS = (1, 2, 3)
WIDTHS = (64, 128, 256)


@dataclass(frozen=True)
class ModelSize(options.Options):
    """The sweep over layers and width."""

    layers: tuple[int, ...] | None = None
    """Numbers of layers L. By default 1, 2, 3."""
    d: tuple[int, ...] | None = None
    """Embedding and hidden sizes; for the GPT multiples of its 4 heads. By default 64, 128,
    256."""

    def trials(self) -> dict[str, Grokking]:
        layers = self.layers or self.pick(LAYERS, (1, 2))
        widths = self.d or self.pick(WIDTHS, (16, 32))
        for name, values in (("layers", layers), ("d", widths)):
            check_different(name, values, at_least=1)
        p = self.pick(Grokking.p, 11)
        return {
            f"{model}-l{n}-d{d}-seed{seed}": self.trial(model=model, seed=seed, p=p, layers=n, d=d)
            for seed in self.seeds
            for d in widths
            for n in layers
            for model in self.models
        }


def results(trials: Trials) -> Results:
    ended = finished(trials)
    return Results(
        tables=[seeds.best_table(trials, {"layers": "L", "d": "d"}), scaling_table(ended)],
        drawings=drawings(trials),
        claims=claims.decide(CLAIMS, seeds.comparable(trials, layers=LAYERS, d=WIDTHS)),
        answer=Answer(answer(ended), "scaling"),
        groups=MODELS,
    )


def parameters(trial: TrialRecord) -> int:
    """P: the number of parameters outside the token embedding."""
    return parameters_of(Grokking.of(trial.settings), embeddings=False)


def by_size(trials: Trials) -> dict[int, dict[int, list[TrialRecord]]]:
    """The trials by L, then by d."""
    return {n: by_value(group, "d") for n, group in by_value(trials, "layers").items()}


def drawings(trials: Trials) -> list[Drawing]:
    from experiments.grokking import figures  # matplotlib takes a second to import
    from experiments.results import panels

    width = Setting("d", "embedding and hidden size, d", log2=True)
    size = Setting("P", "parameters outside the embedding, P", log10=True)
    curves = figures.AGAINST_STEP.format("d (question 4.5 a)")
    bars = (
        "best values, and the first steps at which they were reached, for each L and d, ± std over "
        "seeds (question 4.5 b)."
    )
    best = (
        "Best values, and the first steps at which they were reached, against the number P of "
        "parameters outside the embedding (question 4.5 b)."
    )
    drawn: list[Drawing] = []
    for of_model in by_group(trials, MODELS).values():
        for n, group in by_value(of_model, "layers").items():
            drawn += figures.curves(group, width, curves, head=f", L = {n}", name=f"_l{n}")
    ended, lines = finished(trials), []
    for model, of_model in by_group(ended, MODELS).items():
        sizes, title = by_size(of_model), f"{model.label}: {seeds.alike(of_model)}"
        figure = panels.bars(sizes, width, title=title, xlabel="layers, L")
        drawn.append(Drawing(f"bars_{model.value}", f"{model.label}: {bars}", figure))
        at = {parameters(g[0]): g for of_l in sizes.values() for g in of_l.values()}
        lines.append(panels.Line(at, model.color, model.label))
    if ended:
        figure = panels.best_against(lines, size, title=seeds.alike(ended))
        drawn.append(Drawing("best", best, figure))
    return drawn


# --- which model scales better --------------------------------------------------------------------
d_of = lambda trial: trial.settings["d"]
layers_of = lambda trial: trial.settings["layers"]
IN_P = Along("P", "per tenfold P", lambda t: math.log10(parameters(t)))
IN_D = Along("d, L fixed", "per doubling of d", lambda t: math.log2(d_of(t)), fixed=layers_of)
IN_L = Along("L, d fixed", "per layer", layers_of, fixed=d_of)
BETTER = {0: "undecided", 1: "LSTM", -1: "GPT"}  # by the direction of the better slope


def scaling_table(trials: Trials) -> Table:
    rows, data = [], []
    for number in (LOG_L_VAL, A_VAL):
        slopes = {along.name: slope(number, along) for along in (IN_P, IN_D, IN_L)}
        slopes |= {f"L, d = {d}": slope(number, IN_L, d=d) for d in by_value(trials, "d")}
        for along, each in slopes.items():
            lstm, gpt = (each.of(model.of(trials)) for model in MODELS)
            difference = trends.difference(lstm, gpt)
            values = {"lstm": lstm, "gpt": gpt, "gap": difference}
            better = BETTER[difference.direction * number.better] if difference else "not run"
            shown = [str(trend) if trend else "not run" for trend in values.values()]
            rows.append([number.name, along, each.x.unit, *shown, better])
            about = {"number": number.name, "in": along, "better": better}
            data.append(about | {name: trend and trend.data() for name, trend in values.items()})
    columns = ["number", "in", "unit", "LSTM", "GPT", "LSTM - GPT", "scales better"]
    note = (
        "Question 4.5 (c). Slopes of least squares with 95 % confidence intervals, within seeds "
        "and within what is held fixed. The model whose L_val falls more or whose A_val rises more "
        "scales better; undecided if the interval of the difference holds zero."
    )
    return Table("scaling", "Which model scales better", columns, rows, note, {"rows": data})


def answer(trials: Trials) -> str:
    better = {row[0]: row[-1] for row in scaling_table(trials).rows if row[1] == IN_P.name}
    texts = "; ".join(f"by {number}: {model}" for number, model in better.items())
    return f"Model that gets better faster with its number of parameters, {texts}"


# --- claims of the seeds --------------------------------------------------------------------------
def ranks(trials: Trials) -> Finding:
    """Whether L_val is lower for the next larger d, at each L and seed."""
    losses: dict[Any, list[float]] = {}
    for _, loss, layers_and_seed in sorted(slope(LOG_L_VAL, IN_D).points(LSTM.of(trials))):
        losses.setdefault(layers_and_seed, []).append(loss)
    lower = [b < a for each in losses.values() for a, b in pairwise(each)]
    if not lower:
        return Finding()
    ours = f"the larger d has the lower L_val in {sum(lower)} of {len(lower)} neighbouring pairs"
    return Finding(ours, "agrees" if all(lower) else "differs")


def least_accuracy(groups: Sequence[Group], holds: Callable[..., bool], note: str = "") -> Test:
    """Whether something holds for each group's least A_val over all sizes, in the mean of seeds."""

    def test(trials: Trials) -> Finding:
        if len(by_group(trials, groups)) < len(groups):
            return Finding()
        sizes = [by_size(group.of(trials)).values() for group in groups]
        means = [[A_VAL.over(each) for of_l in of for each in of_l.values()] for of in sizes]
        least = [min(each.mean for each in of_group if each) for of_group in means]
        shown = claims.labelled(groups, [f"{a:.4f}" for a in least])
        verdict = "agrees" if holds(*least) else "differs"
        return Finding(f"least A_val of all sizes: {shown}{note}", verdict)

    return test


def distances(trials: Trials) -> tuple[str, list[trends.Trend | None]]:
    """Erratum 000.5: d cannot help the LSTM consistently if its loss is volatile in size."""
    in_p = slope(LOG_L_VAL, IN_P)
    lstm, gpt = (
        trends.average([abs(r) for r in trends.residuals(in_p.points(model.of(trials)))])
        for model in MODELS
    )
    difference = trends.difference(lstm, gpt)
    of_lstm = slope(LOG_L_VAL, IN_D).of(LSTM.of(trials))
    ours = (
        f"mean distance of log10 L_val from its line in log10 P, LSTM - GPT: {difference}; "
        f"slope of LSTM per doubling of d: {of_lstm}"
    )
    return ours, [difference]


def described(exchanged: bool = False) -> dict[str, Test]:
    """Tests of what 001 says about how each model scales, also with the models exchanged."""
    lstm, gpt = (GPT, LSTM) if exchanged else (LSTM, GPT)
    return {
        "L fixed: L_val of GPT falls with d": trend(slope(LOG_L_VAL, IN_D), gpt) < 0,
        "L fixed: A_val of GPT rises with d": trend(slope(A_VAL, IN_D), gpt) > 0,
        "L fixed: L_val of LSTM rises with d": trend(slope(LOG_L_VAL, IN_D), lstm) > 0,
        "d fixed: L_val of LSTM rises with L": trend(slope(LOG_L_VAL, IN_L), lstm) > 0,
        "d fixed: L_val of GPT falls with L": trend(slope(LOG_L_VAL, IN_L), gpt) < 0,
        "d fixed: A_val of GPT rises with L": trend(slope(A_VAL, IN_L), gpt) > 0,
        "L_val of LSTM rises with P": trend(slope(LOG_L_VAL, IN_P), lstm) > 0,
    }


def columns_exchanged(trials: Trials) -> Finding:
    """Erratum 001.1: does 001 fit better with LSTM and GPT exchanged?"""
    if len(by_group(trials, MODELS)) < len(MODELS):
        return Finding()
    printed, swapped = (
        Counter(test(trials).verdict for test in described(exchanged).values())
        for exchanged in (False, True)
    )
    ours = (
        f"of {printed.total()} slopes that 001 describes, as printed {printed['agrees']} agree and "
        f"{printed['differs']} differ; exchanged {swapped['agrees']} and {swapped['differs']}"
    )
    more = swapped["agrees"] - swapped["differs"] - (printed["agrees"] - printed["differs"])
    return Finding(ours, "agrees" if more > 0 else "differs" if more < 0 else "undecided")


CLAIMS = (
    Says("000, 4.5 (c)", "A_val, L fixed: LSTM scales better with d",
         gap(slope(A_VAL, IN_D), LSTM, GPT) > 0),
    Says("000, 4.5 (c)", "L_val, L fixed: LSTM scales better with d",
         gap(slope(LOG_L_VAL, IN_D), LSTM, GPT) < 0),
    Says("000, 4.5 (c)", "L_val of LSTM: d = 256 is better than 128, and 128 than 64", ranks),
    Says("000, 4.5 (c)", "A_val, d = 256: LSTM scales better with L",
         gap(slope(A_VAL, IN_L, d=256), LSTM, GPT) > 0),
    Says("000, 4.5 (c)", "A_val, d = 64: GPT scales better with L",
         gap(slope(A_VAL, IN_L, d=64), LSTM, GPT) < 0),
    Says("000, 4.5 (c)", "L_val, d = 256: LSTM scales better with L",
         gap(slope(LOG_L_VAL, IN_L, d=256), LSTM, GPT) < 0),
    Says("000, 4.5 (c)", "L_val, d = 64: GPT scales better with L",
         gap(slope(LOG_L_VAL, IN_L, d=64), LSTM, GPT) > 0),
    # poorly: for the worse; an undecided slope does not prove it
    Says("000, 4.5 (c)", "A_val, d = 128: both models scale poorly with L",
         trend(slope(A_VAL, IN_L, d=128), LSTM, GPT) < 0),
    Says("000, 4.5 (c)", "L_val, d = 128: both models scale poorly with L",
         trend(slope(LOG_L_VAL, IN_L, d=128), LSTM, GPT) > 0),
    Says("000, 4.5 (c)", "A_val against P: LSTM is more stable, always ≥ .97; GPT falls to .75",
         least_accuracy(MODELS, lambda lstm, gpt: lstm >= 0.97 > gpt)),
    Says("000, 4.5 (c)", "L_val: GPT scales better with P",
         gap(slope(LOG_L_VAL, IN_P), LSTM, GPT) > 0),
    Says("000, 4.5 (c)", "L_val of LSTM is very volatile in P compared to GPT (though d always "
         "helps it)", Estimate(distances) > 0, "000.5"),
    *(Says("001, 4.5 (c)", text, test) for text, test in described().items()),
    Says("001, 4.5 (c)", "A_val of LSTM stays high at every L and d",
         least_accuracy([LSTM], lambda lstm: lstm >= 0.9, " (high: at least .9)")),
    Says("001, 4.5 (c)", "GPT scales better with P, above all in L_val",
         gap(slope(LOG_L_VAL, IN_P), LSTM, GPT) > 0),
    Says("001, 4.2", "The columns of LSTM and GPT in 001 are exchanged, and what it says of 4.5 "
         "may be too", columns_exchanged, "001.1"),
)  # fmt: skip

EXPERIMENT = Experiment("model_size", "Scaling model size", ModelSize, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
