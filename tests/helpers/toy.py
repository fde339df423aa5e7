"""An experiment that knows nothing of the others: fit a line. It is also a program to be killed.

python tests/helpers/toy.py --launcher processes --out FOLDER
"""

import sys
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

import minigrad as mg
from experiments.report.report import Report
from experiments.results.claims import Claim
from experiments.results.results import Drawing, Results, Table
from experiments.sweep import experiment
from experiments.sweep.experiment import Experiment, main
from experiments.train import loop, records
from experiments.train.loop import Watcher
from experiments.train.task import Task
from experiments.train.trial import Trial
from minigrad import nn
from minigrad.files import read_file


# --- what is trained ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Line(Trial):
    """y = slope x + 1 and noise."""

    steps: int = 96
    lr: float = 0.05
    slope: float = 3.0

    def task(self, device):
        return LineTask(self, device)


class LineTask(Task):
    """Of 64 points 48 are shown, and 16 measure what was learnt."""

    def __init__(self, trial, device):
        super().__init__(trial, device)
        rng = np.random.default_rng(trial.seed)
        x, noise = rng.uniform(-1, 1, (2, 64, 1))
        y = trial.slope * x + 1 + noise / 10
        self.x, self.y = (mg.tensor(a.astype(np.float32), device=device) for a in (x, y))
        self.size = 48
        self.model = nn.Linear(1, 1).to(device)

    def loss(self, rows):
        errors = mg.square(self.model(self.x[rows]) - self.y[rows])
        return errors.mean(), (errors.sum(), len(rows))

    def measure(self):
        errors = mg.square(self.model(self.x[48:]) - self.y[48:])
        return {"val_loss": errors.mean().item(), "weight": self.model.weight.item()}


# --- a second stage -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Level(Line):
    """From a line that was learnt another level, with the slope frozen."""

    def task(self, device):
        return LevelTask(self, device)

    def after(self):
        return f"line-{self.slope:g}-seed{self.seed}"


class LevelTask(LineTask):
    def __init__(self, trial, device):
        super().__init__(trial, device)
        self.y = self.y + 5.0
        self.model.weight.requires_grad_(False)


# --- the experiment -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Options(experiment.Options):
    """Lines, and what is learnt after them."""

    slopes: tuple[float, ...] = (1.0, 3.0)
    """Slopes of the lines."""

    def trials(self):
        steps = self.steps or self.pick(96, 12)
        pairs = [(slope, seed) for seed in self.seeds for slope in self.slopes]
        return {
            f"{name}-{slope:g}-seed{seed}": kind(slope=slope, seed=seed, steps=steps)
            for name, kind in (("line", Line), ("level", Level))
            for slope, seed in pairs
        }

    @contextmanager
    def how(self):
        """With a checkpoint fifty times a second, in each process."""
        before, loop.CHECKPOINT_SECONDS = loop.CHECKPOINT_SECONDS, 0.02
        try:
            with super().how():
                yield
        finally:
            loop.CHECKPOINT_SECONDS = before


def results(trials):
    from matplotlib.figure import Figure

    rows = [[t.folder.name, f"{t.records[-1]['val_loss']:.3g}"] for t in trials]
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    for trial in trials:
        axes.plot([r["step"] for r in trial.records], [r["val_loss"] for r in trial.records])
    learnt = [abs(t.records[-1]["weight"] - t.settings["slope"]) < 0.2 for t in trials]
    ours = f"{sum(learnt)} of {len(learnt)} slopes within 0.2"
    return Results(
        tables=[Table("last", "Last losses", ["trial", "validation loss"], rows)],
        drawings=[Drawing("losses", "Validation loss against the step", figure)],
        claims=[Claim("1", "Lines are learnt", ours, "agrees" if all(learnt) else "differs")],
    )


EXPERIMENT = Experiment("line", "Lines", Options, results)
REPORT = Report("lines", "Lines", "What is learnt after them.", Options, [EXPERIMENT])


# --- what tests ask of it -------------------------------------------------------------------------
class StopAt(Watcher):
    """Stops a trial after a step, as Ctrl-C would."""

    def __init__(self, at):
        self.at, self.now = at, 0

    def step(self, step):
        self.now = step

    def stop(self):
        return self.now == self.at


def left(folder):
    """What must be the same however often a trial was interrupted: metrics and the checkpoint.

    The library that writes checkpoints gives the keys of their metadata no order.
    """
    arrays, metadata = read_file(folder / records.CHECKPOINT, checked=True)
    values = {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()}
    return (folder / "metrics.jsonl").read_bytes(), values, metadata


if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
