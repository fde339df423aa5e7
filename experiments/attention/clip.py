"""CLIP of seed 004, section 4: captions find pictures, and how much their wording decides.

    python -m experiments.attention.clip --data FOLDER --scale small   # shows that it works
    python -m experiments.attention.clip --data FOLDER

A small CLIP is trained on emoji with their names, in Google's style or in Google's and Twitter's,
and tested on emoji that were held out, in both styles, and on the captioned stamps of Tux Paint.
OpenAI's weights, which the seed used, come with no package; `models.clip` reads them from a file.
`experiments/data/pictures.py` has the three commands that make FOLDER.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from experiments.attention.pairs import Pairs
from experiments.attention.prompts import NAMES, PROMPTS, RETRIEVAL, TARGET
from experiments.attention.retrieval import AT
from experiments.data import pictures
from experiments.data.pictures import STAMPS
from experiments.data.place import data_folder, data_in
from experiments.results import trends
from experiments.results.claims import Finding, Says, Test, by_share, decide, mean_of
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Group, Trials, finished, where
from experiments.sweep import experiment
from experiments.sweep.experiment import Experiment, main
from experiments.train import records
from experiments.train.records import TrialRecord
from experiments.train.trial import Trial

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
SMALL = {"vision_d": 16, "vision_layers": 1, "text_d": 16, "text_layers": 1, "embed": 16,
         "pieces": 200, "batch_size": 4, "warmup": 5, "every": 2}  # fmt: skip
PROTOCOL = ("steps", "batch_size", "lr", "patch", "vision_d", "vision_layers", "text_d",
            "text_layers", "pieces")  # fmt: skip


@dataclass(frozen=True)
class Options(experiment.Options):
    """Section 4: pictures and captions."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One trial of each style a seed: of the emoji held out, the weights, and what is drawn."""
    data: Path | None = None
    """Folder of the packages with pictures; MINIGRAD_DATA if not given."""

    def trials(self) -> dict[str, Trial]:
        sizes = self.pick({}, SMALL)
        steps = self.steps or self.pick(Pairs.steps, 20)
        return {
            f"{group.value}-seed{seed}": Pairs(seed=seed, steps=steps, style=group.value, **sizes)
            for seed in self.seeds
            for group in TRAINED_ON
        }

    def check(self) -> None:
        with data_in(self.data):
            pictures.find(data_folder(pictures.SOURCE))

    @contextmanager
    def how(self) -> Iterator[None]:
        with super().how(), data_in(self.data):
            yield


def results(trials: Trials) -> Results:
    ended = finished(trials)
    return Results(
        [pairs(ended), *recalls(ended), classes(ended), templates(ended), prompts(ended)],
        drawings(ended[:1]),
        decide(CLAIMS, as_published(ended)),
        answer(GOOGLE.of(ended)),
        groups=TRAINED_ON,
        shown=("loss", "scale", *(f"{name}_picture_at_10" for name in SETS)),
    )


def answer(trials: Trials) -> Answer:
    share, by_chance = (
        average([of(t) for t in trials])
        for of in (lambda t: percent(t, "google_held_picture_at_10"), chance_of_ten)
    )
    return Answer(
        f"The caption of a held-out emoji finds it among the first ten in {share} % (by chance "
        f"{by_chance} %)", "picture",
    )  # fmt: skip


# --- what is in the records and beside them -------------------------------------------------------
def left(trial: TrialRecord) -> dict[str, Any]:
    """What the trial has left: see `prompts.leave`."""
    return records.read_json(trial.folder / RETRIEVAL)


def percent(trial: TrialRecord, key: str) -> float:
    value = trial.records[-1].get(key)
    return math.nan if value is None else 100 * value


def chance_of_ten(trial: TrialRecord) -> float:
    return 100 * left(trial)["pairs"]["sets"]["google_held"]["picture_at_10"]


