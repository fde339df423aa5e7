"""A toy report: two steps of two tiny models, an experiment that breaks, and one that is absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.grokking import live
from experiments.grokking.options import Options
from experiments.grokking.seeds import MODELS
from experiments.grokking.task import Grokking
from experiments.report.report import Erratum, Report
from experiments.results.claims import Claim, Finding
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.sweep import launch
from experiments.sweep.experiment import Experiment
from experiments.train.records import TrialRecord

EVIL = "<script>alert(1)</script> & **bold**"


@dataclass(frozen=True)
class Toy(Options):
    """Two steps of two tiny models."""

    def trials(self) -> dict[str, Grokking]:
        sizes = {"p": 5, "d": 8, "layers": 2, "heads": 4, "steps": 2}
        return {
            f"{model}-seed{seed}": Grokking(model=model, seed=seed, **sizes)
            for seed in self.seeds
            for model in self.models
        }


def toy_results(trials: Sequence[TrialRecord]) -> Results:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [1, 0])
    steps = [[trial.folder.name, str(trial.records[-1]["step"])] for trial in trials]
    return Results(
        tables=[Table("steps", "Steps of toys", ["trial", EVIL], steps, "A note on steps")],
        drawings=[Drawing("toy", "A line that falls, " + EVIL, figure, live=True)],
        claims=[
            Claim("000, 4.1", "Toys learn", f"{len(trials)} did", "agrees"),
            Claim("001, 4.3 (d)", "Noise decides", "it does", "undecided", erratum="001.4"),
        ],
        answer=Answer(f"{len(trials)} toys learn {EVIL}", "steps"),
        groups=MODELS,
    )


def broken_results(trials: Sequence[TrialRecord]) -> Results:
    raise KeyError("no such setting")


TOY = Experiment("sanity", "A toy <of> its own", Toy, toy_results)
BROKEN = Experiment("data_size", "A broken one", Toy, broken_results)
ABSENT = Experiment("operations", "An absent one", Toy, toy_results)
ERRATA = (
    Erratum("000.1", "Toys cannot learn", "They can", {"Of all toys": lambda _: Finding()}),
    Erratum("001.4", "Noise decides nothing", "It does"),
    Erratum("001.5", "Toys are wood", "Some are"),
)
ABOUT = f"All about toys {EVIL}"
REPORT = Report("toys", "Toys", ABOUT, Options, (TOY, BROKEN, ABSENT), ERRATA, [live.SECTION])


def make(folder: Path) -> Path:
    """Run the toy and the broken one in a folder."""
    for experiment in (TOY, BROKEN):
        out = folder / experiment.name
        options = Toy(out=out, seeds=(0,), kernels=False)
        assert launch.run(experiment, options, out, "cpu") == 0
    return folder
