"""One page over all reports, from the records of their experiments. Runs nothing.

    python -m experiments.report --read runs    # runs/index.html, and the page of each report
    python -m experiments.report --read runs --only wikitext speeches

FOLDER/NAME has the experiments of report NAME, as the commands of the reports leave them; or, if it
has none, FOLDER/NAME-reduced or FOLDER/NAME-small.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.attention.report import REPORT as ATTENTION
from experiments.grokking.report import REPORT as GROKKING
from experiments.report.command import check_extra
from experiments.report.report import read
from experiments.speeches.report import REPORT as SPEECHES
from experiments.sweep import cli
from experiments.wikitext.report import REPORT as WIKITEXT

PROG = "python -m experiments.report"
REPORTS = {each.name: each for each in (GROKKING, WIKITEXT, SPEECHES, ATTENTION)}


@dataclass(frozen=True)
class Options:
    """What to show."""

    read: Path
    """Folder with a folder for each report."""
    only: tuple[str, ...] = ()
    """Which reports, if not all that have records there."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.only if name not in REPORTS]:
            expected = ", ".join(REPORTS)
            raise ValueError(f"--only: expected some of {expected}, got {unknown[0]!r:.40}")


def main(args: Sequence[str] | None = None) -> int:
    """Write index.html, and page and PDF of each report; 1 if an experiment has no results."""
    options = cli.parse(Options, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG):
        check_extra()
        folders = {name: folder_of(name, options.read) for name in options.only or REPORTS}
        found = {folder: REPORTS[name] for name, folder in folders.items() if folder}
        if not found:
            raise ValueError(f"--read: {options.read} holds no folder of a report")
    from experiments.report import overview, page, pdf  # matplotlib takes a second to import

    contents = {name: read(report, options.read / name) for name, report in found.items()}
    for name, each in contents.items():
        print(page.write(each, options.read / name / "report.html"))
        print(pdf.write(each, options.read / name / "report.pdf"))
    print(overview.write(contents, options.read / "index.html"))
    return int(any(chapter.failed for each in contents.values() for chapter in each.chapters))


def folder_of(name: str, place: Path) -> str | None:
    """The folder of a report that has records, of its largest scale; None if there is none."""
    scales = (name, f"{name}-reduced", f"{name}-small")
    return next((each for each in scales if any(place.glob(f"{each}/*/sweep.json"))), None)


if __name__ == "__main__":
    sys.exit(main())
