"""Errors of seeds 000 and 001, and contradictions in and between them.

Each erratum has a measurement that decides it. Some are computed here; others come from the records
of an experiment, here or in that experiment, as a claim with the number of the erratum.
"""

from __future__ import annotations

import math

from experiments.grokking.seeds import LSTM, MODELS, NAMED, all_comparable, comparable
from experiments.grokking.task import Grokking, data_of
from experiments.report.report import Erratum
from experiments.results.claims import Finding, Test, by_share, fact, share_of
from experiments.results.tables import cell
from experiments.results.trials import Trials, by_group
from experiments.train.records import TrialRecord
from models import count

# --- parameter counts: d = d_x = d_h = 128, L = 2, 4 heads, the seeds' models ---------------------
D, L, HEADS = 128, 2, 4
HEAD_SIZE = D // HEADS


def lstm_box(d_x: int, d_h: int, layers: int) -> int:
    """The last box of question 1.3 of seed 000, as printed, with bias."""
    return 4 * d_h * d_x + d_h**2 + (layers - 1) * 2 * d_h**2 + 4 * layers * d_h


# question 2.6: matrices of head size x heads have few numbers; the printed formula gives more
SHAPES = 4 * HEAD_SIZE * HEADS + 4 * HEAD_SIZE * HEADS
FORMULA = 4 * HEAD_SIZE**2 * HEADS**2 + 4 * HEAD_SIZE * HEADS


def decoder(model: int) -> int:
    """Question 2.10, with bias; "model" may mean the multiplier, or the width d_model."""
    return L * (FORMULA + 2 * model * D**2)


NORMS = f"; the difference is the layer norms, L · 4 d = {4 * D * L:,}"


def counts(printed: int, right: int, note: str = "") -> Test:
    """Whether the count by a seed's formula equals that of `models.count`."""
    return fact(f"gives {printed:,}; the model has {right:,}{note}", printed == right)


# --- from data and records ------------------------------------------------------------------------
TRAIN, VAL = map(len, data_of(Grokking()))  # sums in the training and the validation set


def least_losses(trial: TrialRecord) -> tuple[float, float, int] | None:
    """The steps of the least training and validation loss, and the last step; None if unknown."""
    train, val = (NAMED[f"t_f(L_{part})"].of(trial) for part in ("train", "val"))
    return (train, val, trial.records[-1]["step"]) if math.isfinite(train + val) else None


def still_falling(trials: Trials) -> Finding:
    """Whether both losses of the LSTM were least in the last 1 % of training."""
    lstms = LSTM.of(trials)
    finding = share_of(
        [LSTM],
        "steps of the least training and validation loss",
        least_losses,
        lambda steps: min(steps) >= 0.99 * steps[-1],
        lambda steps: f"{steps[0]:,} and {steps[1]:,} of {steps[2]:,}",
    )(lstms)
    decided = all_comparable(lstms) or not lstms
    return finding if decided else finding._replace(verdict="undecided")


# samples that T steps see at B = 32, and at "512", which is the whole training set
FEW, MANY = (math.ceil(20_001 / math.ceil(TRAIN / size)) * TRAIN for size in (32, TRAIN))


def spread_of_steps(trials: Trials) -> Finding:
    """Whether the steps of best values differ between seeds by at most one evaluation."""
    texts, near = [], []
    for model, of_model in by_group(comparable(trials), MODELS).items():
        for steps in (NAMED["t_f(L_val)"], NAMED["t_f(A_val)"]):
            if (spread := steps.over(of_model)) and spread.std is not None:
                texts.append(f"{model.label} {steps.name} {cell(steps, spread)}")
                near.append(spread.std <= Grokking.eval_period)
    return Finding("; ".join(texts), by_share(near)) if texts else Finding()


# --- the list -------------------------------------------------------------------------------------
ERRATA = (
    Erratum("000.1", "Question 1.3, the box: the LSTM learns 4 d_h d_x + d_h² + (L-1) 2 d_h² + "
            "4 L d_h numbers",
            "A factor 4 is lost on the d_h² terms; the line above the box has it",
            {"The formula in the box": counts(lstm_box(D, D, L), count.lstm_core(D, D, L))}),
    Erratum("000.2", "Question 2.6: the matrices of attention are head size × number of heads",
            "They are square, of head size · heads rows; the count that follows is right",
            {"Four matrices of the printed shape, and biases": counts(SHAPES, count.attention(D)),
             "The printed formula": counts(FORMULA, count.attention(D))}),
    Erratum("000.3", "Question 2.10: 2 · model · d² for the feed-forward part; without bias only "
            "4 d²",
            "It is 2 · multiplier · d². The case without bias has lost L and the feed-forward "
            "part, and layer norms are left out of both, which the question may allow",
            {"The formula with bias, “model” read as the multiplier 4":
                 counts(decoder(4), count.decoder(D, L), NORMS),
             "The formula with bias, “model” read as d_model":
                 counts(decoder(D), count.decoder(D, L)),
             "The formula without bias":
                 counts(4 * HEAD_SIZE**2 * HEADS**2, count.decoder(D, L, bias=False))}),
    Erratum("000.4", "Table 1: Δt(L) of the LSTM is 0",
            "That says only that both losses were still falling when training ended. The caption "
            "of the table is the template's",
            {"Both losses of the LSTM are least at the very end": still_falling}, "sanity"),
    Erratum("000.5", "Question 4.5 (c): width helps the LSTM consistently, and its loss is very "
            "volatile",
            "The two contradict each other"),
    Erratum("000.6", "Question 4.6 (c): batch sizes up to 512 are compared at the same number of "
            "steps",
            "The training set is smaller than 512, and equal steps are not equal numbers of "
            "samples",
            {"A batch holds 512 samples": fact(f"the training set holds {TRAIN}"),
             "Batch sizes are compared after equal training":
                 fact(f"20,001 steps see {FEW:,} samples at B = 32 and {MANY:,} at “512”, "
                      f"{MANY / FEW:.0f} times as many")}),
    Erratum("001.1", "Table 1: the GPT reaches the lower training loss, the LSTM fits the "
            "training set first",
            "000 says the opposite: the columns of 001 seem to be swapped"),
    Erratum("001.2", "Question 4.4 (c): ternary sums converge sooner",
            "The comparison is confounded: there are fewer binary sums to train on, and the mask "
            "adds a PAD to their right-hand side"),
    Erratum("001.3", "Question 4.7 (d): spikes of the norm are weight decay in action",
            "Weight decay only shrinks; spikes are instabilities of the optimizer. 000 sees "
            "models generalize once the norm is flat, 001 once it falls, which need not exclude "
            "each other"),
    Erratum("001.4", "Question 4.3 (d): the GPT still overfits at r = .3, the LSTM at .4",
            "000 has .4 for both; on a grid of .1 with two seeds that is noise"),
    Erratum("001.5", "The second set is called test set, and best steps are means without a spread",
            "It is the validation set, on which best values are chosen",
            {"The second set is a test set":
                 fact(f"{TRAIN} + {VAL} = all {Grokking.p**2} sums, and best values are chosen "
                      f"on it"),
             "Seeds agree on best steps to one evaluation, 100 steps, so a mean is enough":
                 spread_of_steps}, "sanity"),
)  # fmt: skip
