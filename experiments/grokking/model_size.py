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
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from experiments.grokking.options import Options, summary
from experiments.grokking.task import Grokking, parameters_of
from experiments.results.groups import (
    LABELS,
    accuracy,
    by_model,
    comparable,
    complete,
    finished,
    grouped,
    log_loss,
    over_seeds,
)
from experiments.results.results import Claim, Drawing, Results, Table, Verdict
from experiments.results.tables import best_table
from experiments.results.trends import (
    Trend,
    average,
    difference,
    residuals,
    slope,
    together,
    verdict,
)
from experiments.sweep.experiment import Experiment, check_different, main
from experiments.train.records import TrialRecord

LAYERS = (1, 2, 3)
WIDTHS = (64, 128, 256)


@dataclass(frozen=True)
class ModelSize(Options):
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


def results(trials: Sequence[TrialRecord]) -> Results:
    ended, usual = finished(trials), comparable(trials, "layers", "d")
    return Results(
        tables=[
            best_table("best", trials, {"layers": "L", "d": "d"}),
            scaling_table(ended),
        ],
        drawings=drawings(trials),
        claims=claims(usual),
    )


def parameters(trial: TrialRecord) -> int:
    """P: what the model learns outside its token embedding."""
    return parameters_of(Grokking.of(trial.settings), embeddings=False)


def by_size(trials: Sequence[TrialRecord]) -> dict[int, dict[int, list[TrialRecord]]]:
    """The trials by L, then by d."""
    return {n: grouped(group, "d") for n, group in grouped(trials, "layers").items()}


# --- figures --------------------------------------------------------------------------------------
def drawings(trials: Sequence[TrialRecord]) -> list[Drawing]:
    from experiments.results import panels  # matplotlib takes a second to import

    width = panels.Setting("d", "embedding and hidden size, d", log2=True)
    found: list[Drawing] = []
    for model, of_model in by_model(trials).items():
        for n, group in grouped(of_model, "layers").items():
            caption = (
                f"{LABELS[model]}, L = {n}: loss and accuracy against the training step, coloured "
                f"by d (question 4.5 a)."
            )
            figure = panels.curves(group, width, title=LABELS[model])
            found.append(Drawing(f"curves_{model}_l{n}", caption, figure))
    ended = finished(trials)
    for model, of_model in by_model(ended).items():
        caption = (
            f"{LABELS[model]}: best values, and the first steps at which they were reached, for "
            f"each L and d, ± std over seeds (question 4.5 b)."
        )
        title = f"{LABELS[model]}: {panels.shared(of_model)}"
        figure = panels.bars(by_size(of_model), width, title=title, xlabel="layers, L")
        found.append(Drawing(f"bars_{model}", caption, figure))
    if ended:
        lines = [
            panels.Line(
                {parameters(g[0]): g for of_l in by_size(of_model).values() for g in of_l.values()},
                panels.COLORS[model],
                LABELS[model],
            )
            for model, of_model in by_model(ended).items()
        ]
        caption = (
            "Best values, and the first steps at which they were reached, against the number P of "
            "parameters outside the embedding (question 4.5 b)."
        )
        title = panels.shared(ended)
        against = panels.Setting("P", "parameters outside the embedding, P", log10=True)
        found.append(Drawing("best", caption, panels.best_against(lines, against, title=title)))
    return found


# --- which model scales better --------------------------------------------------------------------
class Against(NamedTuple):
    """What a model is scaled in.

    words: for tables.
    x:     of a trial, logarithmic.
    fixed: what is held fixed: a slope is common to all of its values, each with a level of its own.
    """

    words: str
    x: Callable[[TrialRecord], float]
    fixed: Callable[[TrialRecord], Hashable]


IN_P = Against("P", lambda t: math.log10(parameters(t)), lambda t: ())
IN_D = Against("d, L fixed", lambda t: math.log2(t.settings["d"]), lambda t: t.settings["layers"])
IN_L = Against("L, d fixed", lambda t: t.settings["layers"], lambda t: t.settings["d"])
UNITS = {IN_P: "per tenfold P", IN_D: "per doubling of d", IN_L: "per layer"}


class Number(NamedTuple):
    """What gets better: y of a trial, and the direction that is better."""

    words: str
    y: Callable[[TrialRecord], float]
    better: int


L_VAL = Number("log10 L_val", log_loss, -1)
A_VAL = Number("A_val", accuracy, 1)


def points(
    trials: Sequence[TrialRecord], number: Number, against: Against
) -> list[tuple[float, float, Hashable]]:
    """For `slope`: within what is fixed, and within seeds."""
    return [(against.x(t), number.y(t), (against.fixed(t), t.settings["seed"])) for t in trials]


class Scaling(NamedTuple):
    """The slopes of both models, and LSTM - GPT."""

    lstm: Trend | None
    gpt: Trend | None
    gap: Trend | None

    def __str__(self) -> str:
        return f"LSTM {self.lstm}, GPT {self.gpt}, LSTM - GPT {self.gap}"

    def better(self, number: Number) -> str:
        """The model that scales better."""
        if self.gap is None:
            return "not run"
        return {0: "undecided", 1: "LSTM", -1: "GPT"}[self.gap.direction * number.better]


