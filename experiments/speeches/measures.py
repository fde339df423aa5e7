"""Quantities of trials on speeches, and groups of these trials."""

from __future__ import annotations

import math

import numpy as np

from experiments.data.speeches import SPEAKERS, TESTS
from experiments.results.claims import Test
from experiments.results.curves import Quantity, number
from experiments.results.trials import Group, Trials, where
from experiments.speeches.task import SHORT, Classify, Predict, unpacked
from experiments.train.records import TrialRecord

# numbers in the records that a page draws
OF_CLASSIFIERS = ("test_accuracy", "learnt_accuracy", "train_accuracy", "train_loss")
OF_LANGUAGE_MODELS = ("train_loss", "obama_loss", "hbush_loss", "wbush_loss")
OF_BOTH = ("test_accuracy", "obama_loss", "hbush_loss", "wbush_loss")
TEXTS = {SHORT[SPEAKERS.index(name)]: name for name in TESTS}  # by their names in records

POSITIONS = LEARNED, ALIBI, NONE = (
    Group("positions", "learned", "learned positions", "#0072B2", "#56B4E9"),
    Group("positions", "alibi", "ALiBi", "#D55E00", "#E69F00"),
    Group("positions", "none", "no positions", "#009E73", "#5FD3B0"),
)
SIGNED = Group("positions", "signed", "ALiBi, signed", "#CC79A7", "#E5B3D0")


# --- values in records ----------------------------------------------------------------------------
def percent(share: float | None) -> float:
    return 100 * number(share)


def exp(loss: float | None) -> float:
    return math.exp(number(loss))


# --- the classifier -------------------------------------------------------------------------------
def accuracy(key: str, name: str) -> Quantity:
    """An accuracy after the last epoch."""
    return Quantity(name, lambda t: percent(t.records[-1].get(key)), 1, (".2f", ".2f"))


TEST = accuracy("test_accuracy", "test accuracy, %")
LEARNT = accuracy("learnt_accuracy", "training accuracy, %")
GAP = Quantity("gap, %", lambda t: LEARNT.of(t) - TEST.of(t), -1, (".2f", ".2f"))
TRAIN_LOSS = Quantity(
    "training loss", lambda t: number(t.records[-1].get("train_loss")), -1, (".4f", ".4f")
)


def only_one_right(a: TrialRecord, b: TrialRecord) -> tuple[int, int]:
    """How many sentences of the test set only a gets right, and how many only b."""
    tested = sum(value for name, value in a.records[-1].items() if "_as_" in name)
    right, other = (unpacked("right", t.records[-1], tested) for t in (a, b))
    return int(np.sum(right & ~other)), int(np.sum(other & ~right))


# --- the language model ---------------------------------------------------------------------------
def perplexity(key: str, name: str) -> Quantity:
    """exp of the last value of a mean loss."""
    return Quantity(name, lambda t: exp(t.records[-1].get(key)), -1, (".1f", ".1f"))


def logarithm(key: str, name: str) -> Quantity:
    """The last value of a mean loss; its differences are log ratios of perplexities."""
    return Quantity(f"log PPL {name}", lambda t: number(t.records[-1].get(key)))


# --- which trials the seed's words are about ------------------------------------------------------
def classifiers(trials: Trials) -> list[TrialRecord]:
    return [t for t in trials if "padding" in t.settings]


def language_models(trials: Trials) -> list[TrialRecord]:
    return [t for t in trials if "every" in t.settings]


def bags_of_words(trials: Trials) -> list[TrialRecord]:
    return [t for t in trials if "penalty" in t.settings]


def of_classifiers(test: Test) -> Test:
    return lambda trials: test(classifiers(trials))


def of_language_models(test: Test) -> Test:
    return lambda trials: test(language_models(trials))


def as_the_seed(trials: Trials) -> list[TrialRecord]:
    """The trials with the seed's sizes and steps; its claims say nothing about others."""
    protocol = ("batch_size", "optimizer", "lr", "layers", "d", "heads", "block", "steps")
    usual = {kind: {n: getattr(kind, n) for n in protocol} for kind in (Classify, Predict)}
    return [
        *where(classifiers(trials), **usual[Classify]),
        *where(language_models(trials), **usual[Predict]),
    ]
