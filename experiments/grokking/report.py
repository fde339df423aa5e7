"""All experiments of seeds 000 and 001, and one page and one PDF with all results.

    python -m experiments.grokking.report --scale small   # minutes: shows that everything works
    python -m experiments.grokking.report --device cuda   # everything, as in the seeds
    python -m experiments.grokking.report --resume        # go on after Ctrl-C
    python -m experiments.grokking.report --only sanity data_size
    python -m experiments.grokking.report --read FOLDER   # run nothing, only read the records

Each experiment writes into its own folder in the output folder, like its own command. report.html
needs no other file and no network: open it in a browser. report.pdf has the same tables and figures
for print. Both name what was not run, or not to the end.
"""

import sys

from experiments.grokking import (
    attention_maps,
    compute,
    data_size,
    live,
    model_size,
    operations,
    regularization,
    sanity,
)
from experiments.grokking.errata import ERRATA
from experiments.grokking.options import Options
from experiments.report.command import main
from experiments.report.report import Report, Sentence

ABOUT = (
    "Questions 4.1 to 4.8 of seeds 000 and 001, two reports on one assignment (IFT6135 W2025, "
    "assignment 2): how two language models learn to add modulo a prime, long after they know "
    "their training set by heart. Every number here comes from the records of our runs, and is "
    "compared with the claims of both seeds, each with a verdict."
)
MODULES = (sanity, data_size, operations, model_size, compute, regularization, attention_maps)
REPORT = Report(
    name="grokking",
    title="Grokking: an LSTM and a GPT learn modular arithmetic",
    about=ABOUT,
    options=Options,
    experiments=[module.EXPERIMENT for module in MODULES],  # in the order of the questions
    errata=ERRATA,
    sections=[live.SECTION],
    story=(
        Sentence(
            "Shown half of all sums modulo 31, an LSTM and a GPT learn the other half as well.",
            "data_size",
            "At r = .5 both have perfect A_val",
        ),
        Sentence(
            "With more weight decay they get better at what they have not seen.",
            "regularization",
            "More weight decay: better L_val and A_val",
        ),
        Sentence(
            "Before it names the sum, the GPT looks at the two numbers and at little else.",
            "attention_maps",
            "Of all tokens a and b are attended to most; BOS, + and = not much; in all heads and "
            "layers",
        ),
    ),
    figure=("sanity", "sanity"),
)

if __name__ == "__main__":
    sys.exit(main(REPORT, description=__doc__))
