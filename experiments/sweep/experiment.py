"""A sweep: the trials of one experiment, from the command line to the results.

    EXPERIMENT = Experiment("data_size", "Scaling data size", Options, results)

    if __name__ == "__main__":
        sys.exit(main(EXPERIMENT, description=__doc__))

An experiment says which trials it consists of (`Options.trials`) and what its results are, a
function of their records. All else is the same for all: where and how they run, that finished ones
are skipped and broken ones go on, what is shown meanwhile, and the folder that is left:

    sweep.json      the experiment, its scale, and the settings of every trial
    NAME/           one folder a trial (see `experiments.train.records`)
    trials.jsonl    a line a trial: settings, steps, and the experiment's numbers
    results.md, results.json, *.png, *.pdf

DuckDB and polars read trials.jsonl and */metrics.jsonl as they are.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.results.results import Results, write_results
from experiments.sweep import cli, on_ray
from experiments.sweep.estimate import seconds_of
from experiments.sweep.here import Launcher, run_all
from experiments.sweep.jobs import Job, TrialFailed, caught_signals
from experiments.train import records
from experiments.train.records import VERSION, TrialRecord
from experiments.train.together import MAY_DIFFER
from experiments.train.training import Interrupted, Trial, TrialRun, check_folder, in_json, trial_of
from minigrad import device as devices
from minigrad import use_kernels
from minigrad.files import CheckpointError

SMALL: dict[str, Any] = {"d": 32, "eval_first": 20, "eval_period": 20}  # the seeds': 128, 100, 100
SMALL_STEPS = 201
SMALL_SAID = "SMALL SCALE: shows that everything works, says nothing about models."
ModelName = Literal["lstm", "gpt"]


@dataclass(frozen=True)
class Options:
    """What the command line of every experiment can change; its trials follow from them."""

    scale: Literal["full", "small"] = "full"
    """full: the seeds' protocol. small: fewer and smaller trials of few steps, which show in
    minutes that everything works, and say nothing about the models."""
    model: Literal["both", "lstm", "gpt"] = "both"
    """Which models to train."""
    seeds: tuple[int, ...] = (0, 42)
    """One trial of each setting a seed: of the split, the weights and the order of the data."""
    steps: int | None = None
    """Training steps of each trial, if not as many as the scale says; rounded up to epochs."""
    device: str = "auto"
    """Where to compute: cpu, cuda or cuda:N; auto takes the GPU if there is one."""
    out: Path | None = None
    """Output folder; runs/NAME if not given, with -small after it at that scale."""
    resume: bool = False
    """Go on with the trials in the output folder; finished ones are not run again."""
    launcher: Launcher = "here"
    """Where trials run: one after the other in this process, in processes of their own, or on a
    Ray cluster (extra "ray")."""
    workers: int = 2
    """Trials at a time, in processes or on Ray."""
    address: str | None = None
    """Of the Ray cluster, such as auto or HOST:PORT; one on this machine alone if not given."""
    gpus: float = 0.0
    """GPUs of each trial on Ray, such as 0.25."""
    replicas: bool = False
    """Train trials of equal shape as one model, for a GPU: there all take little longer than one.
    On a CPU they lose what share_prefixes saves. Changes rounding alone."""
    kernels: bool = True
    """Compiled kernels, where they can be used; changes rounding alone."""
    share_prefixes: bool = True
    """Compute what sequences have in common at their beginning once; changes rounding alone."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(
                f"--device: expected auto, cpu, cuda or cuda:N, got {self.device!r:.40}"
            )
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
        self.trials()  # impossible settings are found before anything is written

    # --- for the trials of an experiment
    def trials(self) -> dict[str, Trial]:
        """Every trial by the name of its folder, the most telling first."""
        raise NotImplementedError

    @property
    def models(self) -> tuple[ModelName, ...]:
        return ("lstm", "gpt") if self.model == "both" else (self.model,)

    def pick(self, full: Any, small: Any) -> Any:
        """The value for the scale."""
        return full if self.scale == "full" else small

    def trial(self, *, steps: int = Trial.steps, **settings: Any) -> Trial:
        """A trial with the seeds' settings, but for these and those of the scale."""
        steps = self.steps or self.pick(steps, SMALL_STEPS)
        return Trial(
            **{**self.pick({}, SMALL), **settings, "steps": steps},
            share_prefixes=self.share_prefixes,
        )


