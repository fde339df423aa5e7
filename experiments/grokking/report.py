"""All experiments of seeds 000 and 001, then one page and one PDF with everything they gave.

    python -m experiments.grokking.report --scale small   # minutes: shows that everything works
    python -m experiments.grokking.report --device cuda   # everything, as in the seeds
    python -m experiments.grokking.report --resume        # go on after Ctrl-C
    python -m experiments.grokking.report --only sanity data_size
    python -m experiments.grokking.report --read FOLDER   # run nothing, show what is there

Each experiment writes into a folder of its own in the output folder, as its own command would.
report.html needs nothing else: open it in a browser, also without a network. report.pdf has the
same tables and figures for print. What was not run, or not to the end, is named in both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args

from experiments.grokking import options
from experiments.sweep import cli, launch
from experiments.sweep import folder as folders
from experiments.sweep.experiment import Experiment
from experiments.train.trial import Trial

PROG = "python -m experiments.grokking.report"
Name = Literal[
    "sanity", "data_size", "operations", "model_size", "compute", "regularization", "attention_maps"
]
NAMES: tuple[Name, ...] = get_args(Name)  # in the order of the seeds' questions, 4.1 to 4.8


@dataclass(frozen=True)
class Options(options.Options):
    """What holds for all experiments; what is not given is as each of them has it."""

    only: tuple[Name, ...] = NAMES
    """Which experiments to run and to show."""
    read: Path | None = None
    """Run nothing: make page and PDF from the folders of experiments in this one. They are written
    there too, if --out is not given."""

    def trials(self) -> dict[str, Trial]:
        return {
            f"{experiment.name}/{name}": trial
            for experiment in self.experiments()
            for name, trial in self.of(experiment).trials().items()
        }

    def experiments(self) -> list[Experiment]:
        """Those to run, in the order of the seeds."""
        return [experiment_of(name) for name in NAMES if name in self.only]

    def of(self, experiment: Experiment) -> options.Options:
        """The options of one experiment: those given here, and its own defaults for the rest."""
        values = {f: getattr(self, f.name) for f in fields(options.Options)}
        given = {f.name: value for f, value in values.items() if value != f.default}
        folder = self.folder / experiment.name
        begun = (folder / "sweep.json").exists()
        try:
            return experiment.options(**given | {"out": folder, "resume": self.resume and begun})
        except ValueError as error:
            raise ValueError(f"{experiment.name}: {error}") from None

    @property
    def folder(self) -> Path:
        small = "-small" if self.scale == "small" else ""
        return self.out or self.read or Path("runs") / f"grokking_report{small}"


def experiment_of(name: Name) -> Experiment:
    return import_module(f"experiments.grokking.{name}").EXPERIMENT


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0; 1 if an experiment failed, the others are in the report all the same; 2 for a mistake in the
    command; 130 after Ctrl-C, 143 after SIGTERM.
    """
    asked = cli.parse(Options, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG):
        check_extra()
        if asked.read is not None:
            check_readable(asked.read)
            return write(asked, asked.read)
        device = launch.device_of(asked)
        launch.set_up(asked, asked.folder)
        check(asked)
    failed = run(asked, device)
    if failed >= 128:
        print(f"{PROG}: stopped; go on with --resume", file=sys.stderr)
        return failed
    return max(failed, write(asked, asked.folder))


def check_extra() -> None:
    """ImportError before hours of training, and not after them."""
    try:
        import fpdf  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'minigrad[report]'") from None


def check_readable(folder: Path) -> None:
    if not any(folder.glob("*/sweep.json")):
        raise ValueError(f"--read: {folder} holds no folder of an experiment")


def check(asked: Options) -> None:
    """ValueError, with nothing written, if a folder holds something else than what is to run."""
    folder = asked.folder
    if not asked.resume and any((folder / name / "sweep.json").exists() for name in asked.only):
        raise ValueError(f"{folder} holds trials: go on with --resume, or choose another --out")
    for experiment in asked.experiments():
        folders.check(experiment, asked.of(experiment), folder / experiment.name)


def run(asked: Options, device: str) -> int:
    """Run every experiment and write its results: 0, 1 if any failed, from 128 on if stopped."""
    failed = 0
    for experiment in asked.experiments():
        print(f"{PROG}: {experiment.name}", file=sys.stderr)
        of_this, folder = asked.of(experiment), asked.folder / experiment.name
        try:
            status = launch.run(experiment, of_this, folder, device)
            if status == 0:
                folders.report(experiment, folder)
        except SystemExit as stop:  # it has said why, and the others can run
            status = int(stop.code or 0)
        except Exception as error:  # its trials are kept, and the others can run
            print(f"{PROG}: {experiment.name}: {type(error).__name__}: {error}", file=sys.stderr)
            status = 1
        if status >= 128:
            return status
        failed = max(failed, status)
    return failed


def write(asked: Options, folder: Path) -> int:
    """Write the page and the PDF of the experiments in a folder: 0, or 1 if one has no results."""
    from experiments.report import content, page, pdf  # matplotlib takes a second to import

    report = content.read_report(asked.experiments(), folder)
    asked.folder.mkdir(parents=True, exist_ok=True)
    for path in (
        page.write(report, asked.folder / "report.html"),
        pdf.write(report, asked.folder / "report.pdf"),
    ):
        print(path)
    failed = [chapter for chapter in report.chapters if chapter.failed]
    for chapter in failed:
        print(f"{PROG}: {chapter.name}: {chapter.protocol}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
