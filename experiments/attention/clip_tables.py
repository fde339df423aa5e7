"""Tables and the figure of CLIP's experiment, from the records of its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from experiments.attention.prompts import NAMES, PROMPTS, RETRIEVAL, TARGET
from experiments.attention.retrieval import AT
from experiments.data.pictures import STAMPS
from experiments.results import trends
from experiments.results.results import Drawing, Table
from experiments.results.trials import Group, Trials
from experiments.train import records
from experiments.train.records import TrialRecord

TRAINED_ON = GOOGLE, BOTH = (
    Group("style", "google", "Google's pictures", "#0072B2", "#56B4E9"),
    Group("style", "both", "Google's and Twitter's", "#D55E00", "#E69F00"),
)
SETS = {
    "google_train": "emoji trained on, Google's",
    "twitter_train": "the same, Twitter's",
    "google_held": "held-out emoji, Google's",
    "twitter_held": "the same, Twitter's",
    "stamps": STAMPS.split(",")[0],
}
KINDS = ("accuracy", "balanced")  # of zero-shot classes, in the records
LONGEST = 24  # letters of a caption in the figure
TESTED = [name for name in SETS if not name.endswith("train")]


# --- what is in the records and beside them -------------------------------------------------------
def left(trial: TrialRecord) -> dict[str, Any]:
    """What the trial has left: see `prompts.leave`."""
    return records.read_json(trial.folder / RETRIEVAL)


def percent(trial: TrialRecord, key: str) -> float:
    value = trial.records[-1].get(key)
    return math.nan if value is None else 100 * value


def average(values: Sequence[float], form: str = ".1f") -> str:
    """The mean with its 95 % interval over seeds; "" if there is none."""
    mean = trends.average(values)
    if mean is None:
        return ""
    if mean.interval is None:
        return f"{mean.value:{form}}"
    low, high = mean.interval
    return f"{mean.value:{form}} [{low:{form}}, {high:{form}}]"


# --- tables ---------------------------------------------------------------------------------------
def pairs(trials: Trials) -> Table:
    """What there was to learn from, seed by seed."""
    rows, data = [], {}
    for trial in GOOGLE.of(trials):
        found = left(trial)["pairs"]
        seed = str(trial.settings["seed"])
        words = found["words"]
        rows.append([
            seed, *(f"{found[key]:,}" for key in ("emoji", "families", "train", "held_out")),
            f"{found['sets']['stamps']['pictures']:,}",
            "; ".join(found["counted"]) or "none",
            ", ".join(f"{word} {count}" for word, count in words.items()),
        ])  # fmt: skip
        data[seed] = found
    note = (
        "Each emoji is one pair, in each style; other skin tones are left out. The variants of an "
        "emoji are on one side of the split; flags, clocks, keycaps and families of people are all "
        "trained on. "
        "Counted: all captions to train on in which a number stands before a plural. Words: how "
        "often they occur in these captions."
    )
    heads = ["seed", "emoji", "families", "trained on", "held out", "stamps", "counted", "words"]
    return Table("pairs", "Pairs of picture and caption", heads, rows, note, data)


def recalls(trials: Trials) -> list[Table]:
    """Pictures found by their captions, and captions by their pictures, beside chance."""
    titles = {"picture": "Pictures found by their captions, %",
              "caption": "Captions found by their pictures, %"}  # fmt: skip
    note = (
        "The share whose right one is among the first k by cosine similarity. Mean with its 95 % "
        "interval over seeds, each with its own emoji held out. Chance: if they came in any order. "
        "The place in the mean over seeds of medians."
    )
    tables: list[Table] = []
    for what, title in titles.items():
        rows, data = [], {}
        for name, label in SETS.items():
            for group in TRAINED_ON:
                of = group.of(trials)
                if not of:
                    continue
                chances = left(of[0])["pairs"]["sets"][name]
                cells: list[str] = []
                for k in AT:
                    key = f"{what}_at_{k}"
                    found = [percent(t, f"{name}_{key}") for t in of]
                    cells += [average(found), f"{100 * chances[key]:.1f}"]
                    data[f"{group.value}: {name}_at_{k}"] = found
                place = average([t.records[-1][f"{name}_{what}_median"] for t in of], ".0f")
                others = chances["pictures" if what == "picture" else "captions"]
                rows.append([label, group.label, *cells, f"{place} of {others:,}"])
        heads = ["tested on", "trained on"]
        heads += [head for k in AT for head in (f"first {k}" if k > 1 else "first", "chance")]
        tables.append(Table(what, title, [*heads, "median place"], rows, note, data))
    return tables


def classes(trials: Trials) -> Table:
    """Zero-shot classification: the names of kinds as captions."""
    rows, data = [], {}
    for name in TESTED:
        for group in TRAINED_ON:
            of = group.of(trials)
            if not of:
                continue
            about = left(of[0])["pairs"]["sets"][name]
            found = {key: [percent(t, f"{name}_{key}") for t in of] for key in KINDS}
            rows.append([
                SETS[name], group.label, str(about["classes"]), f"{100 * about['majority']:.1f}",
                average(found["accuracy"]), f"{100 / about['classes']:.1f}",
                average(found["balanced"]),
            ])  # fmt: skip
            data[f"{group.value}: {name}"] = found
    note = (
        "A picture is taken for the kind whose name, such as “animals & nature”, is most similar: "
        "of emoji their category, of stamps their folder. Balanced: the mean over kinds of the "
        "share that is right. Mean with its 95 % interval over seeds."
    )
    heads = ["tested on", "trained on", "kinds", "most frequent kind, %", "right, %",
             "chance, balanced, %", "balanced, %"]  # fmt: skip
    return Table("classes", "Kinds without training (zero-shot)", heads, rows, note, data)


def templates(trials: Trials) -> Table:
    """The same pictures asked for in other words."""
    rows, data = [], {}
    examples = {"plain": "acorn", "a picture of": "a picture of acorn", "plural": "acorns",
                "two": "two acorn", "two, plural": "two acorns",
                NAMES: "its Unicode name"}  # fmt: skip
    for what, label in (("emoji", SETS["google_held"]), ("stamps", SETS["stamps"])):
        for name, example in examples.items():
            of = [t for t in trials if name in left(t)["templates"][what]["by"]]
            if not of:
                continue
            found = [left(t)["templates"][what]["by"][name] for t in of]
            rows.append([
                label, example, average([100 * each["at_10"] for each in found]),
                average([each["median"] for each in found], ".0f"),
                "" if name == "plain" else average([each["later"] for each in found], "+.2f"),
            ])  # fmt: skip
            data[f"{what}: {name}"] = found
    note = (
        "Emoji by their labels; stamps whose caption is one or two words. Mean with its 95 % "
        f"interval over {len(trials)} seeds, trained on Google's pictures. Later: by how many "
        "doublings of its place a picture comes later than for the plain caption, in the mean over "
        "pictures."
    )
    heads = ["tested on", "asked for as", "first 10, %", "median place", "later, doublings"]
    return Table("templates", "The same pictures in other words", heads, rows, note, data)


def prompts(trials: Trials) -> Table:
    """Section 4.2: a picture that prompts should find."""
    rows, data = [], {}
    for i, prompt in enumerate(PROMPTS):
        of = [left(t)["prompts"][i] for t in trials]
        ranks = [each["rank"] for each in of if each["rank"] is not None]
        if not ranks:
            continue
        places = ", ".join(str(place) for place in ranks)
        rows.append([prompt, places, f"{median(ranks):g}", "; ".join(of[0]["first"])])
        data[prompt] = of
    note = (
        f"The place among all stamps of the picture of a {TARGET} (Nemo is one), in each trial: "
        f"{', '.join(t.folder.name for t in trials) or 'none'}; and what the first trial finds "
        "first. In the seed CLIP chose among 500 pictures of another set."
    )
    if trials:
        counted = sorted({name for t in trials for name in left(t)["pairs"]["counted"]})
        note += (
            " That a prompt counts can hardly help here: of all captions to train on "
            f"{len(counted)} have a number before a plural{': ' * bool(counted)}"
            f"{'; '.join(counted)}."
        )
    heads = ["prompt", "place", "median", "found first"]
    return Table("prompts", "Section 4.2: prompts for one picture", heads, rows, note, data)


# --- figure ---------------------------------------------------------------------------------------
def drawings(trials: Trials) -> list[Drawing]:
    import numpy as np
    from matplotlib.figure import Figure

    from experiments.results.maps import draw_map  # matplotlib takes a second to import

    drawn: list[Drawing] = []
    for trial in trials:
        found = left(trial)["matrix"]
        captions, similarities = found["captions"], np.array(found["similarities"])
        short = [c if len(c) <= LONGEST else f"{c[: LONGEST - 1]}…" for c in captions]
        figure = Figure(figsize=(7.2, 6.2), layout="constrained")
        ax = figure.subplots()
        hidden = np.zeros(similarities.shape, dtype=bool)
        image = draw_map(ax, similarities, short, short, hidden, 1.0)
        ax.set(xlabel="caption", ylabel="picture of")
        figure.colorbar(image, ax=ax, shrink=0.8, label="cosine similarity")
        caption = (
            f"{trial.folder.name}: cosine similarities of {len(captions)} held-out pictures with "
            "their captions. On the diagonal are the pairs."
        )
        drawn.append(Drawing("similarities", caption, figure))
    return drawn
