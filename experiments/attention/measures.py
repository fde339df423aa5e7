"""Quantities of translators, tables of words, and maps of what a translator reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.attention.translate import DRAWN, RULES, SENTENCE, SHOWN, TRANSLATIONS
from experiments.results.curves import Quantity, best, number
from experiments.results.results import Drawing, Table
from experiments.results.trials import Trials, until
from experiments.train.records import TrialRecord, read_json
from experiments.train.trial import waited

LEAST = Quantity(
    "least validation loss", lambda t: best(t, "val_loss")[0], -1, (".3f", ".3f")
)  # fmt: skip


def at_least(key: str, name: str, formats: tuple[str, str]) -> Quantity:
    """Another number of the record with the least validation loss."""

    def value(trial: TrialRecord) -> float:
        _, step = best(trial, "val_loss")
        return next((number(r[key]) for r in trial.records if r["step"] == step), math.nan)

    return Quantity(name, value, -1, formats)


BY_CHARACTER = at_least("val_token_loss", "the same by character", (".3f", ".3f"))
EXACT = Quantity(
    "exact at the end, %", lambda t: 100 * number(t.records[-1]["exact"]), 1, (".1f", ".1f")
)
BEST_EPOCH = Quantity(
    "epoch of the least", lambda t: periods(t, best(t, "val_loss")[1]), -1, (".0f", ".0f")
)
EPOCHS = Quantity("epochs", lambda t: periods(t, t.records[-1]["step"]), -1, (".0f", ".0f"))


def periods(trial: TrialRecord, step: float) -> float:
    """How many times a trial was measured up to a step, without that before training."""
    return sum(0 < r["step"] <= step for r in trial.records)


def early(trial: TrialRecord, patience: int) -> TrialRecord:
    """The trial as it is if it ends once more than `patience` epochs brought no lower loss."""
    for record in trial.records:
        begun = until(trial, record["step"])
        if waited(begun.records, "val_loss", patience + 1):
            return begun
    return trial


# --- what was translated --------------------------------------------------------------------------
@lru_cache(maxsize=64)
def read_translations(path: Path) -> dict[str, Any]:
    return read_json(path)


def translations(trial: TrialRecord) -> dict[str, Any]:
    """What the task of a finished trial left (`TranslateTask.leave`); {} if that is not there."""
    path = trial.folder / TRANSLATIONS
    return read_translations(path) if path.exists() else {}


def by_rule(groups: Mapping[str, Trials]) -> Table:
    """A row a kind of trial: how many words of each rule it translates without a mistake."""
    rows, data = [], {}
    for label, trials in groups.items():
        counts = [
            tuple(
                sum(t.records[-1][f"{rule}_{what}"] for t in trials) for what in ("right", "words")
            )
            for rule in RULES
        ]
        rows.append([label, *(share(*each) for each in counts)])
        data[label] = dict(zip(RULES, counts, strict=True))
    note = (
        "Held-out words without a mistake after the last epoch, %, and how many there are, all "
        "splits together. “cluster”: several consonants come before the first vowel; “qu”: qu, or "
        "consonants and qu, does."
    )
    return Table("rules", "What is learnt, by rule", ["", *RULES], rows, note, data)


def share(right: int, words: int) -> str:
    return f"{100 * right / words:.1f} of {words}" if words else "none"


def sentence(groups: Mapping[str, Trials]) -> Table:
    """A row a kind of trial: the seed's sentence, as that of its first seed translates it."""
    rows, data = [], {}
    for label, trials in groups.items():
        left = [found["sentence"] for t in trials if (found := translations(t))]
        if not left:
            continue
        said = [" ".join(each.values()) for each in left]
        right = sum(each == RIGHT for each in said)
        rows.append([label, f"{right} of {len(said)}", said[0]])
        data[label] = said
    note = (
        f"“{SENTENCE}” is “{RIGHT}”. Right: splits whose model translates every word. Then what "
        "that of the first split says."
    )
    return Table("sentence", "The seed's sentence", ["", "right", "first split"], rows, note, data)


def mistakes(name: str, trials: Iterable[TrialRecord], of_each: int = 3) -> Table:
    """Held-out words that a trial translates wrongly, some of each rule."""
    rows, data = [], {}
    for trial in trials:
        wrong = [w for w in translations(trial).get("words", []) if w["given"] != w["wanted"]]
        for rule in RULES:
            of_rule = [w for w in wrong if w["rule"] == rule]
            rows += [[rule, w["word"], w["wanted"], w["given"]] for w in of_rule[:of_each]]
        data[trial.folder.name] = wrong
    note = f"{name}: at most {of_each} of each rule, of the {SHOWN} words that it was asked for."
    heads = ["rule", "word", "Pig Latin", "given"]
    return Table("mistakes", "What is translated wrongly", heads, rows, note, data)


RIGHT = "ethay airway onditioningcay isway orkingway"


def maps(name: str, trials: Iterable[TrialRecord]) -> list[Drawing]:
    """What each kind of attention of a trial reads in one word, layer by layer."""
    from experiments.results.maps import attention_maps  # matplotlib takes a second to import

    drawn: list[Drawing] = []
    for trial in trials:
        left = translations(trial).get("attention", {})
        if not left:
            continue
        word, written = [*DRAWN], [*left["translation"]]
        sides = {
            "encoder": ([*word, "end"], [*word, "end"]),
            "cross": (["start", *written], [*word, "end"]),
            "decoder": (["start", *written], ["start", *written]),
        }
        if "encoder" not in left:
            whole = ["start", *word, "|", *written]
            sides = {"decoder": (whole, whole)}
        for kind, (queries, keys) in sides.items():
            weights = np.array(left[kind])[-1:, None]  # the last layer, its one head
            caption = (
                f"{name}: what the last layer reads in “{DRAWN}” ({kind}), of {trial.folder.name}."
            )
            figure = attention_maps(
                weights, queries, caption, keys=keys, layers=(len(left[kind]),),
                causal=kind == "decoder",
            )  # fmt: skip
            drawn.append(Drawing(f"attention_{trial.folder.name}_{kind}", caption, figure))
    return drawn
