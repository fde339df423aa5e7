"""Does a larger model do better? Question 4.5 of seeds 000 and 001: layers L and width d.

    python -m experiments.grokking.model_size                # the whole experiment
    python -m experiments.grokking.model_size --scale small  # shows that everything works
    python -m experiments.grokking.model_size --resume       # go on, or make results again

LSTM and GPT of L = 1, 2, 3 layers with embedding and hidden size d = 64, 128, 256 learn a + b mod
31. Figures: loss and accuracy against the step for each L, coloured by d (4.5 a); best values for
each L and d, and against the number P of parameters outside the embedding (4.5 b). Tables: these
numbers, and which model scales better, by slopes with their intervals (4.5 c). Claims: what both
seeds say of it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import pairwise

from experiments.grokking import options, seeds
from experiments.grokking.seeds import A_VAL, GPT, LOG_L_VAL, LSTM, MODELS
from experiments.grokking.task import Grokking, parameters_of
from experiments.results import trends
from experiments.results.claims import (
    Along,
    Finding,
    Says,
    Slope,
    Test,
    by_interval,
    decide,
    gap,
    slope,
    trend,
)
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials, by_group, by_value, complete, finished
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

LAYERS = (1, 2, 3)
WIDTHS = (64, 128, 256)
SIZES = {(n, d) for n in LAYERS for d in WIDTHS}


@dataclass(frozen=True)
class ModelSize(options.Options):
    """The sweep over layers and width."""

    layers: tuple[int, ...] | None = None
    """Numbers of layers L. If not given 1, 2, 3."""
    d: tuple[int, ...] | None = None
    """Embedding and hidden sizes; for the GPT multiples of its 4 heads. If not given 64, 128,
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
    ended, usual = finished(trials), seeds.comparable(trials, "layers", "d")
    size = lambda t: (t.settings["layers"], t.settings["d"])
    return Results(
        tables=[seeds.best_table(trials, {"layers": "L", "d": "d"}), scaling_table(ended)],
        drawings=drawings(trials),
        claims=decide(CLAIMS, complete(usual, MODELS, size, SIZES)),
        answer=Answer(answer(ended), "scaling"),
        groups=MODELS,
    )


def parameters(trial: TrialRecord) -> int:
    """P: what the model learns outside its token embedding."""
    return parameters_of(Grokking.of(trial.settings), embeddings=False)


def by_size(trials: Trials) -> dict[int, dict[int, list[TrialRecord]]]:
    """The trials by L, then by d."""
    return {n: by_value(group, "d") for n, group in by_value(trials, "layers").items()}


# --- figures --------------------------------------------------------------------------------------
def drawings(trials: Trials) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    width = panels.Setting("d", "embedding and hidden size, d", log2=True)
    found, lines = [], []
    for model, of_model in by_group(trials, MODELS).items():
        for n, group in by_value(of_model, "layers").items():
            caption = (
                f"{model.label}, L = {n}: loss and accuracy against the training step, coloured "
                f"by d (question 4.5 a)."
            )
            figure = panels.curves(group, width, title=f"{model.label}: {seeds.alike(group)}")
            found.append(Drawing(f"curves_{model.value}_l{n}", caption, figure, live=True))
    ended = finished(trials)
    for model, of_model in by_group(ended, MODELS).items():
        caption = (
            f"{model.label}: best values, and the first steps at which they were reached, for "
            f"each L and d, ± std over seeds (question 4.5 b)."
        )
        sizes, title = by_size(of_model), f"{model.label}: {seeds.alike(of_model)}"
        figure = panels.bars(sizes, width, title=title, xlabel="layers, L")
        found.append(Drawing(f"bars_{model.value}", caption, figure))
        at = {parameters(g[0]): g for of_l in sizes.values() for g in of_l.values()}
        lines.append(panels.Line(at, model.color, model.label))
    if ended:
        caption = (
            "Best values, and the first steps at which they were reached, against the number P of "
            "parameters outside the embedding (question 4.5 b)."
        )
        against = panels.Setting("P", "parameters outside the embedding, P", log10=True)
        figure = panels.best_against(lines, against, title=seeds.alike(ended))
        found.append(Drawing("best", caption, figure))
    return found


# --- which model scales better --------------------------------------------------------------------
IN_P = Along("P", "per tenfold P", lambda t: math.log10(parameters(t)))
IN_D = Along(
    "d, L fixed",
    "per doubling of d",
    lambda t: math.log2(t.settings["d"]),
    fixed=lambda t: t.settings["layers"],
)
IN_L = Along(
    "L, d fixed", "per layer", lambda t: t.settings["layers"], fixed=lambda t: t.settings["d"]
)


def scaling_table(trials: Trials) -> Table:
    rows, data = [], []
    for number in (LOG_L_VAL, A_VAL):
        cases = {along.name: slope(number, along) for along in (IN_P, IN_D, IN_L)}
        for d in by_value(trials, "d"):
            cases[f"L, d = {d}"] = slope(number, IN_L, d=d)
        for words, of in cases.items():
            lstm, gpt = (of.of(model.of(trials)) for model in MODELS)
            found = {"lstm": lstm, "gpt": gpt, "gap": trends.difference(lstm, gpt)}
            better = scales_better(of, found["gap"])
            shown = [str(t) if t else "not run" for t in found.values()]
            rows.append([number.name, words, of.x.unit, *shown, better])
            about = {"number": number.name, "in": words, "better": better}
            data.append(about | {k: t and t.data() for k, t in found.items()})
    return Table(
        "scaling",
        "Which model scales better",
        ["number", "in", "unit", "LSTM", "GPT", "LSTM - GPT", "scales better"],
        rows,
        note=(
            "Question 4.5 (c). Slopes of least squares with 95 % confidence intervals, within "
            "seeds and within what is held fixed. The model whose L_val falls more or whose A_val "
            "rises more scales better; undecided if the interval of the difference holds zero."
        ),
        data={"rows": data},
    )


