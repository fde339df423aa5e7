"""The sanity check of seeds 000 and 001 (questions 4.1, 4.2 and 4.8): LSTM against GPT.

    python -m experiments.sanity --quick           # half a minute: shows that everything works
    python -m experiments.sanity --device cuda     # the whole experiment
    python -m experiments.sanity --replicas --seeds 0 1 2 3 --device cuda   # all seeds at once
    python -m experiments.sanity --resume          # go on after Ctrl-C, or make figures again

Both models learn a + b mod 31 from half of all sums, with two seeds each. The output folder
receives one folder a trial (see `experiments.records`), the curves of question 4.1 (sanity.png,
sanity.pdf), the table of 4.2 beside the numbers of both seed documents (table.md, table.json), and
the attention maps of 4.8 (attention_*.png).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from experiments import cli, records
from experiments.runner import Job, TrialFailed, caught_signals, run_all
from experiments.table import write_tables
from experiments.training import Interrupted, Trial, check_folder, in_json
from minigrad import device as devices
from minigrad import use_kernels
from minigrad.files import CheckpointError

PROG = "python -m experiments.sanity"
QUICK_STEPS = 50


@dataclass(frozen=True)
class Settings:
    """What the command line can change. Everything else is as in the seeds: `training.Trial`."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda, or cuda:N; auto takes the GPU if there is one."""
    steps: int = 10_001
    """Training steps of each trial, rounded up to whole epochs."""
    seeds: tuple[int, ...] = (0, 42)
    """One trial of each model a seed: of the split, the weights and the order of the data."""
    model: Literal["both", "lstm", "gpt"] = "both"
    """Which models to train."""
    quick: bool = False
    """At most 50 steps, into runs/sanity-quick: a check that everything works, not a result."""
    resume: bool = False
    """Go on with the trials in the output folder; finished ones are not run again."""
    out: Path | None = None
    """Output folder; runs/sanity if not given."""
    workers: int = 1
    """Trials at a time, each in a process of its own; with --replicas, models at a time."""
    replicas: bool = False
    """Train all seeds of a model as one, for a GPU: there all take little longer than one. On a
    CPU they lose what share_prefixes saves. Changes rounding alone."""
    kernels: bool = True
    """Compiled kernels, where they can be used; changes rounding alone."""
    share_prefixes: bool = True
    """Compute what sequences have in common at their beginning once; changes rounding alone."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(
                f"--device: expected auto, cpu, cuda or cuda:N, got {self.device!r:.40}"
            )
        for name in ("steps", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}: expected at least 1, got {getattr(self, name)}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("--seeds: expected one or more different numbers")
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise ValueError(f"--seeds: expected 0 <= seed < 2**32, got {seed}")

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / ("sanity-quick" if self.quick else "sanity")

    def trials(self) -> list[tuple[Trial, Path]]:
        """Every trial and its folder."""
        models: tuple[Literal["lstm", "gpt"], ...] = ("lstm", "gpt")
        trials = [
            Trial(
                model=model,
                seed=seed,
                steps=min(self.steps, QUICK_STEPS) if self.quick else self.steps,
                eval_first=10 if self.quick else Trial.eval_first,
                eval_period=10 if self.quick else Trial.eval_period,
                share_prefixes=self.share_prefixes,
            )
            for seed in self.seeds
            for model in models
            if self.model in ("both", model)
        ]
        return [(t, self.folder / records.slug(f"{t.model}-seed{t.seed}")) for t in trials]

    def jobs(self) -> list[Job]:
        """What is run at a time: a trial, or with replicas all seeds of a model."""
        trials = self.trials()
        if not self.replicas:
            return [[each] for each in trials]
        models = dict.fromkeys(trial.model for trial, _ in trials)
        return [[each for each in trials if each[0].model == model] for model in models]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0; 1 if a trial failed; 2 for a mistake in the command; 130 after Ctrl-C, 143 after SIGTERM.
    """
    settings = cli.parse(Settings, args, prog=PROG, description=__doc__)
    try:
        device = devices.parse(device_of(settings))
        prepare(settings)
    except (devices.DeviceError, ValueError, OSError) as error:
        cli.fail(PROG, error)
    with caught_signals() as signals, use_kernels(wanted_kernels(settings)):
        try:
            run_all(settings.jobs(), signals, device=device, workers=settings.workers)
        except Interrupted:
            print(f"{PROG}: stopped and saved; go on with --resume", file=sys.stderr)
            return 128 + (signals.received or 0)
        except (TrialFailed, CheckpointError, OSError) as error:
            cli.fail(PROG, error, status=1)
    report(settings.folder)
    return 0


def device_of(settings: Settings) -> str:
    if settings.device == "auto":
        return "cuda" if devices.available() else "cpu"
    return settings.device


def wanted_kernels(settings: Settings) -> bool:
    """Whether to use kernels. Where they are wanted and cannot be had, one line says why."""
    if not settings.kernels:
        return False
    try:
        with use_kernels():
            return True
    except ImportError as error:
        print(f"{PROG}: running without kernels: {error}", file=sys.stderr)
        return False


def prepare(settings: Settings) -> None:
    """Make the output folder. ValueError if it holds trials and --resume was not given."""
    folder = settings.folder
    if not settings.resume and any(folder.glob("*/settings.json")):
        raise ValueError(f"{folder} holds trials: go on with --resume, or choose another --out")
    if settings.resume and not (folder / "settings.json").exists():
        raise ValueError(f"{folder} holds nothing to resume")
    for trial, trial_folder in settings.trials():
        check_folder(trial_folder, trial)
    values = in_json(asdict(settings) | {"out": None})  # where it lies is no part of it
    if settings.resume:
        before = records.read_json(folder / "settings.json")
        for name in ("model", "seeds", "quick"):
            if before[name] != values[name]:
                raise ValueError(
                    f"{folder} was made with {name}={before[name]}: resume it with that"
                )
    records.fit_for_writing(folder)
    records.write_json(folder / "settings.json", values)


def report(folder: Path) -> None:
    """Tables and figures from the trials in a folder, and nothing else."""
    from experiments.figures import write_figures  # matplotlib takes a second to import

    write_tables(folder)
    for path in [folder / "table.md", *write_figures(folder)]:
        print(path)


if __name__ == "__main__":
    sys.exit(main())
