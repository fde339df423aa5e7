"""What the models of seed 003 attend to: its figures 2, 3, 6 and 7.

    python -m experiments.speeches.attention_maps --data FOLDER --scale small
    python -m experiments.speeches.attention_maps --data FOLDER

Maps of the first and the last layer for the seed's sentence, which is one of the training set, and
for one of the test set. What the seed reads from maps of one sentence is measured over the whole
test sets, for every layer and head, beside what even attention would give.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.results.claims import Finding, Says, by_share, decide, mean_of
from experiments.results.curves import Quantity, spread
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell
from experiments.results.trials import Having, Trials, finished
from experiments.speeches import options
from experiments.speeches.attention import (
    ClassifyAndLook,
    PredictAndLook,
    attention_of,
    statistic,
)
from experiments.speeches.measures import (
    OF_BOTH,
    as_the_seed,
    classifiers,
    language_models,
    of_classifiers,
    of_language_models,
)
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord
from experiments.train.trial import Trial

ALL = Having("all", {})
UNSHAKABLE = "unshakable"
COLUMNS = {  # of the attention of a head: name and format by key in the records
    "distance": ("mean distance", ".2f"),
    "within_1": ("within ± 1", ".3f"),
    "within_2": ("within ± 2", ".3f"),
    "entropy": ("entropy, nats", ".2f"),
    "most_read": ("of the most read token", ".3f"),
    "before": ("queries that read the token before most", ".3f"),
    "padding": ("of padding", ".3f"),
}


@dataclass(frozen=True)
class Options(options.Options):
    """Figures 2, 3, 6 and 7: the classifier and the language model."""

    def trials(self) -> dict[str, Trial]:
        trials: dict[str, Trial] = {}
        for seed in self.seeds:
            settings = self.classify(seed=seed).settings()
            trials[f"classifier-seed{seed}"] = ClassifyAndLook.of(settings)
            settings = self.predict(seed=seed).settings()
            settings["every"] = settings["steps"]  # only what the trained model attends to counts
            trials[f"language_model-seed{seed}"] = PredictAndLook.of(settings)
        return trials


def results(trials: Trials) -> Results:
    ended = finished(trials)
    sentences, texts = classifiers(ended), language_models(ended)
    read = NEAR_FIRST.over(sentences)
    return Results(
        [
            table("classifier", "The classifier, over the sentences of the test set", sentences),
            table("language_model", "The language model, over the three test texts", texts),
        ],
        [drawing for model in (sentences, texts) for drawing in drawings(model[:1])],
        decide(CLAIMS, as_the_seed(ended)),
        Answer(
            "Share of the attention to keys at most two tokens away, first layer of the "
            f"classifier: {cell(NEAR_FIRST, read)}",
            "classifier",
        ),
        shown=OF_BOTH,
    )


def drawings(trials: Sequence[TrialRecord]) -> list[Drawing]:
    """Maps of both sentences, of one trial."""
    from experiments.results.maps import attention_maps  # matplotlib takes a second to import

    drawn: list[Drawing] = []
    for trial in trials:
        name, layers = trial.folder.name, trial.settings["layers"]
        causal = name.startswith("language_model")
        for each in attention_of(trial)["maps"]:
            weights = np.array(each["weights"])
            caption = f"{name}: a sentence of the {each['set']} set, in the first and last layer."
            if not causal:
                caption += " What is missing in a row is attention to padding."
            figure = attention_maps(
                weights, each["tokens"], caption, layers=(1, layers), causal=causal,
                brightest=weights.max(),
            )  # fmt: skip
            drawn.append(Drawing(f"attention_{name}_{each['set']}", caption, figure))
    return drawn


def table(name: str, title: str, trials: Trials) -> Table:
    """A row a head: means over the test set, mean ± std over seeds."""
    rows: list[list[str]] = []
    data: dict[str, Any] = {}
    if trials:
        of = attention_of(trials[0])
        values = {key: np.array([statistic(t, key) for t in trials]) for key in COLUMNS}
        for layer, head in np.ndindex(values["distance"].shape[1:]):
            spreads = {
                key: spread(of_key[:, layer, head].tolist()) for key, of_key in values.items()
            }
            cells = [cell(at(key, layer), s) for key, s in spreads.items()]
            rows.append([str(layer + 1), str(head + 1), *cells])
            data[f"layer {layer + 1}, head {head + 1}"] = [s._asdict() for s in spreads.values()]
        even = {key: value for key, value in of["even"].items() if key != "before"}  # none is most
        shown = [f"{even[k]:{form}}" if k in even else "" for k, (_, form) in COLUMNS.items()]
        rows.append(["evenly", "", *shown])
        data["evenly"] = even
    note = (
        f"Mean ± standard deviation over {len(trials)} seeds, of means over the queries of a "
        "sequence without its padding. Distances are in tokens; all but distance and entropy are "
        "shares. Evenly: if a query read all that it may read the same, padding too."
    )
    return Table(
        name, title, ["layer", "head", *(head for head, _ in COLUMNS.values())], rows, note, data
    )


# --- what the seed says ---------------------------------------------------------------------------
def at(key: str, layer: int) -> Quantity:
    """A number of a layer, the mean of its heads."""
    name, form = COLUMNS[key]
    where = "last layer" if layer < 0 else f"layer {layer + 1}"
    return Quantity(
        f"{name}, {where}", lambda t: float(statistic(t, key)[layer].mean()),
        formats=(form, form),
    )  # fmt: skip


def beyond_even(key: str, layer: int) -> Quantity:
    """By how much it is more than even attention gives."""
    q = at(key, layer)
    return Quantity(
        f"{q.name}, less even attention", lambda t: q.of(t) - attention_of(t)["even"][key]
    )


def last_less_first(key: str) -> Quantity:
    first, last = at(key, 0), at(key, -1)
    name = f"{first.name.removesuffix(', layer 1')}, last layer less first"
    return Quantity(name, lambda t: last.of(t) - first.of(t))


NEAR_FIRST = at("within_2", 0)


def unshakable(trials: Trials) -> Finding:
    """Whether this token is the most read one of the seed's sentence in the last layer."""
    most: list[str] = []
    for trial in trials:
        sentence = attention_of(trial)["maps"][0]
        if UNSHAKABLE not in sentence["tokens"]:
            continue
        columns = np.array(sentence["weights"])[-1].mean(axis=(0, 1))
        most.append(sentence["tokens"][int(columns.argmax())])
    if not most:
        return Finding()
    tokens = sorted({*most}, key=lambda token: (-most.count(token), token))
    listed = ", ".join(f"“{token}” {most.count(token)}" for token in tokens)
    return Finding(
        f"the most read token, models: {listed}", by_share([m == UNSHAKABLE for m in most])
    )


CLAIMS = (
    Says("003, 1", "The first layer of the encoder reads what is near, on both sides",
         of_classifiers(mean_of(beyond_even("within_2", 0), ALL) > 0)),
    Says("003, 1", "It reads nearer than the last layer",
         of_classifiers(mean_of(last_less_first("distance"), ALL) > 0)),
    Says("003, 1", "In the last layer only certain tokens get much: more for the most read one",
         of_classifiers(mean_of(last_less_first("most_read"), ALL) > 0)),
    Says("003, 1", "In the last layer “unshakable” is read most",
         of_classifiers(unshakable)),
    Says("003, 2", "In the first layer of the decoder most tokens read the one before them most",
         of_language_models(mean_of(at("before", 0), ALL) > 0.5)),
    Says("003, 2", "Its last layer spreads attention over more tokens",
         of_language_models(mean_of(last_less_first("entropy"), ALL) > 0)),
    Says("003, 2", "There one token is read by many: more than evenly",
         of_language_models(mean_of(beyond_even("most_read", -1), ALL) > 0)),
)  # fmt: skip

TITLE = "What the models attend to"
EXPERIMENT = Experiment("attention_maps", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
