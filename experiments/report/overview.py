"""One page over all reports: what each found, with links into its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from experiments.report.page import rendered
from experiments.report.report import VERDICTS, Contents, Report
from experiments.results.claims import Verdict
from experiments.sweep.folder import SCALES
from minigrad.files import write_file

TITLE = "Five seeds, run again"
ABOUT = (
    "A seed is a report on experiments in deep learning, which others have written. Here its "
    "experiments are run again on an autograd engine written from scratch. Our numbers stand "
    "beside those of the seed, with a verdict on each of its claims and what decides its errata."
)


class Shown(NamedTuple):
    """A report with what its records have come to, and the folder of its page."""

    contents: Contents
    folder: str

    @property
    def report(self) -> Report:
        return self.contents.report

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
