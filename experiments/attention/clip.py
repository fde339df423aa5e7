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
from dataclasses import dataclass
from pathlib import Path

from experiments.attention import clip_tables as tables
from experiments.attention.clip_tables import GOOGLE, SETS, TRAINED_ON, average, left, percent
from experiments.attention.pairs import Pairs
from experiments.attention.prompts import PROMPTS, TARGET
from experiments.data import pictures
from experiments.data.place import data_folder
from experiments.results.claims import Finding, Says, Test, by_share, decide, mean_of
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Results
from experiments.results.trials import Trials, finished, where
from experiments.sweep import with_data
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord
from experiments.train.trial import Trial

SMALL = {"vision_d": 16, "vision_layers": 1, "text_d": 16, "text_layers": 1, "embed": 16,
         "pieces": 200, "batch_size": 4, "warmup": 5, "every": 2}  # fmt: skip
PROTOCOL = ("steps", "batch_size", "lr", "patch", "vision_d", "vision_layers", "text_d",
            "text_layers", "pieces")  # fmt: skip


@dataclass(frozen=True)
class Options(with_data.Options):
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

    def find(self) -> None:
        pictures.find(data_folder(pictures.SOURCE))


def results(trials: Trials) -> Results:
    ended = [t for group in TRAINED_ON for t in group.of(finished(trials))]
    return Results(
        [
            tables.pairs(ended),
            *tables.recalls(ended),
            tables.classes(ended),
            tables.templates(GOOGLE.of(ended)),
            tables.prompts(ended),
        ],
        tables.drawings(ended[:1]),
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


def chance_of_ten(trial: TrialRecord) -> float:
    return 100 * left(trial)["pairs"]["sets"]["google_held"]["picture_at_10"]


# --- claims ---------------------------------------------------------------------------------------
def as_published(trials: Trials) -> list[TrialRecord]:
    """The trials with the sizes and steps of full scale: claims say nothing about others."""
    return where(trials, **{name: getattr(Pairs, name) for name in PROTOCOL})


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
         mean_of(NEMOS, GOOGLE) > 0),
    Says(SOURCE, "A plural makes it harder: held-out emoji come later for “two acorns” than for "
         "“acorn”", mean_of(later("emoji", "two, plural"), GOOGLE) > 0),
)  # fmt: skip

TITLE = "CLIP: captions find pictures"
EXPERIMENT = Experiment("clip", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
