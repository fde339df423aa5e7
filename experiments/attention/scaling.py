"""Scaling of decoders, section 2.3 of seed 004: tables, figures, and what the seed says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from experiments.attention import isoflop
from experiments.attention.seed import BUDGET, OPTIMAL_PARAMETERS
from experiments.results.claims import Finding, Test, by_all
from experiments.results.results import Drawing, Table
from experiments.results.trials import Chosen, Trials
from experiments.train.records import TrialRecord
from models import count

Curves = Mapping[int, Sequence[isoflop.Curve]]  # of each seed those of all sizes, small to large


def curve_of(trial: TrialRecord) -> isoflop.Curve:
    records = trial.records[1:]
    epochs = np.arange(1, len(records) + 1)
    size = count.translation_decoder(trial.settings["d"], trial.settings["layers"], 30)
    flops, loss = epochs * float(records[0]["epoch_flops"]), [r["val_loss"] for r in records]
    return isoflop.Curve(size, records[0]["epoch_tokens"], flops, np.array(loss, dtype=float))


def curves(trials: Trials, kinds: Iterable[Chosen]) -> Curves:
    """Of the seeds that every kind has; none of fewer than three kinds."""
    of_sizes = [{t.settings["seed"]: t for t in kind.of(trials)} for kind in kinds]
    of_sizes = [each for each in of_sizes if each]
    seeds = set.intersection(*map(set, of_sizes)) if len(of_sizes) > 2 else set()
    return {seed: [curve_of(each[seed]) for each in of_sizes] for seed in sorted(seeds)}


def optima(by_seed: Curves) -> Table:
    """A row a number of FLOPs: the best size by ours, and by the seed's procedure."""
    rows, data = [], {}
    if by_seed:
        mean = isoflop.mean_curves(by_seed, [*by_seed])
        found = {each.flops: each for each in isoflop.optima(mean)}
        for flops, theirs in zip(isoflop.TARGETS, isoflop.as_the_seed(mean), strict=True):
            sizes, losses = isoflop.profile(mean, flops, isoflop.smooth)
            best = found.get(flops)
            ours = [f"{best.parameters:,.0f}", f"{best.tokens:,.0f}"] if best else ["none", ""]
            span = f"{len(sizes)}: {losses.min():.3f} to {losses.max():.3f}" if len(sizes) else "0"
            known = theirs if np.isfinite(theirs) else None
            rows.append([f"{flops:.2g}", span, *ours, "" if known is None else f"{known:,.0f}"])
            data[f"{flops:g}"] = {"best": best and best._asdict(), "seed's procedure": known}
    note = (
        "At each number of FLOPs: how many models were trained for so many, and their losses; the "
        "number of parameters at the minimum of a parabola, log loss in log parameters, over the "
        "mean of the splits, if it lies among the sizes, and the ids read by then; the same by the "
        "seed's procedure, a parabola in parameters, also where it has a maximum or lies outside."
    )
    heads = ["FLOPs", "models, losses", "best parameters", "ids read", "by the seed's procedure"]
    return Table("optima", "IsoFLOP: the best size for a number of FLOPs", heads, rows, note, data)


def resampled(by_seed: Curves) -> list[isoflop.Answer]:
    return isoflop.bootstrap(by_seed, BUDGET) if by_seed else []


def budget(by_seed: Curves, answers: Sequence[isoflop.Answer]) -> Table:
    """What lines through the optima say of the budget of 2.3.3."""
    rows, data = [], {}
    mean = isoflop.mean_curves(by_seed, [*by_seed])
    point = isoflop.answer(mean, BUDGET) if mean else None
    if point and answers:
        by_theirs = isoflop.seed_answer(mean, BUDGET)
        for name, label, form in (
            ("parameters", "best parameters", ".3g"), ("tokens", "ids to read", ".3g"),
            ("exponent", "exponent of the parameters", ".2f"),
        ):  # fmt: skip
            low, high = isoflop.interval([getattr(a, name) for a in answers])
            value = getattr(point, name)
            theirs = [f"{by_theirs:.3g}", f"{OPTIMAL_PARAMETERS:.0e}"]
            theirs = theirs if name == "parameters" else ["", ""]
            rows.append([label, f"{value:{form}}", f"{low:{form}} to {high:{form}}", *theirs])
            data[name] = {"value": value, "interval": (low, high)}
    last = max((c.flops[-1] for of in by_seed.values() for c in of), default=np.nan)
    note = (
        f"By lines through the optima, in logarithms. 95 % by {isoflop.RESAMPLES:,} resamples of "
        f"the splits. {BUDGET:.0e} FLOPs are {BUDGET / last:,.0f} times as many as any model was "
        "trained for: this says where the lines go, not that they go on."
    )
    heads = ["", "ours", "95 %", "by the seed's procedure", "seed 004"]
    return Table("budget", f"Extrapolated to {BUDGET:.0e} FLOPs", heads, rows, note, data)


def figures(by_seed: Curves, answers: Sequence[isoflop.Answer]) -> list[Drawing]:
    if not by_seed:
        return []
    from experiments.attention import scaling_figures  # matplotlib takes a second to import

    captions = {
        "loss_by_flops": "Validation loss against FLOPs: a curve a model and split.",
        "isoflop": "IsoFLOP: losses at a number of FLOPs and the parabola through them, "
        "in logarithms; dots are its minima. Mean over splits.",
        "budget": "Best parameters and ids to read against FLOPs, and the lines through them up to "
        "the budget of 1e15. Lighter lines: resamples of the splits.",
    }
    drawn = (
        scaling_figures.losses(by_seed),
        scaling_figures.profiles(by_seed),
        scaling_figures.budget(by_seed, answers),
    )
    pairs = zip(captions.items(), drawn, strict=True)
    return [Drawing(name, caption, figure) for (name, caption), figure in pairs]


# --- what the seed says ---------------------------------------------------------------------------
def optimal_parameters(kinds: Iterable[Chosen]) -> Test:
    """Whether the seed's number lies in our interval."""

    def test(trials: Trials) -> Finding:
        answers = resampled(curves(trials, kinds))
        if not answers:
            return Finding()
        low, high = isoflop.interval([a.parameters for a in answers])
        inside = low <= OPTIMAL_PARAMETERS <= high
        ours = f"95 % in [{low:.3g}, {high:.3g}], of {len(answers)} resamples that have two optima"
        return Finding(ours, "agrees" if inside else "differs")

    return test


def compute_optimal(kinds: Iterable[Chosen]) -> Test:
    """Whether the largest model has more parameters than is best for the FLOPs that it took."""

    def test(trials: Trials) -> Finding:
        by_seed = curves(trials, kinds)
        answers = {seed: isoflop.answer(of, of[-1].flops[-1]) for seed, of in by_seed.items()}
        ratios = [
            by_seed[s][-1].parameters / found.parameters for s, found in answers.items() if found
        ]
        if not ratios:
            return Finding() if not by_seed else Finding("no split has two optima", "undecided")
        ours = f"of each split {', '.join(f'{x:.2f}' for x in ratios)} times the best number"
        return Finding(ours, by_all([ratio > 1 for ratio in ratios]))

    return test
