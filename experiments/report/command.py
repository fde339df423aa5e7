"""The command of a report: run its experiments, then write a page and a PDF of all they gave.

Each experiment writes into its subfolder of the output folder, as its command would.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from experiments.report.report import Report, read
from experiments.sweep import cli, experiment, launch
from experiments.sweep import folder as folders
from experiments.sweep.experiment import Experiment
from experiments.train.trial import Trial


@dataclass(frozen=True)
class Options(experiment.Options):
    """What holds for all experiments; what is not given is as each of them has it."""

    report: ClassVar[Report]

    only: tuple[str, ...] = ()
    """Which experiments to run and to show, if not all."""
    read: Path | None = None
    """Run nothing: make page and PDF from the folders of experiments in this one. They are written
    there too, if --out is not given."""

    def trials(self) -> dict[str, Trial]:
        return {
            f"{each.name}/{name}": trial
            for each in self.experiments()
            for name, trial in self.of(each).trials().items()
        }

    def experiments(self) -> list[Experiment]:
        """Those to run, in the order of the report. ValueError for a name that it has not."""
        names = [each.name for each in self.report.experiments]
        if unknown := [name for name in self.only if name not in names]:
            raise ValueError(f"--only: expected some of {', '.join(names)}, got {unknown[0]!r:.40}")
        return [each for each in self.report.experiments if each.name in (self.only or names)]

    def of(self, each: Experiment) -> experiment.Options:
        """The options of one experiment: those given here, if it has them, and its defaults."""
        values = {f: getattr(self, f.name) for f in fields(self.report.options)}
        taken = {f.name for f in fields(each.options)}
        given = {f.name: v for f, v in values.items() if v != f.default and f.name in taken}
        folder = self.folder / each.name
        begun = (folder / "sweep.json").exists()
        try:
            return each.options(**given | {"out": folder, "resume": self.resume and begun})
        except ValueError as error:
            raise ValueError(f"{each.name}: {error}") from None

    def check(self) -> None:
        for each in self.experiments():
            self.of(each).check()

    @property
    def folder(self) -> Path:
        return self.out or self.read or Path("runs") / f"{self.report.name}{self.mark}"


def main(report: Report, args: Sequence[str] | None = None, *, description: str) -> int:
    """Run the command and return its exit status.

    0; 1 if an experiment failed, the others are in the report all the same; 2 for a mistake in the
    command; 130 after Ctrl-C, 143 after SIGTERM.
    """
    prog = report.prog
    content = {"report": report, "__doc__": Options.__doc__}
    kind = dataclass(frozen=True)(type("Options", (Options, report.options), content))
    options = cli.parse(kind, args, prog=prog, description=description)
    with cli.one_line(prog):
        check_extra()
        if options.read is not None:
            if not any(options.read.glob("*/sweep.json")):
                raise ValueError(f"--read: {options.read} holds no folder of an experiment")
            return write(options, options.read)
        device = launch.device_of(options)
        launch.set_up(options, options.folder)
        check(options)
    status = run(options, device)
    if status >= 128:
        print(f"{prog}: stopped; go on with --resume", file=sys.stderr)
        return status
    return max(status, write(options, options.folder))


def check_extra() -> None:
    """ImportError before hours of training, and not after them."""
    try:
        import fpdf  # noqa: F401
        import jinja2  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'minigrad[report]'") from None


def check(options: Options) -> None:
    """ValueError, with nothing written, if a folder holds something else than what is to run."""
    folder, experiments = options.folder, options.experiments()
    begun = any((folder / each.name / "sweep.json").exists() for each in experiments)
    if begun and not options.resume:
        raise ValueError(f"{folder} holds trials: go on with --resume, or choose another --out")
    for each in experiments:
        folders.check(each, options.of(each), folder / each.name)


def run(options: Options, device: str) -> int:
    """Run every experiment and write its results: 0, 1 if any failed, from 128 on if stopped."""
    failed, prog = 0, options.report.prog
    for each in options.experiments():
        print(f"{prog}: {each.name}", file=sys.stderr)
        folder = options.folder / each.name
        try:
            status = launch.run(each, options.of(each), folder, device)
            if status == 0:
                folders.report(each, folder)
        except SystemExit as stop:  # it printed why, and the others can run
            status = int(stop.code or 0)
        except Exception as error:  # its trials are kept, and the others can run
            print(f"{prog}: {each.name}: {type(error).__name__}: {error}", file=sys.stderr)
            status = 1
        if status >= 128:
            return status
        failed = max(failed, status)
    return failed


def write(options: Options, folder: Path) -> int:
    """Write the page and the PDF of the experiments in a folder: 0, or 1 if one has no results."""
    from experiments.report import page, pdf  # matplotlib takes a second to import

    contents = read(options.report, folder, options.only)
    options.folder.mkdir(parents=True, exist_ok=True)
    print(page.write(contents, options.folder / "report.html"))
    print(pdf.write(contents, options.folder / "report.pdf"))
    failed = [chapter for chapter in contents.chapters if chapter.failed]
    for chapter in failed:
        print(f"{options.report.prog}: {chapter.name}: {chapter.protocol}", file=sys.stderr)
    return 1 if failed else 0
