"""One page over all reports: what each found, with links into its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from experiments.report.page import rendered
from experiments.report.report import VERDICTS, Contents, Report
from experiments.results.claims import Verdict
from experiments.sweep.folder import SMALL_SCALE
from minigrad.files import write_file

TITLE = "Five seeds, run again"
ABOUT = (
    "A seed is a report on experiments with language models, which others have written. Here its "
    "experiments are run again on an autograd engine written from scratch. Our numbers stand "
    "beside those of the seed, with a verdict on each of its claims and what decides its errata."
)


class Shown(NamedTuple):
    """A report with what its records have come to."""

    contents: Contents

    @property
    def report(self) -> Report:
        return self.contents.report

    @property
    def errata(self) -> dict[str, int]:
        """How many measurements of errata have each verdict that any has."""
        counts = Counter(row[-1] for row in self.contents.errata().rows)
        return {verdict: counts[verdict] for verdict in get_args(Verdict) if counts[verdict]}


def write(contents: Sequence[Contents], path: Path) -> Path:
    """Write the page, which expects report.html of each in a folder of its name beside it."""
    shown = [Shown(each) for each in contents]
    html = rendered(
        "overview.html", title=TITLE, about=ABOUT, shown=shown, small=SMALL_SCALE, note=VERDICTS
    )
    write_file(path, html.encode())
    return path