def scaling(trials: Sequence[TrialRecord], number: Number, against: Against) -> Scaling:
    models = by_model(trials)
    lstm, gpt = (slope(points(models.get(m, []), number, against)) for m in ("lstm", "gpt"))
    return Scaling(lstm, gpt, difference(lstm, gpt))


def of_width(trials: Sequence[TrialRecord], d: int) -> list[TrialRecord]:
    return [t for t in trials if t.settings["d"] == d]


def scaling_table(trials: Sequence[TrialRecord]) -> Table:
    rows, data = [], []
    for number in (L_VAL, A_VAL):
        cases = [(against.words, trials, against) for against in (IN_P, IN_D, IN_L)]
        cases += [(f"L, d = {d}", of_width(trials, d), IN_L) for d in grouped(trials, "d")]
        for words, group, against in cases:
            found = scaling(group, number, against)
            trends = [str(t) if t else "not run" for t in found]
            better = found.better(number)
            rows.append([number.words, words, UNITS[against], *trends, better])
            data.append(
                {"number": number.words, "in": words, "better": better}
                | {k: t and t.data() for k, t in found._asdict().items()}
            )
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


# --- what the seeds say ---------------------------------------------------------------------------
SIZES = {(n, d) for n in LAYERS for d in WIDTHS}


def claims(trials: Sequence[TrialRecord]) -> list[Claim]:
    """trials: those that ran as the seeds' did."""
    whole = complete(trials, lambda t: (t.settings["layers"], t.settings["d"]), SIZES)
    trials = [t for of_model in whole.values() for t in of_model]
    return [
        *(gap_claim(trials, *said) for said in GAPS[:2]),
        ranks(whole),
        *(gap_claim(trials, *said) for said in GAPS[2:6]),
        *(poor_claim(trials, number) for number in (A_VAL, L_VAL)),
        stable(whole),
        gap_claim(trials, *GAPS[6]),
        volatile(whole),
        *(slope_claim(whole, *said) for said in SLOPES),
        high(whole),
        gap_claim(trials, *GAPS[7]),
        exchanged(whole),
    ]


# source, what it says, number, in, d or None for all, the model that scales better
GAPS = (
    ("000, 4.5 (c)", "A_val, L fixed: LSTM scales better with d", A_VAL, IN_D, None, "LSTM"),
    ("000, 4.5 (c)", "L_val, L fixed: LSTM scales better with d", L_VAL, IN_D, None, "LSTM"),
    ("000, 4.5 (c)", "A_val, d = 256: LSTM scales better with L", A_VAL, IN_L, 256, "LSTM"),
    ("000, 4.5 (c)", "A_val, d = 64: GPT scales better with L", A_VAL, IN_L, 64, "GPT"),
    ("000, 4.5 (c)", "L_val, d = 256: LSTM scales better with L", L_VAL, IN_L, 256, "LSTM"),
    ("000, 4.5 (c)", "L_val, d = 64: GPT scales better with L", L_VAL, IN_L, 64, "GPT"),
    ("000, 4.5 (c)", "L_val: GPT scales better with P", L_VAL, IN_P, None, "GPT"),
    ("001, 4.5 (c)", "GPT scales better with P, above all in L_val", L_VAL, IN_P, None, "GPT"),
)
# what 001 says of a model: what it says, model, number, in, direction
SLOPES = (
    ("L fixed: L_val of GPT falls with d", "gpt", L_VAL, IN_D, -1),
    ("L fixed: A_val of GPT rises with d", "gpt", A_VAL, IN_D, 1),
    ("L fixed: L_val of LSTM rises with d", "lstm", L_VAL, IN_D, 1),
    ("d fixed: L_val of LSTM rises with L", "lstm", L_VAL, IN_L, 1),
    ("d fixed: L_val of GPT falls with L", "gpt", L_VAL, IN_L, -1),
    ("d fixed: A_val of GPT rises with L", "gpt", A_VAL, IN_L, 1),
    ("L_val of LSTM rises with P", "lstm", L_VAL, IN_P, 1),
)


def gap_claim(
    trials: Sequence[TrialRecord],
    source: str,
    said: str,
    number: Number,
    against: Against,
    d: int | None,
    model: str,
) -> Claim:
    """A claim that one model scales better than the other."""
    found = scaling(of_width(trials, d) if d else trials, number, against)
    direction = number.better if model == "LSTM" else -number.better
    ours = f"slope of {number.words} {UNITS[against]}: {found}" if found.gap else ""
    return Claim(source, said, ours, verdict(found.gap, direction))


def slope_claim(
    whole: dict[str, list[TrialRecord]],
    said: str,
    model: str,
    number: Number,
    against: Against,
    direction: int,
) -> Claim:
    """A claim of 001 that a number of one model rises or falls."""
    trend = slope(points(whole.get(model, []), number, against))
    ours = f"slope of {number.words} {UNITS[against]}: {trend}" if trend else ""
    return Claim("001, 4.5 (c)", said, ours, verdict(trend, direction))


