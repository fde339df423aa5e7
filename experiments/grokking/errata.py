"""Where seeds 000 and 001 are wrong, or contradict themselves or each other.

Each erratum with the measurement that decides it. Some are arithmetic, done here; some are read off
the records of an experiment, here or by that experiment itself, as a claim with the number of the
erratum. `experiments.report.content` brings both together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.grokking.task import Grokking, data_of
from experiments.results import metrics
from experiments.results.groups import LABELS, all_comparable, by_model, column, comparable
from experiments.results.results import Verdict, verdict_of
from experiments.results.tables import cell
from experiments.train.records import TrialRecord
from models import count

Trials = Mapping[str, Sequence[TrialRecord]]  # by the name of their experiment


class Measured(NamedTuple):
    """What is tested, what came out, with numbers, and the verdict on what is tested."""

    said: str
    ours: str
    verdict: Verdict


class Erratum(NamedTuple):
    """Something wrong in a seed, and what decides that.

    number:    seed document and a number, such as "000.1".
    said:      what the seed says, in our words, and where.
    objection: what is wrong with it.
    measure:   what decides it, from the records of experiments by name; nothing where an experiment
               measures it itself or none was run.
    """

    number: str
    said: str
    objection: str
    measure: Callable[[Trials], Sequence[Measured]] = lambda trials: ()


# --- parameter counts: d = d_x = d_h = 128, L = 2, 4 heads, the seeds' models ---------------------
D, L, HEADS, MULTIPLIER = 128, 2, 4, 4
HEAD_SIZE = D // HEADS


def lstm_box(d_x: int, d_h: int, layers: int) -> int:
    """The last box of question 1.3 of seed 000, as it is printed, with bias."""
    return 4 * d_h * d_x + d_h**2 + (layers - 1) * 2 * d_h**2 + 4 * layers * d_h


def lstm_count(trials: Trials) -> list[Measured]:
    return [counts("The formula in the box", lstm_box(D, D, L), count.lstm_core(D, D, L))]


def attention_count(trials: Trials) -> list[Measured]:
    """Question 2.6: matrices of head size x heads would hold few numbers; the formula has more."""
    shapes = 4 * HEAD_SIZE * HEADS + 4 * HEAD_SIZE * HEADS
    formula = 4 * HEAD_SIZE**2 * HEADS**2 + 4 * HEAD_SIZE * HEADS
    return [
        counts("Four matrices of the printed shape, and biases", shapes, count.attention(D)),
        counts("The printed formula", formula, count.attention(D)),
    ]


def decoder_count(trials: Trials) -> list[Measured]:
    """Question 2.10, with "model" read as the multiplier, then as the width it is short for."""

    def printed(model: int) -> int:
        return L * (4 * HEAD_SIZE**2 * HEADS**2 + 4 * HEAD_SIZE * HEADS + 2 * model * D**2)

    with_bias, without = count.decoder(D, L), count.decoder(D, L, bias=False)
    norms = f"; the difference is the layer norms, L · 4 d = {4 * D * L:,}"
    found = [
        counts("The formula with bias, “model” read as the multiplier 4", printed(4), with_bias),
        counts("The formula with bias, “model” read as d_model", printed(D), with_bias),
        counts("The formula without bias", 4 * HEAD_SIZE**2 * HEADS**2, without),
    ]
    return [found[0]._replace(ours=found[0].ours + norms), *found[1:]]


def counts(said: str, printed: int, right: int) -> Measured:
    """A count as a seed's formula gives it, beside that of `models.count`."""
    verdict = "agrees" if printed == right else "differs"
    return Measured(said, f"gives {printed:,}; the model has {right:,}", verdict)


# --- read off records -----------------------------------------------------------------------------
def still_falling(trials: Trials) -> list[Measured]:
    """Whether both losses of the LSTM were least in the last hundredth of the training."""
    lstms = by_model(trials.get("sanity", ())).get("lstm")
    if not lstms:
        return []
    said, held, last = [], [], [t.records[-1]["step"] for t in lstms]
    for trial, end in zip(lstms, last, strict=True):
        steps = [metrics.best(trial.records, f"{part}_loss")[1] for part in ("train", "val")]
        held.append(min(steps) >= 0.99 * end)
        said.append(f"{trial.folder.name}: {steps[0]:,} and {steps[1]:,} of {end:,}")
    return [
        Measured(
            "Both losses of the LSTM are least at the very end",
            f"steps of the least training and validation loss, {'; '.join(said)}",
            verdict_of(held) if all_comparable(lstms) else "undecided",
        )
    ]


