"""The models, protocol and numbers that seeds 000 and 001 have in common.

IFT6135 W2025, assignment 2, Problem 4. For one trial

    L = min over evaluated steps of the loss           A = max of the accuracy
    t_f(L), t_f(A) = the first evaluated step at which the curve equals that best value exactly
    Δt(L) = t_f(L_val) - t_f(L_train)                  Δt(A) likewise

and over trials that differ only in their seed, mean and population standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from experiments.grokking.task import Grokking
from experiments.results.curves import Quantity, Spread, best, roughness
from experiments.results.results import Table
from experiments.results.tables import spread_table
from experiments.results.trials import Group, Trials, by_group, complete, finished
from experiments.train.records import TrialRecord

LSTM = Group("model", "lstm", "LSTM", "#0072B2", "#56B4E9")  # colours of Okabe and Ito
GPT = Group("model", "gpt", "GPT", "#D55E00", "#E69F00", "dash")
MODELS = (LSTM, GPT)  # in the order of the seeds
LEARNT = 0.9  # a model generalizes if its validation accuracy is at least this


# --- the protocol ---------------------------------------------------------------------------------
def comparable(
    trials: Trials, *varied: str, steps: int = Grokking.steps, **needed: Sequence[Any]
) -> list[TrialRecord]:
    """The finished trials with the seeds' settings, which can be compared with their claims.

    varied: settings that the sweep varies; all others must be the seeds'.
    needed: varied settings with values that must all be there; models that lack one are left out.
    """
    free = {"model", "seed", "steps", *varied, *needed}
    usual = {k: v for k, v in Grokking().settings().items() if k not in free}
    usual["steps"] = steps
    as_seeds = [
        trial
        for trial in finished(trials)
        if all(trial.settings.get(name, value) == value for name, value in usual.items())
    ]
    key = lambda trial: tuple(trial.settings[name] for name in needed)
    return complete(as_seeds, MODELS, key, product(*needed.values()))


def all_comparable(trials: Trials) -> bool:
    """Whether there are trials, and all are `comparable` with nothing varied."""
    return 0 < len(trials) == len(comparable(trials))


WORDS = {
    "r_train": lambda x: f"{x:.0%} for training",
    "layers": lambda x: f"{x} layer{'s' * (x > 1)}",
    "d": lambda x: f"d = {x}",
    "optimizer": lambda x: {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}.get(x, x),
    "lr": lambda x: f"lr {x:g}",
    "weight_decay": lambda x: f"weight decay {x:g}",
    "batch_size": lambda x: f"batches of at most {x}",
    "steps": lambda x: f"{x:,} steps",
}


def alike(trials: Trials) -> str:
    """A text on the settings that all of these trials have in common, and their seeds."""
    first = trials[0].settings
    sums = " or ".join(f" {first['operator']} ".join("abc"[:n]) for n in first["orders"])
    same = [k for k in WORDS if all(t.settings[k] == first[k] for t in trials)]
    seeds = sorted({t.settings["seed"] for t in trials})
    spread = f"mean ± std of seeds {', '.join(map(str, seeds))}"
    if len(seeds) == 1:
        spread = f"seed {seeds[0]} alone"
    words = [f"{sums} mod {first['p']}", *(WORDS[k](first[k]) for k in same)]
    return ", ".join(words) + f";\n{spread}"


# --- the numbers of table 4.2 ---------------------------------------------------------------------
CURVES = {"L": ("loss", -1, (".3g", ".2g")), "A": ("accuracy", 1, (".4f", ".4f"))}
STEPS = (",.0f", ",.0f")


def table_numbers(kind: str = "") -> tuple[Quantity, ...]:
    """The rows of the seeds' table 4.2, in the order of seed 000.

    kind: the prefix of keys in the records, such as "binary_".
    """
    value = lambda key: lambda t: best(t, key)[0]
    step = lambda key: lambda t: best(t, key)[1]
    delay = lambda train, val: lambda t: best(t, val)[1] - best(t, train)[1]
    values, steps, delays = [], [], []
    for letter, (curve, better, formats) in CURVES.items():
        keys = {part: f"{kind}{part}_{curve}" for part in ("train", "val")}
        for part, key in keys.items():
            name = f"{letter}_{part}"
            values.append(Quantity(name, value(key), better, formats))
            steps.append(Quantity(f"t_f({name})", step(key), formats=STEPS))
        delays.append(Quantity(f"dt({letter})", delay(**keys), formats=STEPS))
    return (*values, *steps, *delays)


NUMBERS = table_numbers()
NAMED = {quantity.name: quantity for quantity in NUMBERS}
L_VAL, A_TRAIN, A_VAL = (NAMED[name] for name in ("L_val", "A_train", "A_val"))


def log_loss(trial: TrialRecord) -> float:
    loss = L_VAL.of(trial)
    return math.log10(loss) if loss > 0 else math.nan


LOG_L_VAL = Quantity("log10 L_val", log_loss)  # losses differ by factors
ROUGH = "mean absolute change of {} from one evaluation to the next in the second half"
ROUGH_L_VAL = Quantity(ROUGH.format("log10 of validation loss"), lambda t: roughness(t, "val_loss"))
ROUGH_A_VAL = Quantity(ROUGH.format("validation accuracy"), lambda t: roughness(t, "val_accuracy"))


def numbers(trial: TrialRecord) -> dict[str, float | None]:
    """All of `NUMBERS`; None for one that is not known."""
    values = {quantity.name: quantity.of(trial) for quantity in NUMBERS}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


# --- tables and texts -----------------------------------------------------------------------------
MEANING = (
    "Mean ± population standard deviation over the seeds, of trials that ran to their end. "
    "L: least loss, A: greatest accuracy among evaluated steps, t_f: the first evaluated step "
    "that has it, Δt: t_f(val) - t_f(train)."
)


def best_table(trials: Trials, varied: Mapping[str, str], note: str = "") -> Table:
    """Every one of `NUMBERS` for each model and setting; varied: see `spread_table`."""
    title = "Best values, and when they were reached"
    note = f"{MEANING} {note}".strip()
    return spread_table("best", title, trials, MODELS, varied, NUMBERS, note=note)


def of_models(trials: Trials, show: Callable[[Trials], str], between: str = "; ") -> str:
    """A text on the trials of each model that has any, such as "LSTM 0.5; GPT 0.4"."""
    models = by_group(trials, MODELS).items()
    return between.join(f"{model.label} {show(of_model)}" for model, of_model in models)


# --- the numbers of the seeds ---------------------------------------------------------------------
Numbers = Mapping[Quantity, Spread | None]


def printed(*cells: tuple[float, float | None]) -> Numbers:
    return {number: Spread(*cell) for number, cell in zip(NUMBERS, cells, strict=True)}


# Table 1 of each, question 4.2, in the order of `NUMBERS`. Seed 001 gives no standard deviation of
# steps.
SANITY: dict[str, dict[Group, Numbers]] = {
    "000": {
        LSTM: printed(
            (0.000095, 0.000006), (0.002156, 0.001363), (1.0, 0.0), (1.0, 0.0),
            (10001, 0), (10001, 0), (300, 0), (8100, 500), (0, 0), (7800, 500),
        ),
        GPT: printed(
            (0.000171, 1.394e-06), (0.0036328, 0.00296579), (1.0, 0.0), (0.99896, 0.0010395),
            (8400, 800), (9800, 100), (100, 0), (7700, 1000), (1400, 100), (7600, 1000),
        ),
    },
    "001": {
        LSTM: printed(
            (1.54e-4, 2.82e-7), (5.01e-3, 4.26e-3), (1.0, 0.0), (0.9979, 0.0021),
            (9600, None), (10000, None), (100, None), (9200, None), (400, None), (9100, None),
        ),
        GPT: printed(
            (9.66e-5, 1.42e-5), (8.88e-4, 2.36e-4), (1.0, 0.0), (1.0, 0.0),
            (10001, None), (10001, None), (300, None), (8900, None), (0, None), (8600, None),
        ),
    },
}  # fmt: skip