def scales_better(slope: Slope, gap: trends.Trend | None) -> str:
    """The model that does, by the difference of their slopes."""
    if gap is None:
        return "not run"
    return {0: "undecided", 1: "LSTM", -1: "GPT"}[gap.direction * slope.y.better]


def answer(trials: Trials) -> str:
    better = {row[0]: row[-1] for row in reversed(scaling_table(trials).rows) if row[1] == "P"}
    texts = "; ".join(f"by {number}: {model}" for number, model in better.items())
    return f"Model that gets better faster with its number of parameters, {texts}"


# --- what the seeds say ---------------------------------------------------------------------------
def ranks(trials: Trials) -> Finding:
    found = []
    for group in by_value(LSTM.of(trials), "layers").values():
        for of_seed in by_value(group, "seed").values():
            losses = [LOG_L_VAL.of(t) for t in sorted(of_seed, key=lambda t: t.settings["d"])]
            found += [b < a for a, b in pairwise(losses)]
    if not found:
        return Finding()
    ours = f"the larger d has the lower L_val in {sum(found)} of {len(found)} neighbouring pairs"
    return Finding(ours, "agrees" if all(found) else "differs")


def least_accuracy(trials: Trials) -> float:
    """Of all sizes, the mean over seeds."""
    groups = [group for of_l in by_size(trials).values() for group in of_l.values()]
    return min(found.mean for group in groups if (found := A_VAL.over(group)))


def stable(trials: Trials) -> Finding:
    least = {m: least_accuracy(of) for m, of in by_group(trials, MODELS).items()}
    if len(least) < len(MODELS):
        return Finding()
    ours = f"least A_val of all sizes: LSTM {least[LSTM]:.4f}, GPT {least[GPT]:.4f}"
    return Finding(ours, "agrees" if least[LSTM] >= 0.97 > least[GPT] else "differs")


def high(trials: Trials) -> Finding:
    if not (lstms := LSTM.of(trials)):
        return Finding()
    least = least_accuracy(lstms)
    ours = f"least A_val of all sizes: {least:.4f} (high: at least .9)"
    return Finding(ours, "agrees" if least >= 0.9 else "differs")


def volatile(trials: Trials) -> Finding:
    """Erratum 000.5: d cannot help LSTM consistently if its loss is volatile in size."""
    in_p = slope(LOG_L_VAL, IN_P)
    lstm, gpt = (
        trends.average([abs(r) for r in trends.residuals(in_p.points(model.of(trials)))])
        for model in MODELS
    )
    apart = trends.difference(lstm, gpt)
    if apart is None:
        return Finding()
    ours = (
        f"mean distance of log10 L_val from its line in log10 P, LSTM - GPT: {apart}; slope of "
        f"LSTM per doubling of d: {slope(LOG_L_VAL, IN_D).of(LSTM.of(trials))}"
    )
    return Finding(ours, by_interval(apart, 1))


def described(exchanged: bool = False) -> dict[str, Test]:
    """What 001 says of how each model scales; with the models exchanged, if that is asked."""
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
        [test(trials).verdict for test in described(exchanged).values()]
        for exchanged in (False, True)
    )
    fit = lambda verdicts: verdicts.count("agrees") - verdicts.count("differs")
    ours = (
        f"of {len(printed)} slopes that 001 describes, as printed {printed.count('agrees')} agree "
        f"and {printed.count('differs')} differ; exchanged {swapped.count('agrees')} and "
        f"{swapped.count('differs')}"
    )
    more = fit(swapped) - fit(printed)
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
    # poorly: not for the better; that neither direction shows is no proof of it
    Says("000, 4.5 (c)", "A_val, d = 128: both models scale poorly with L",
         trend(slope(A_VAL, IN_L, d=128), LSTM, GPT) < 0),
    Says("000, 4.5 (c)", "L_val, d = 128: both models scale poorly with L",
         trend(slope(LOG_L_VAL, IN_L, d=128), LSTM, GPT) > 0),
    Says("000, 4.5 (c)", "A_val against P: LSTM is more stable, always ≥ .97; GPT falls to .75",
         stable),
    Says("000, 4.5 (c)", "L_val: GPT scales better with P",
         gap(slope(LOG_L_VAL, IN_P), LSTM, GPT) > 0),
    Says("000, 4.5 (c)", "L_val of LSTM is very volatile in P compared to GPT (though d always "
         "helps it)", volatile, "000.5"),
    *(Says("001, 4.5 (c)", said, test) for said, test in described().items()),
    Says("001, 4.5 (c)", "A_val of LSTM stays high at every L and d", high),
    Says("001, 4.5 (c)", "GPT scales better with P, above all in L_val",
         gap(slope(LOG_L_VAL, IN_P), LSTM, GPT) > 0),
    Says("001, 4.2", "The columns of LSTM and GPT in 001 are exchanged, and what it says of 4.5 "
         "may be too", columns_exchanged, "001.1"),
)  # fmt: skip

EXPERIMENT = Experiment("model_size", "Scaling model size", ModelSize, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