def batch_of_512(trials: Trials) -> list[Measured]:
    """Question 4.6: how large the batches are, and how many samples T steps of them see."""
    n = len(data_of(Grokking())[0])
    sizes = {batch: min(batch, n) for batch in (32, 512)}
    epochs = {batch: math.ceil(20_001 / math.ceil(n / size)) for batch, size in sizes.items()}
    seen = {batch: round(epochs[batch] * n) for batch in sizes}
    return [
        Measured("A batch holds 512 samples", f"the training set holds {n}", "differs"),
        Measured(
            "Batch sizes are compared after equal training",
            f"20,001 steps see {seen[32]:,} samples at B = 32 and {seen[512]:,} at “512”, "
            f"{seen[512] / seen[32]:.0f} times as many",
            "differs",
        ),
    ]


def validation_and_spread(trials: Trials) -> list[Measured]:
    """Whether anything is left for a test set, and what the spread of a best step is."""
    train, val = data_of(Grokking())
    measured = [
        Measured(
            "The second set is a test set",
            f"{len(train)} + {len(val)} = all {Grokking.p**2} sums, and best values are chosen on "
            f"it",
            "differs",
        )
    ]
    said, held = [], []
    for model, of_model in by_model(comparable(trials.get("sanity", ()))).items():
        spreads = column(of_model)
        for name in ("t_f(L_val)", "t_f(A_val)"):
            if (found := spreads[name]) and found.std is not None:
                said.append(f"{LABELS[model]} {name} {cell(name, found)}")
                held.append(found.std <= Grokking.eval_period)
    if said:
        measured.append(
            Measured(
                "Seeds agree on best steps to one evaluation, 100 steps, so a mean is enough",
                "; ".join(said),
                verdict_of(held),
            )
        )
    return measured


# --- the list -------------------------------------------------------------------------------------
ERRATA = (
    Erratum(
        "000.1",
        "Question 1.3, the box: the LSTM learns 4 d_h d_x + d_h² + (L-1) 2 d_h² + 4 L d_h numbers",
        "A factor 4 is lost on the d_h² terms; the line above the box has it",
        lstm_count,
    ),
    Erratum(
        "000.2",
        "Question 2.6: the matrices of attention are head size × number of heads",
        "They are square, of head size · heads rows; the count that follows is right",
        attention_count,
    ),
    Erratum(
        "000.3",
        "Question 2.10: 2 · model · d² for the feed-forward part; without bias only 4 d²",
        "It is 2 · multiplier · d². The case without bias has lost L and the feed-forward part, "
        "and layer norms are left out of both, which the question may allow",
        decoder_count,
    ),
    Erratum(
        "000.4",
        "Table 1: Δt(L) of the LSTM is 0",
        "That says only that both losses were still falling when training ended. The caption of "
        "the table is the template's",
        still_falling,
    ),
    Erratum(
        "000.5",
        "Question 4.5 (c): width helps the LSTM consistently, and its loss is very volatile",
        "The two contradict each other",
    ),
    Erratum(
        "000.6",
        "Question 4.6 (c): batch sizes up to 512 are compared at the same number of steps",
        "The training set is smaller than 512, and equal steps are not equal numbers of samples",
        batch_of_512,
    ),
    Erratum(
        "001.1",
        "Table 1: the GPT reaches the lower training loss, the LSTM fits the training set first",
        "000 says the opposite: the columns of 001 seem to be swapped",
    ),
    Erratum(
        "001.2",
        "Question 4.4 (c): ternary sums converge sooner",
        "The comparison is confounded: there are fewer binary sums to train on, and the mask adds "
        "a PAD to their right-hand side",
    ),
    Erratum(
        "001.3",
        "Question 4.7 (d): spikes of the norm are weight decay in action",
        "Weight decay only shrinks; spikes are instabilities of the optimizer. 000 sees models "
        "generalize once the norm is flat, 001 once it falls, which need not exclude each other",
    ),
    Erratum(
        "001.4",
        "Question 4.3 (d): the GPT still overfits at r = .3, the LSTM at .4",
        "000 has .4 for both; on a grid of .1 with two seeds that is noise",
    ),
    Erratum(
        "001.5",
        "The second set is called test set, and best steps are means without a spread",
        "It is the validation set, on which best values are chosen",
        validation_and_spread,
    ),
)
