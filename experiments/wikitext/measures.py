"""Quantities of trials on WikiText-2, and groups of these trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from experiments.results.claims import Claim, Finding, Says, by_all, decide
from experiments.results.curves import Quantity, best, number
from experiments.results.trials import Having, Trials, where
from experiments.train.records import Record, TrialRecord, read_records
from experiments.wikitext.seed import RUNS
from experiments.wikitext.task import LanguageModel

SHOWN = ("val_loss", "train_loss", "learnt_loss", "test_loss")  # numbers that a page draws
NAMES = {"lstm": "LSTM", "gpt": "GPT", "adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}
LAYERS = {1: "one layer", 2: "two layers", 4: "four layers"}


def run(n: int) -> Having:
    """The trials of experiment n of the seed, without what only we have tried."""
    r = RUNS[n]
    optimizer = NAMES.get(r.optimizer, r.optimizer)
    settings = {"model": r.model, "layers": r.layers, "optimizer": r.optimizer}
    return Having(f"{NAMES[r.model]}, {LAYERS[r.layers]}, {optimizer}", settings)


# --- values in records ----------------------------------------------------------------------------
def at_best(trial: TrialRecord) -> Record:
    """The record with the least validation loss; the last one if no loss is a number."""
    step = best(trial, "val_loss")[1]
    return next((r for r in trial.records if r["step"] == step), trial.records[-1])


def epoch_of(trial: TrialRecord, record: Record) -> float:
    """From 0, as in the seed, for trials with a record after each; NaN before the first."""
    return record["step"] / trial.records[1]["step"] - 1 if record["step"] else math.nan


def exp(loss: float | None) -> float:
    """A perplexity; inf beyond what floats hold."""
    value = number(loss)
    return math.exp(value) if not value > 700 else math.inf


def then(key: str, name: str) -> Quantity:
    """A perplexity after the epoch with the least validation perplexity."""
    return Quantity(name, lambda t: exp(at_best(t).get(key)), -1, (".1f", ".1f"))


VAL, TRAIN, LEARNT, TEST = (
    then(f"{key}_loss", name)
    for key, name in (("val", "validation"), ("train", "training"),
                      ("learnt", "training, afterwards"), ("test", "test"))
)  # fmt: skip
EPOCH = Quantity("epoch", lambda t: epoch_of(t, at_best(t)), 0, (".1f", ".1f"))
LOG_VAL = Quantity("log PPL, validation", lambda t: number(at_best(t).get("val_loss")))
LOG_TRAIN = Quantity("log PPL, training", lambda t: number(at_best(t).get("train_loss")))
LAST_LEARNT = Quantity(
    "log PPL, training text, at last", lambda t: number(t.records[-1].get("learnt_loss"))
)
LAST_VAL = Quantity("log PPL, validation, at last", lambda t: number(t.records[-1]["val_loss"]))
RISE = Quantity("rise of log PPL after the best epoch", lambda t: LAST_VAL.of(t) - LOG_VAL.of(t))
SECONDS = Quantity("seconds", lambda t: t.status["seconds"], -1, (",.0f", ",.0f"))


def seconds_at(trial: TrialRecord) -> dict[int, float]:
    """Seconds of training until each recorded step; {} if they were not kept."""
    path = trial.folder / "times.jsonl"
    return {r["step"]: r["seconds"] for r in read_records(path)} if path.exists() else {}


# --- which trials the seed's words are about ------------------------------------------------------
PROTOCOL = ("batch_size", "lr", "steps", "clip", "dropout", "pre_norm", "warmup", "schedule",
            "patience")  # fmt: skip
SIZES = ("d", "hidden", "heads", "vocabulary", "window")


def as_the_seed(trials: Trials) -> list[TrialRecord]:
    """The trials with the seed's protocol, whatever their sizes; its claims are about no others."""
    usual: Any = LanguageModel().settings()
    return where(trials, **{name: usual[name] for name in PROTOCOL})


def full(trials: Trials) -> list[TrialRecord]:
    """The trials with the seed's sizes."""
    usual: Any = LanguageModel().settings()
    return where(trials, **{name: usual[name] for name in SIZES})


def decided(claims: Sequence[Says], trials: Trials) -> list[Claim]:
    """The claims, each with the scale of the trials that decided it; facts need no trials."""
    if not trials:
        return decide(claims, trials)
    scale = "full scale" if len(full(trials)) == len(trials) else "smaller scale"
    steps = {trial.settings["steps"] for trial in trials}
    if steps != {LanguageModel.steps}:
        scale += f", {' or '.join(f'{n:,}' for n in sorted(steps))} steps"
    facts = {claim.said for claim in decide(claims, ()) if claim.ours}
    return [
        replace(c, ours=f"{c.ours} ({scale})") if c.ours and c.said not in facts else c
        for c in decide(claims, trials)
    ]


SOME = 0.9  # of the perplexity of an n-gram: a model that is below has learnt more than it


def below(values: Iterable[float], level: float, name: str) -> Finding:
    """Whether perplexities are all clearly below that of an n-gram."""
    given = [*values]
    listed = ", ".join(f"{value:.0f}" for value in given)
    text = f"perplexity at last: {listed}; {SOME} of that of the {name}: {SOME * level:.0f}"
    return Finding(text, by_all([value < SOME * level for value in given]))
