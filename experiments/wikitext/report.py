"""All experiments of seed 002, then one page and one PDF with everything they gave.

    python -m experiments.wikitext.report --data FOLDER --scale small     # shows that it works
    python -m experiments.wikitext.report --data FOLDER --scale reduced   # for two cores: days
    python -m experiments.wikitext.report --data FOLDER --device cuda     # the seed's protocol
    python -m experiments.wikitext.report --read FOLDER                   # run nothing

Each experiment writes into a folder of its own in the output folder, as its own command would, and
goes on with --resume. report.html needs nothing else; report.pdf has the same for print.
"""

import sys

from experiments.report.command import main
from experiments.report.report import Report, Sentence
from experiments.wikitext import comparison, cost, depth, overfitting, samples
from experiments.wikitext.errata import ERRATA
from experiments.wikitext.options import Options

ABOUT = (
    "Seed 002, a report on IFT6135 (Fall 2023, assignment 2): LSTMs and GPTs of one, two and four "
    "layers on WikiText-2, with four optimizers. The embeddings that the seed took from GPT-1 "
    "cannot be had; others stand in for them. Every number here comes from the records of our own "
    "runs. Beside it stands what the seed says of one run, and a verdict, with the scale of the "
    "runs that decided it."
)
REPORT = Report(
    name="wikitext",
    title="Twelve language models on WikiText-2",
    about=ABOUT,
    options=Options,
    experiments=[m.EXPERIMENT for m in (comparison, cost, depth, overfitting)],
    errata=ERRATA,
    sections=[samples.SECTION],
    story=(
        Sentence(
            "On WikiText-2, with Adam, an LSTM of one layer is slightly better than a GPT.",
            "comparison",
            "With Adam, the LSTM is slightly better than the GPT",
        ),
        Sentence(
            "More layers make the GPT worse: four are worse than two.",
            "comparison",
            "More layers make the GPT worse: four than two",
        ),
        Sentence(
            "Training it with SGD needs less memory than with Adam, because SGD keeps no moments.",
            "cost",
            "GPT: SGD uses less memory because it keeps no moments",
        ),
    ),
    figure=("comparison", "together"),
)

if __name__ == "__main__":
    sys.exit(main(REPORT, description=__doc__))