def check_different(name: str, values: Sequence[float], at_least: float = -math.inf) -> None:
    """ValueError unless an option is a list of numbers with none twice, and none too small."""
    if not values or len(set(values)) != len(values) or min(values) < at_least:
        least = "" if at_least == -math.inf else f" of at least {at_least:g}"
        got = ", ".join(f"{value:g}" for value in values) or "none"
        raise ValueError(f"--{name}: expected one or more different numbers{least}, got {got}")


class Experiment(NamedTuple):
    """An experiment: what to run, and what comes of it.

    name:    of its module and folder.
    results: of the records of its trials, at least one, which need not be all or be finished.
    numbers: of a trial, by name, for trials.jsonl.
    """

    name: str
    title: str
    options: type[Options]
    results: Callable[[Sequence[TrialRecord]], Results]
    numbers: Callable[[TrialRecord], dict[str, Any]] = lambda trial: {}

    @property
    def prog(self) -> str:
        folder = "" if self.name == "sanity" else "grokking."
        return f"python -m experiments.{folder}{self.name}"

    def folder(self, options: Options) -> Path:
        small = "-small" if options.scale == "small" else ""
        return options.out or Path("runs") / f"{self.name}{small}"


def main(experiment: Experiment, args: Sequence[str] | None = None, *, description: str) -> int:
    """Run the command of an experiment and return its exit status.

    0; 1 if a trial failed; 2 for a mistake in the command; 130 after Ctrl-C, 143 after SIGTERM.
    """
    prog = experiment.prog
    options = cli.parse(experiment.options, args, prog=prog, description=description)
    try:
        device = device_of(options)
        set_up(options, experiment.folder(options))
        folder = prepare(experiment, options)
    except (devices.DeviceError, ValueError, OSError) as error:
        cli.fail(prog, error)
    status = run(experiment, options, folder, device)
    if status == 0:
        for path in report(experiment, folder):
            print(path)
    return status


def set_up(options: Options, folder: Path) -> None:
    """What a launcher needs. ValueError, in one line, before any trial is written below a folder.

    OSError if the folder cannot be made.
    """
    if options.launcher == "ray":
        on_ray.connect(options.address)
        records.fit_for_writing(folder)
        on_ray.check_reachable(folder)


def run(experiment: Experiment, options: Options, folder: Path, device: str) -> int:
    """Run what is not finished; the exit status."""
    prog, jobs = experiment.prog, jobs_of(options, folder)
    with caught_signals() as signals, use_kernels(wanted_kernels(options, prog)):
        try:
            seconds = announced(experiment, options, jobs, device)
            run_all(
                jobs, signals, device=device, launcher=options.launcher, workers=options.workers,
                address=options.address, gpus=options.gpus, seconds=seconds,
            )  # fmt: skip
        except Interrupted:
            print(f"{prog}: stopped and saved; go on with --resume", file=sys.stderr)
            return 128 + (signals.received or 0)
        except (TrialFailed, CheckpointError, OSError) as error:
            cli.fail(prog, error, status=1)
    return 0


def announced(
    experiment: Experiment, options: Options, jobs: Sequence[Job], device: str
) -> list[float] | None:
    """Say on stderr what is about to run; the seconds that each job should take, if known."""
    by_job = [[TrialRun(trial, folder) for trial, folder in job] for job in jobs]
    runs = [run for job in by_job for run in job]
    here = device == "cpu" or devices.available()  # else the nodes of a Ray cluster have the GPUs
    seconds = seconds_of(by_job, device) if here else None
    text = f"{experiment.name}, {options.scale} scale: {len(runs)} trials"
    if finished := sum(run.finished for run in runs):
        text += f" ({finished} finished)"
    text += f" of {sum(run.total for run in runs if not run.finished):,} steps in all to go"
    if seconds and sum(seconds) > 0:
        text += f", about {duration(sum(seconds))} on this machine, by a few steps of each kind"
    print(text, file=sys.stderr)
    return seconds


