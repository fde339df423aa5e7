"""One page over all reports: a story in a dozen sentences, then what each report found.

Like the page of a report it needs nothing else; only its links lead to those pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from experiments.report.page import rendered
from experiments.report.report import VERDICTS, Chapter, Contents, Report
from experiments.results.claims import Claim, Verdict
from experiments.results.results import Drawing
from experiments.sweep.folder import SCALES
from minigrad.files import write_file

TITLE = "Five seeds, run again"
ABOUT = (
    "A seed is a report on experiments in deep learning, which others have written. Here its "
    "experiments are run again on an autograd engine written from scratch. Our numbers stand "
    "beside those of the seed, with a verdict on each of its claims and what decides its errata."
)


NOT_RUN = Claim("", "", "", "not run")


class Shown(NamedTuple):
    """A report with what its records have come to, and the folder of its page."""

    contents: Contents
    folder: str

    @property
    def report(self) -> Report:
        return self.contents.report

    @property
    def page(self) -> str:
        return f"{self.folder}/report.html"

    @property
    def chapters(self) -> dict[str, Chapter]:
        return {chapter.name: chapter for chapter in self.contents.chapters}

    @property
    def story(self) -> list[tuple[str, str, Claim]]:
        """Sentences of what the seed says, where each is decided, and how."""
        told = []
        for text, experiment, said in self.report.story:
            chapter = self.chapters.get(experiment)
            claims = chapter.results.claims if chapter else ()
            claim = next((claim for claim in claims if claim.said == said), NOT_RUN)
            place = experiment if claim is NOT_RUN else f"{experiment}-claims"
            told.append((text, f"{self.page}#{place}", claim))
        return told

    @property
    def figure(self) -> Drawing | None:
        experiment, name = self.report.figure
        chapter = self.chapters.get(experiment)
        drawings = chapter.results.drawings if chapter else ()
        return next((drawing for drawing in drawings if drawing.name == name), None)

    @property
    def notes(self) -> list[str]:
        """What is to be said of the scales of its trials."""
        scales = {chapter.scale for chapter in self.contents.chapters}
        return [text for scale, text in SCALES.items() if text and scale in scales]

    @property
    def errata(self) -> dict[str, int]:
        """How many measurements of errata have each verdict that any has."""
        counts = Counter(row[-1] for row in self.contents.errata().rows)
        return {verdict: counts[verdict] for verdict in get_args(Verdict) if counts[verdict]}


def write(contents: Mapping[str, Contents], path: Path) -> Path:
    """Write the page, which expects report.html of each in its folder beside it."""
    shown = [Shown(each, folder) for folder, each in contents.items()]
    html = rendered("overview.html", title=TITLE, about=ABOUT, shown=shown, note=VERDICTS)
    write_file(path, html.encode())
    return path