def average(values: Sequence[float], form: str = ".1f") -> str:
    """The mean with its 95 % interval over seeds; "" if there is none."""
    mean = trends.average(values)
    if mean is None:
        return ""
    if mean.interval is None:
        return f"{mean.value:{form}}"
    low, high = mean.interval
    return f"{mean.value:{form}} [{low:{form}}, {high:{form}}]"


def as_published(trials: Trials) -> list[TrialRecord]:
    """The trials with the sizes and steps of full scale: claims say nothing about others."""
    return where(trials, **{name: getattr(Pairs, name) for name in PROTOCOL})


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
        "emoji are on one side of the split, and all flags, families and keycaps are trained on. "
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
        f"Emoji by their labels; stamps whose caption is one or two words. Over {len(trials)} "
        "trials of both styles, mean with its 95 % interval. Later: by how many doublings of its "
        "place a picture comes later than for the plain caption, in the mean over pictures."
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
    counted = {name for t in trials for name in left(t)["pairs"]["counted"]}
    note = (
        f"The place among all stamps of the picture of a {TARGET} (Nemo is one), in each trial: "
        f"{', '.join(t.folder.name for t in trials) or 'none'}; and what the first trial finds "
        "first. In the seed CLIP chose among 500 pictures of another set. That a prompt counts can "
        f"hardly help here: of all captions to train on {len(counted)} count"
        f"{': ' + '; '.join(sorted(counted)) if counted else ''}."
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
        image = draw_map(ax, similarities, short, np.zeros(similarities.shape, bool), 1.0)
        ax.set(xlabel="caption", ylabel="picture of")
        figure.colorbar(image, ax=ax, shrink=0.8, label="cosine similarity")
        caption = (
            f"{trial.folder.name}: cosine similarities of {len(captions)} held-out pictures with "
            "their captions. On the diagonal are the pairs."
        )
        drawn.append(Drawing("similarities", caption, figure))
    return drawn


# --- claims ---------------------------------------------------------------------------------------
def rank(trial: TrialRecord, prompt: str) -> float:
    """The place of the target for a prompt."""
    place = left(trial)["prompts"][PROMPTS.index(prompt)]["rank"]
    return math.nan if place is None else place


def finds(prompt: str, wanted: bool = True) -> Test:
    """Whether a prompt finds the target first; or, if that is not wanted, does not."""

    def test(trials: Trials) -> Finding:
        places = [rank(t, prompt) for t in trials]
        known = [place for place in places if math.isfinite(place)]
        if not known:
            return Finding()
        listed = ", ".join(f"{place:.0f}" for place in known)
        return Finding(f"place of the {TARGET} among the stamps: {listed}",
                       by_share([(place == 1) == wanted for place in known]))  # fmt: skip

    return test


class All:
    """All trials, for tests of claims."""

    label = "all"

    def of(self, trials: Trials) -> list[TrialRecord]:
        return [*trials]


def later(what: str, template: str) -> Quantity:
    """How many doublings later than by the plain caption a picture comes, in the mean."""
    return Quantity(
        f"{template}, {what}: doublings later",
        lambda t: left(t)["templates"][what]["by"].get(template, {}).get("later", math.nan),
    )


NEMOS = Quantity(
    "log2 place, “two nemos” less “two nemo”",
    lambda t: math.log2(rank(t, "two nemos") / rank(t, "two nemo")),
)
SOURCE = "004, 4.2"
CLAIMS = (
    Says(SOURCE, "“two goldfish” finds the picture", finds("two goldfish")),
    Says(SOURCE, "“two nemo” finds it", finds("two nemo")),
    Says(SOURCE, "“two nemos” does not", finds("two nemos", wanted=False)),
    Says(SOURCE, "With “two nemos” it comes later than with “two nemo”",
         mean_of(NEMOS, All()) > 0),
    Says(SOURCE, "A plural makes it harder: held-out emoji come later for “two acorns” than for "
         "“acorn”", mean_of(later("emoji", "two, plural"), All()) > 0),
)  # fmt: skip

TITLE = "CLIP: captions find pictures"
EXPERIMENT = Experiment("clip", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
