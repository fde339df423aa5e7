"""What the report says, chapter by chapter: the page and the PDF show the same."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import matplotlib as mpl

from experiments.grokking.errata import ERRATA, Erratum, Measured
from experiments.results.figures import STYLE
from experiments.results.results import Claim, Drawing, Results, Table, Verdict
from experiments.sweep import folder as sweep
from experiments.sweep.experiment import Experiment
from experiments.train.records import TrialRecord

if TYPE_CHECKING:
    from PIL.Image import Image

COLORS = 256
TITLE = "Grokking: an LSTM and a GPT learn modular arithmetic"
ABOUT = (
    "Questions 4.1 to 4.8 of seeds 000 and 001, two reports on one assignment (IFT6135 W2025, "
    "assignment 2): how two language models learn to add modulo a prime, long after they know "
    "their training set by heart. Every number here comes from the records of our own runs. "
    "Beside it stands what both seeds say, and a verdict."
)
VERDICTS = (
    "agrees: our runs say the same. differs: they say something else. undecided: they cannot tell. "
    "not run: there are none that could."
)


class Chapter(NamedTuple):
    """What the records of one experiment come to.

    protocol: what was run and what was not, in words; or why there is nothing.
    small:    whether its trials are of the scale that says nothing about models.
    trials:   those that have evaluated a step.
    failed:   whether the records cannot be read, or no results come of them.
    """

    name: str
    title: str
    protocol: str
    small: bool = False
    trials: Sequence[TrialRecord] = ()
    results: Results = Results()
    failed: bool = False


class Report(NamedTuple):
    chapters: Sequence[Chapter]
    errata: Table

    @property
    def small(self) -> bool:
        return any(chapter.small for chapter in self.chapters)


def read_report(experiments: Iterable[Experiment], folder: Path) -> Report:
    """The chapters of experiments from the folders of their names in a folder, in this order."""
    chapters = [read_chapter(each, folder / each.name) for each in experiments]
    return Report(chapters, errata_table(chapters))


def read_chapter(experiment: Experiment, folder: Path) -> Chapter:
    """What the sweep in a folder has come to so far. Never an exception: see `Chapter.failed`."""
    chapter = Chapter(experiment.name, experiment.title, "Not run.")
    if not (folder / "sweep.json").exists():
        return chapter
    try:
        said = sweep.read_sweep(folder)
        trials = begun_trials(folder)
        return chapter._replace(
            protocol=sweep.protocol(said, trials),
            small=said["scale"] == "small",
            trials=trials,
            results=experiment.results(trials) if trials else Results(),
        )
    except Exception as error:  # whatever is wrong here, the other experiments are to be shown
        text = f"No results: {type(error).__name__}: {error}"
        return chapter._replace(protocol=text, failed=True)


def begun_trials(folder: Path) -> list[TrialRecord]:
    try:
        return sweep.read_trials(folder)
    except FileNotFoundError:
        return []


# --- tables ---------------------------------------------------------------------------------------
def tables_of(results: Results) -> list[Table]:
    """The tables of an experiment, in the order of results.md."""
    return [*results.tables, *([results.claims_table()] if results.claims else [])]


def overview(chapters: Sequence[Chapter]) -> Table:
    """A line an experiment: how many of its trials have ended, and the verdicts."""
    rows = []
    for chapter in chapters:
        counts = Counter(claim.verdict for claim in chapter.results.claims)
        ended = sum(bool(trial.status.get("finished")) for trial in chapter.trials)
        cells = [str(counts[verdict] or "") for verdict in get_args(Verdict)]
        rows.append([chapter.title, str(ended or ""), *cells])
    columns = ["experiment", "trials run to the end", *get_args(Verdict)]
    return Table("overview", "At a glance", columns, rows, f"What the seeds claim. {VERDICTS}")


def errata_table(chapters: Sequence[Chapter]) -> Table:
    """A row a measurement. Those that an experiment makes itself come before those made here."""
    trials = {chapter.name: chapter.trials for chapter in chapters}
    made: dict[str, list[Claim]] = {}
    for chapter in chapters:
        for claim in chapter.results.claims:
            if claim.erratum:
                made.setdefault(claim.erratum, []).append(claim)
    rows = []
    for erratum in ERRATA:
        measured = [*made.get(erratum.number, ()), *measure(erratum, trials)] or [
            Measured("", "no experiment that decides it was run", "not run")
        ]
        about = [f"{erratum.number}: {erratum.said}", erratum.objection]
        for each in measured:
            rows.append([*about, each.said, each.ours, each.verdict])
            about = ["", ""]
    columns = ["the seed says", "but", "what is tested", "our measurement", "verdict"]
    note = (
        "Where seeds 000 and 001 seem wrong, contradict themselves or each other, and the "
        "measurement that decides it. The verdict is on what is tested."
    )
    return Table("errata", "Errata of the seeds", columns, rows, note)


def measure(erratum: Erratum, trials: Mapping[str, Sequence[TrialRecord]]) -> Sequence[Measured]:
    try:
        return erratum.measure(trials)
    except ValueError as error:  # such as of a loss that never was a number
        return [Measured("", f"no measurement: {error}", "undecided")]


def picture(drawing: Drawing, dpi: int) -> Image:
    """A figure as pixels of `COLORS` colours: as good to the eye, and half as large in a file."""
    from PIL import Image

    data = io.BytesIO()
    with mpl.rc_context(STYLE):
        drawing.figure.savefig(data, format="png", dpi=dpi)
    return Image.open(data).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)


def plain(text: str) -> str:
    """A text of results without the marks of **bold**."""
    return text.replace("**", "")
