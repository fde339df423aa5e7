"""What a report says, chapter by chapter: the page and the PDF show the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, get_args

from experiments.results.claims import Claim, Test, Verdict
from experiments.results.results import Answer, Results, Table
from experiments.sweep import folder as folders
from experiments.sweep.experiment import Experiment, Options
from experiments.train.records import TrialRecord

VERDICTS = (
    "agrees: our runs say the same. differs: they say something else. undecided: they cannot tell. "
    "not run: there are none that could."
)


@dataclass(frozen=True)
class Erratum:
    """Something wrong in a text, and what decides that: these tests, and claims that name it."""

    number: str  # of the document and a number, such as "000.1"
    said: str  # what it says, in our words, and where
    objection: str  # what is wrong with it
    tests: Mapping[str, Test] = field(default_factory=dict)  # by what is tested
    experiment: str = ""  # on whose trials that is tested


class Sentence(NamedTuple):
    """A sentence of the story on the page over all reports: what a seed says, to be decided."""

    text: str
    experiment: str  # whose trials decide it
    said: str  # the claim that does, in its words there


class Section(NamedTuple):
    """A section of the page of a report that no other has."""

    name: str
    title: str
    html: Callable[[Sequence[Chapter]], str]  # what stands below its title
    scripts: Sequence[Path] = ()  # JavaScript; it may add to `started`, a list of promises


@dataclass(frozen=True)
class Report:
    """A report before anything is run."""

    name: str  # of the folder of its modules and of that of its output
    title: str
    about: str  # what it is about, in a paragraph
    options: type[Options]  # of all of its experiments, each of which takes those that it has
    experiments: Sequence[Experiment]
    errata: Sequence[Erratum] = ()
    sections: Sequence[Section] = ()
    story: Sequence[Sentence] = ()
    figure: tuple[str, str] = ("", "")  # the one that matters most: its experiment and its name

    @property
    def prog(self) -> str:
        return f"python -m experiments.{self.name}.report"


class Chapter(NamedTuple):
    """What the records of one experiment come to."""

    name: str
    title: str
    protocol: str  # what was run and what was not, in words; or why there is nothing
    scale: str = "full"  # of its trials; "small" says nothing about models
    trials: Sequence[TrialRecord] = ()  # those that have evaluated a step
    results: Results = Results()
    failed: bool = False  # whether the records cannot be read, or no results come of them

    @property
    def answer(self) -> Answer | None:
        """The answer in words; empty if there are trials, and none has ended."""
        ended = [trial for trial in self.trials if trial.status.get("finished")]
        return self.results.answer if ended or not self.trials else None

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims have each verdict that any has."""
        counts = Counter(claim.verdict for claim in self.results.claims)
        return {verdict: counts[verdict] for verdict in get_args(Verdict) if counts[verdict]}


class Contents(NamedTuple):
    """A report and its chapters, as they are shown."""

    report: Report
    chapters: Sequence[Chapter]

    @property
    def small(self) -> bool:
        return any(chapter.scale == "small" for chapter in self.chapters)

    def answers(self) -> Table:
        """A row for each experiment: its answer, and the verdicts on the claims."""
        verdicts, rows = get_args(Verdict), []
        for chapter in self.chapters:
            counts = [str(chapter.verdicts.get(verdict, "")) for verdict in verdicts]
            text = chapter.answer.text if chapter.answer else "not run"
            rows.append([chapter.title, text, *counts])
        columns = ["experiment", "what was found", *verdicts]
        note = f"The numbers count what the seeds claim. {VERDICTS}"
        return Table("answers", "What was found", columns, rows, note)

    def errata(self) -> Table:
        """A row a measurement. Those that an experiment makes itself come before the others."""
        trials = {chapter.name: chapter.trials for chapter in self.chapters}
        claims = [claim for chapter in self.chapters for claim in chapter.results.claims]
        rows = []
        for erratum in self.report.errata:
            measured = [claim for claim in claims if claim.erratum == erratum.number]
            tried = trials.get(erratum.experiment, ())
            measured += [Claim("", k, *test(tried)) for k, test in erratum.tests.items()]
            about = [f"{erratum.number}: {erratum.said}", erratum.objection]
            for each in measured or [NOT_DECIDED]:
                rows.append([*about, each.said, each.ours, each.verdict])
                about = ["", ""]
        columns = ["the seed says", "but", "what is tested", "our measurement", "verdict"]
        note = (
            "Where the seeds seem wrong, contradict themselves or each other, and the measurement "
            "that decides it. The verdict is on what is tested."
        )
        return Table("errata", "Errata of the seeds", columns, rows, note)


NOT_DECIDED = Claim("", "", "no experiment that decides it was run", "not run")


def read(report: Report, folder: Path, only: Sequence[str] = ()) -> Contents:
    """What the records of experiments come to, each in the folder of its name.

    only: names of experiments, if not all.
    """
    shown = [each for each in report.experiments if each.name in only or not only]
    return Contents(report, [read_chapter(each, folder / each.name) for each in shown])


def read_chapter(experiment: Experiment, folder: Path) -> Chapter:
    """What the sweep in a folder has come to so far. Never an exception: see `Chapter.failed`."""
    chapter = Chapter(experiment.name, experiment.title, "Not run.")
    if not (folder / "sweep.json").exists():
        return chapter
    try:
        sweep, trials = folders.read_sweep(folder), folders.read_trials(folder)
        return chapter._replace(
            protocol=folders.protocol(sweep, trials),
            scale=sweep["scale"],
            trials=trials,
            results=experiment.results(trials) if trials or not sweep["trials"] else Results(),
        )
    except Exception as error:  # whatever is wrong here, the other experiments are to be shown
        text = f"No results: {type(error).__name__}: {error}"
        return chapter._replace(protocol=text, failed=True)


def plain(text: str) -> str:
    """A text of results without the marks of **bold**."""
    return text.replace("**", "")


def unbroken(text: str) -> str:
    """A text in which a mean and its ± stand on one line."""
    return plain(text).replace(" ± ", "\u00a0±\u00a0")
