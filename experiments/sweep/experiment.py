"""An experiment, from the command line to its results.

    EXPERIMENT = Experiment("data_size", "Scaling data size", Options, results)

    if __name__ == "__main__":
        sys.exit(main(EXPERIMENT, description=__doc__))

An experiment says which trials it consists of (`Options.trials`) and what its results are, a
function of their records. All else is the same for all experiments.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.results.results import Results
from experiments.sweep import cli, folder, launch
from experiments.train.records import TrialRecord
from experiments.train.trial import Trial
from minigrad import use_kernels

Launcher = Literal["here", "processes", "ray"]


@dataclass(frozen=True)
class Options:
    """What the command line of every experiment can change; its trials follow from it."""

    scale: Literal["full", "small"] = "full"
    """full: the experiment. small: fewer and smaller trials of few steps, which show in minutes
    that everything works, and say nothing about the models."""
    seeds: tuple[int, ...] = (0, 42)
    """One trial of each setting a seed: of the split, the weights and the order of the data."""
    steps: int | None = None
    """Training steps of each trial, if not as many as the scale says; rounded up to epochs."""
    device: str = "auto"
    """Where to compute: cpu, cuda or cuda:N; auto takes the GPU if there is one."""
    out: Path | None = None
    """Output folder; runs/ and the words after "experiments" in the command if not given, such as
    runs/grokking/data_size; at small scale runs/grokking-small/data_size."""
    resume: bool = False
    """Go on with the trials in the output folder; finished ones are not run again."""
    launcher: Launcher = "here"
    """Where trials run: one after the other in this process, in processes of their own, or on a
    Ray cluster (extra "ray")."""
    workers: int = 2
    """Trials at a time, in processes or on Ray."""
    address: str | None = None
    """Of the Ray cluster, such as auto or HOST:PORT; one on this machine only if not given."""
    gpus: float = 0.0
    """GPUs of each trial on Ray, such as 0.25."""
    replicas: bool = False
    """Train trials of equal shape as one model, for a GPU: there all take little longer than one.
    Changes only rounding."""
    kernels: bool = True
    """Compiled kernels, where they can be used; changes only rounding."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            device = f"{self.device!r:.40}"
            raise ValueError(f"--device: expected auto, cpu, cuda or cuda:N, got {device}")
        for name, least in (("steps", 1), ("workers", 1), ("gpus", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name}: expected at least {least}, got {value}")
        check_different("seeds", self.seeds)
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise ValueError(f"--seeds: expected 0 <= seed < 2**32, got {seed}")
        if self.launcher != "ray" and (self.address or self.gpus):
            raise ValueError("--address and --gpus are for --launcher ray")
        if self.launcher == "ray" and self.device not in ("auto", "cuda" if self.gpus else "cpu"):
            raise ValueError(
                f"--device: on Ray expected cuda with --gpus, such as 0.25, or cpu without, got "
                f"{self.device} and --gpus {self.gpus:g}"
            )
        before: set[Path] = set()
        for name, trial in self.trials().items():  # impossible settings fail here, at once
            first = trial.after()
            if first is not None and Path(name).parent / first not in before:
                raise ValueError(f"{name}: comes after {first}, which is no earlier trial")
            before.add(Path(name))

    # --- what an experiment adds
    def trials(self) -> dict[str, Trial]:
        """Every trial by the name of its folder, the most telling first."""
        raise NotImplementedError

    def check(self) -> None:
        """ValueError, before anything takes time, if what the trials need is not there."""

    @contextmanager
    def how(self) -> Iterator[None]:
        """How trials are computed, which no setting of theirs says; entered in each process."""
        with use_kernels(self.kernels):
            yield

    def pick(self, full: Any, small: Any) -> Any:
        """The value for the scale."""
        return small if self.scale == "small" else full

    @property
    def mark(self) -> str:
        """Of the scale, in names of folders."""
        return "" if self.scale == "full" else f"-{self.scale}"


def check_different(name: str, values: Sequence[float], at_least: float = -math.inf) -> None:
    """ValueError unless an option is a list of numbers with none twice, and none too small."""
    if not values or len(set(values)) != len(values) or min(values) < at_least:
        least = "" if at_least == -math.inf else f" of at least {at_least:g}"
        got = ", ".join(f"{value:g}" for value in values) or "none"
        raise ValueError(f"--{name}: expected one or more different numbers{least}, got {got}")


def last(trial: TrialRecord) -> dict[str, Any]:
    """The last record of a trial."""
    return {name: value for name, value in trial.records[-1].items() if name != "step"}


class Experiment(NamedTuple):
    """An experiment: what to run, and how to make results of its records."""

    name: str  # of its folder
    title: str
    options: type[Options]
    results: Callable[[Sequence[TrialRecord]], Results]  # of trials, which may be only begun
    numbers: Callable[[TrialRecord], dict[str, Any]] = last  # of one, for its line in trials.jsonl

    @property
    def module(self) -> str:
        """That of the command as it was given, or as it would be."""
        spec = sys.modules["__main__"].__spec__
        given = spec is not None and spec.name.endswith(f".{self.name}")
        return spec.name if given and spec else self.options.__module__

    @property
    def prog(self) -> str:
        return f"python -m {self.module}"

    def folder(self, options: Options) -> Path:
        """Where its report looks for it, too."""
        first, *rest = [*self.module.split(".")[1:-1], self.name]
        return options.out or Path("runs", f"{first}{options.mark}", *rest)


def main(experiment: Experiment, args: Sequence[str] | None = None, *, description: str) -> int:
    """Run the command of an experiment and return its exit status.

    0; 1 if a trial failed or records are damaged; 2 for a mistake in the command; 130 after Ctrl-C,
    143 after SIGTERM.
    """
    prog = experiment.prog
    options = cli.parse(experiment.options, args, prog=prog, description=description)
    path = experiment.folder(options)
    with cli.one_line(prog):
        device = launch.device_of(options)
        launch.set_up(options, path)
        folder.check(experiment, options, path)
    status = launch.run(experiment, options, path, device)
    if status == 0:
        with cli.one_line(prog):
            for written in folder.report(experiment, path):
                print(written)
    return status