def poor_claim(trials: Sequence[TrialRecord], number: Number) -> Claim:
    name = number.words.split()[-1]
    source, said = "000, 4.5 (c)", f"{name}, d = 128: both models scale poorly with L"
    found = scaling(of_width(trials, 128), number, IN_L)
    if found.gap is None:
        return Claim(source, said, "", "not run")
    # poorly: not for the better; that neither direction shows is no proof of it
    both = [verdict(trend, -number.better) for trend in (found.lstm, found.gpt)]
    ours = f"slope of {number.words} per layer: LSTM {found.lstm}, GPT {found.gpt}"
    return Claim(source, said, ours, together(both))


def ranks(whole: dict[str, list[TrialRecord]]) -> Claim:
    source, said = "000, 4.5 (c)", "L_val of LSTM: d = 256 is better than 128, and 128 than 64"
    pairs = []
    for group in grouped(whole.get("lstm", []), "layers").values():
        for of_seed in grouped(group, "seed").values():
            losses = [log_loss(t) for t in sorted(of_seed, key=lambda t: t.settings["d"])]
            pairs += [b < a for a, b in pairwise(losses)]
    if not pairs:
        return Claim(source, said, "", "not run")
    ours = f"the larger d has the lower L_val in {sum(pairs)} of {len(pairs)} neighbouring pairs"
    return Claim(source, said, ours, "agrees" if all(pairs) else "differs")


def least_accuracy(trials: Sequence[TrialRecord]) -> float:
    """Of all sizes, the mean over seeds."""
    groups = [group for of_l in by_size(trials).values() for group in of_l.values()]
    return min(found.mean for g in groups if (found := over_seeds(g, "A_val")))


def stable(whole: dict[str, list[TrialRecord]]) -> Claim:
    source = "000, 4.5 (c)"
    said = "A_val against P: LSTM is more stable, always ≥ .97; GPT falls to .75"
    if len(whole) < len(LABELS):
        return Claim(source, said, "", "not run")
    lstm, gpt = (least_accuracy(whole[model]) for model in ("lstm", "gpt"))
    ours = f"least A_val of all sizes: LSTM {lstm:.4f}, GPT {gpt:.4f}"
    return Claim(source, said, ours, "agrees" if lstm >= 0.97 > gpt else "differs")


def high(whole: dict[str, list[TrialRecord]]) -> Claim:
    source, said = "001, 4.5 (c)", "A_val of LSTM stays high at every L and d"
    if "lstm" not in whole:
        return Claim(source, said, "", "not run")
    least = least_accuracy(whole["lstm"])
    ours = f"least A_val of all sizes: {least:.4f} (high: at least .9)"
    return Claim(source, said, ours, "agrees" if least >= 0.9 else "differs")


def volatile(whole: dict[str, list[TrialRecord]]) -> Claim:
    """Erratum 000.5: d cannot help LSTM consistently if its loss is volatile in size."""
    source, number = "000, 4.5 (c)", "000.5"
    said = "L_val of LSTM is very volatile in P compared to GPT (though d always helps it)"
    if len(whole) < len(LABELS):
        return Claim(source, said, "", "not run", number)
    lstm, gpt = (
        average([abs(r) for r in residuals(points(whole[model], L_VAL, IN_P))])
        for model in ("lstm", "gpt")
    )
    gap, helps = difference(lstm, gpt), slope(points(whole["lstm"], L_VAL, IN_D))
    ours = (
        f"mean distance of log10 L_val from its line in log10 P, LSTM - GPT: {gap}; slope of LSTM "
        f"per doubling of d: {helps}"
    )
    return Claim(source, said, ours, verdict(gap, 1), number)


def exchanged(whole: dict[str, list[TrialRecord]]) -> Claim:
    """Erratum 001.1: does 001 fit better with LSTM and GPT exchanged?"""
    source, number = "001, 4.2", "001.1"
    said = "The columns of LSTM and GPT in 001 are exchanged, and what it says of 4.5 may be too"
    if len(whole) < len(LABELS):
        return Claim(source, said, "", "not run", number)
    other = {"lstm": "gpt", "gpt": "lstm"}
    printed, swapped = (
        [slope_claim(whole, s, of[model], *rest).verdict for s, model, *rest in SLOPES]
        for of in ({"lstm": "lstm", "gpt": "gpt"}, other)
    )
    count = lambda verdicts: verdicts.count("agrees") - verdicts.count("differs")
    ours = (
        f"of {len(SLOPES)} slopes that 001 describes, as printed {printed.count('agrees')} agree "
        f"and {printed.count('differs')} differ; exchanged {swapped.count('agrees')} and "
        f"{swapped.count('differs')}"
    )
    gap = count(swapped) - count(printed)
    found: Verdict = "agrees" if gap > 0 else "differs" if gap < 0 else "undecided"
    return Claim(source, said, ours, found, number)


EXPERIMENT = Experiment("model_size", "Scaling model size", ModelSize, results, summary)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
