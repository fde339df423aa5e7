"""The folder of a sweep: its settings, its trials and its results.

    sweep.json      the experiment, its scale, and the settings of every trial
    NAME/           one folder a trial (see `experiments.train.records`)
    trials.jsonl    a line a trial: settings, steps, and the numbers of the experiment
    results.md, results.json, *.png, *.pdf

DuckDB and polars read trials.jsonl and */metrics.jsonl as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.results.results import write_results
from experiments.train import records
from experiments.train.loop import ended
from experiments.train.records import VERSION, RecordError, TrialRecord

if TYPE_CHECKING:
    from experiments.sweep.experiment import Experiment, Options

SMALL_SCALE = "SMALL SCALE: shows that everything works, says nothing about models."
REDUCED_SCALE = "REDUCED SCALE: smaller models and less data than the seed's; for comparisons."
SCALES = {"full": "", "reduced": REDUCED_SCALE, "small": SMALL_SCALE}  # what is said of each


def check(experiment: Experiment, options: Options, folder: Path) -> None:
    """ValueError if a folder holds another sweep than the one to be run in it.

    RecordError if what it holds is damaged, OSError if it cannot be a folder. Writes nothing.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{folder}: {there} is no folder")
    begun = (folder / "sweep.json").exists()
    if options.resume and not begun:
        raise ValueError(f"{folder} holds nothing to resume")
    if not options.resume and (begun or any(folder.glob("*/settings.json"))):
        raise ValueError(f"{folder} holds trials: go on with --resume, or choose another --out")
    if options.resume:
        before = read_sweep(folder)
        for name, value in (("experiment", experiment.name), ("scale", options.scale)):
            if before[name] != value:
                raise ValueError(f"{folder} holds {name} {before[name]}, not {value}")
    for name, trial in options.trials().items():
        ended(trial, folder / name)
        records.check_checkpoint(folder / name)


def prepare(experiment: Experiment, options: Options, folder: Path) -> None:
    """Make the folder, and write down what is to be run. OSError if that cannot be."""
    records.fit_for_writing(folder)
    path = folder / "sweep.json"
    before = read_sweep(folder)["trials"] if path.exists() else {}
    trials = before | {name: trial.settings() for name, trial in options.trials().items()}
    about = {"version": VERSION, "experiment": experiment.name, "scale": options.scale}
    records.write_json(path, about | {"trials": trials})


def read_sweep(folder: Path) -> dict[str, Any]:
    """sweep.json. RecordError if it is damaged, ValueError if of another version."""
    kinds = {"experiment": str, "scale": str, "trials": dict}
    try:
        return records.read_object(folder / "sweep.json", kinds)
    except RecordError as error:
        raise RecordError(f"{error}; put it right, or choose another --out") from None


def read_trials(folder: Path) -> list[TrialRecord]:
    """The trials of a sweep that have recorded a step. RecordError if one is not what is listed."""
    trials, listed = records.read_trials(folder), read_sweep(folder)["trials"]
    for trial in trials:
        for name, wanted in listed.get(trial.folder.name, {}).items():
            value = trial.settings.get(name)
            if name != "steps" and value != wanted:
                text = f"{trial.folder / 'settings.json'}: damaged, {name} is {value}, not {wanted}"
                raise records.damaged(trial.folder, f"{text}, as sweep.json lists")
    return trials


def report(experiment: Experiment, folder: Path) -> list[Path]:
    """Write the results of the trials in a folder, from their records only."""
    sweep, trials = read_sweep(folder), read_trials(folder)
    if sweep["trials"] and not trials:
        raise FileNotFoundError(f"{folder} holds no trial with metrics")
    rows = [row(trial, experiment.numbers(trial)) for trial in trials]
    records.rewrite(folder / "trials.jsonl", rows)
    results, text = experiment.results(trials), protocol(sweep, trials)
    written = write_results(results, folder, title=experiment.title, protocol=text)
    return [folder / "trials.jsonl", *written]


def row(trial: TrialRecord, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """A trial as a line of trials.jsonl."""
    status = {k: trial.status.get(k) for k in ("step", "finished", "diverged", "seconds")}
    settings = {k: v for k, v in trial.settings.items() if k != "version"}
    return {"name": trial.folder.name, **settings, **status, **numbers}


def protocol(sweep: Mapping[str, Any], trials: Sequence[TrialRecord]) -> str:
    """What was run and what was not, in words."""
    if not sweep["trials"]:
        return "Computed when this was written: no training is needed."
    listed, last = sweep["trials"], {t.folder.name: t.records[-1]["step"] for t in trials}
    whole = {t.folder.name for t in trials if t.status.get("finished")}
    begun = [f"{n} ({last[n]:,} steps)" for n in listed if n in last and n not in whole]
    missing = [name for name in listed if name not in last]
    steps = sorted({settings["steps"] for settings in listed.values()})
    scale = SCALES.get(sweep["scale"])
    lines = [f"**{scale}**"] if scale else []
    early = any(t.status.get("stopped") for t in trials)
    lines.append(
        f"{len(whole & set(listed))} of {len(listed)} trials, run to the end: "
        f"{'at most ' if early else ''}{' or '.join(f'{n:,}' for n in steps)} steps each."
    )
    lines += [f"Begun: {', '.join(begun)}."] if begun else []
    lines += [f"Not run: {', '.join(missing)}."] if missing else []
    return " ".join(lines)
