"""Kinds of trials on verbal arithmetic, and quantities of these trials."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, get_args

from experiments.attention.arithmetic import (
    EPOCHS,
    GAPS,
    MINILM,
    PER_EPOCH,
    Arithmetic,
    Start,
    Way,
)
from experiments.attention.seed import FINE_TUNED, FROZEN, OTHER_DOMAIN
from experiments.data.arithmetic import CLASSES
from experiments.results import trends
from experiments.results.curves import Quantity, number
from experiments.results.trials import Trials, where
from experiments.train.records import TrialRecord

SEED_RATE, OWN_RATE = Arithmetic.lr, 5e-4  # a small encoder needs larger steps, so it gets both
MAJORITY = 100 * 478 / 640  # %: of the expressions to learn from, those that are positive
OWN = {"layers": 2, "d": 128, "heads": 4, "hidden": 512}  # sizes of our own encoders
LABELS: dict[Start, tuple[str, str]] = {  # what an encoder begins as, and its colour
    "minilm": ("MiniLM", "#0072B2"),
    "numbers": ("text about numbers", "#D55E00"),
    "unrelated": ("other text", "#009E73"),
    "no numbers": ("other text without number words", "#CC79A7"),
    "scratch": ("untrained", "#E69F00"),
}


def label_of(start: Start) -> str:
    return LABELS[start][0]


# --- which trials ---------------------------------------------------------------------------------
class Kind(NamedTuple):
    """Trials of verbal arithmetic that differ only in their seed."""

    start: Start
    way: Way
    lr: float
    steps: int

    @property
    def label(self) -> str:
        rate = "" if self.way == "head" or self.lr == SEED_RATE else f", rate {self.lr:g}"
        return f"{label_of(self.start)}, {self.way}{rate}"

    @property
    def epochs(self) -> str:
        return "to convergence" if self.way == "head" else f"{self.steps / PER_EPOCH:g} epochs"

    def of(self, trials: Trials) -> list[TrialRecord]:
        settings = {"checkpoint": self.start, "way": self.way, "lr": self.lr, "steps": self.steps}
        return where(of_arithmetic(trials), **settings)


def of_arithmetic(trials: Trials) -> list[TrialRecord]:
    return [t for t in trials if "checkpoint" in t.settings]


def of_pretraining(trials: Trials) -> list[TrialRecord]:
    return [t for t in trials if "text" in t.settings]


def as_the_seed(trials: Trials) -> list[TrialRecord]:
    """The trials with the full scale's sizes and the seed's batches; claims are of no others."""
    whole = [t for t in of_arithmetic(trials) if t.settings["way"] == "head"]
    whole += where(of_arithmetic(trials), batch_size=Arithmetic.batch_size)
    return [*where(whole, **MINILM), *where(whole, **OWN)]


def kinds(trials: Trials) -> list[Kind]:
    """Those that there are, in the order of `LABELS` and `Way`."""
    there = {
        Kind(*(t.settings[name] for name in ("checkpoint", "way", "lr", "steps")))
        for t in of_arithmetic(trials)
    }
    starts, ways = [*LABELS], get_args(Way)
    return sorted(there, key=lambda k: (starts.index(k.start), ways.index(k.way), k.lr, k.steps))


THEIRS: dict[Kind, float] = {  # validation accuracies of the seed
    Kind("minilm", "fine-tuned", SEED_RATE, EPOCHS * PER_EPOCH): FINE_TUNED,
    Kind("minilm", "frozen", SEED_RATE, EPOCHS * PER_EPOCH): FROZEN,
    Kind("unrelated", "fine-tuned", SEED_RATE, EPOCHS * PER_EPOCH): OTHER_DOMAIN,
}


# --- numbers --------------------------------------------------------------------------------------
def percent(key: str, name: str) -> Quantity:
    """A share after the last epoch."""
    return Quantity(name, lambda t: 100 * number(t.records[-1].get(key)), 1, (".1f", ".1f"))


def speed(trial: TrialRecord) -> float:
    """Batches a second, without measuring."""
    seconds = trial.status["seconds"]
    return trial.status["step"] / seconds if seconds else math.nan


VAL = percent("val_accuracy", "validation accuracy, %")
BALANCED = percent("val_balanced", "balanced, %")
OF_CLASS = [percent(f"val_{name}", f"{name}, %") for name in CLASSES]
TEST = percent("test_accuracy", "test accuracy, %")
BY_GAP = {
    "a + b > 0": percent("val_plus", ""),
    "= 0": percent("val_zero", ""),
    **{
        f"{low}" if low == high else f"{low} to {high}": percent(f"val_minus_{low}_{high}", "")
        for low, high in GAPS
    },
}
SPEED = Quantity("batches a second", speed, 1, (".1f", ".1f"))
LOG_SPEED = Quantity("log batches a second", lambda t: math.log(speed(t)))


def with_interval(quantity: Quantity, trials: Trials) -> str:
    """Mean and 95 % interval; "" if it is not known for any trial."""
    mean = trends.average([quantity.of(t) for t in trials])
    if mean is None:
        return ""
    form = quantity.formats[0]
    inside = "" if mean.interval is None else " [{:{f}}, {:{f}}]".format(*mean.interval, f=form)
    return f"{mean.value:{form}}{inside}"


def interval_data(quantity: Quantity, trials: Trials) -> dict[str, Any] | None:
    mean = trends.average([quantity.of(t) for t in trials])
    return mean and mean.data()