def duration(seconds: float) -> str:
    """Of at least a second, for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def device_of(options: Options) -> str:
    """Where trials compute; on Ray with --gpus the GPU that it gives them, seen there as the first.

    DeviceError if they cannot, as far as this machine knows.
    """
    if options.launcher == "ray":
        return "cuda:0" if options.gpus else "cpu"
    if options.device == "auto":
        return "cuda:0" if devices.available() else "cpu"
    return devices.parse(options.device)


def wanted_kernels(options: Options, prog: str) -> bool:
    """Whether to use kernels. Where they are wanted and cannot be had, one line says why."""
    if not options.kernels:
        return False
    try:
        with use_kernels():
            return True
    except ImportError as error:
        print(f"{prog}: running without kernels: {error}", file=sys.stderr)
        return False


def jobs_of(options: Options, folder: Path) -> list[Job]:
    """What is run at a time: a trial, or with replicas all that can be one stacked model."""
    groups: dict[Any, list[tuple[Trial, Path]]] = {}
    for name, trial in options.trials().items():
        same = tuple(getattr(trial, f.name) for f in fields(Trial) if f.name not in MAY_DIFFER)
        alone = not options.replicas or trial.dropout > 0
        groups.setdefault(name if alone else same, []).append((trial, folder / name))
    return list(groups.values())


# --- the folder of a sweep ------------------------------------------------------------------------
def prepare(experiment: Experiment, options: Options) -> Path:
    """Make the output folder. ValueError, with nothing written, if it holds something else."""
    folder, trials = experiment.folder(options), options.trials()
    path = folder / "sweep.json"
    if options.resume and not path.exists():
        raise ValueError(f"{folder} holds nothing to resume")
    if not options.resume and (path.exists() or any(folder.glob("*/settings.json"))):
        raise ValueError(f"{folder} holds trials: go on with --resume, or choose another --out")
    listed = {name: in_json(asdict(trial)) for name, trial in trials.items()}
    if options.resume:
        before = read_sweep(folder)
        for name, value in (("experiment", experiment.name), ("scale", options.scale)):
            if before[name] != value:
                raise ValueError(f"{folder} holds {name} {before[name]}, not {value}")
        listed = before["trials"] | listed
    for name, trial in trials.items():
        check_folder(folder / name, trial)
    records.fit_for_writing(folder)
    about = {"version": VERSION, "experiment": experiment.name, "scale": options.scale}
    records.write_json(path, about | {"trials": listed})
    return folder


def read_sweep(folder: Path) -> dict[str, Any]:
    """sweep.json. ValueError if it is not one, or of another version."""
    path = folder / "sweep.json"
    found = records.read_json(path)
    records.check_version(path, found)
    missing = {"experiment", "scale", "trials"} - set(found)
    if missing:
        raise ValueError(f"{path}: {', '.join(sorted(missing))} missing")
    return found


# --- results --------------------------------------------------------------------------------------
def report(experiment: Experiment, folder: Path) -> list[Path]:
    """Write the results of the trials in a folder, from their records alone."""
    trials = records.read_trials(folder)
    rows = [row(trial) | experiment.numbers(trial) for trial in trials]
    records.rewrite(folder / "trials.jsonl", rows)
    results = experiment.results(trials)
    title, said = experiment.title, protocol(read_sweep(folder), trials)
    return [folder / "trials.jsonl", *write_results(results, folder, title=title, protocol=said)]


def row(trial: TrialRecord) -> dict[str, Any]:
    """A trial as a line of trials.jsonl, but for its numbers."""
    status = {k: trial.status.get(k) for k in ("step", "finished", "diverged", "seconds")}
    settings = {k: v for k, v in trial.settings.items() if k != "version"}
    return {"name": trial.folder.name, **settings, **status}


def protocol(sweep: dict[str, Any], trials: Sequence[TrialRecord]) -> str:
    """What was run and what was not, in words."""
    listed, last = sweep["trials"], {t.folder.name: t.records[-1]["step"] for t in trials}
    whole = {t.folder.name for t in trials if t.status.get("finished")}
    missing = [name for name in listed if name not in last]
    parts = [name for name in listed if name in last and name not in whole]
    steps = sorted({trial_of(settings).steps for settings in listed.values()})
    lines = [
        f"{len(whole & set(listed))} of {len(listed)} trials, run to the end: "
        f"{' or '.join(f'{n:,}' for n in steps)} steps each."
    ]
    if sweep["scale"] == "small":
        lines.insert(0, f"**{SMALL_SAID}**")
    if parts:
        lines.append("Begun: " + ", ".join(f"{n} ({last[n]:,} steps)" for n in parts) + ".")
    if missing:
        lines.append("Not run: " + ", ".join(missing) + ".")
    return " ".join(lines)
