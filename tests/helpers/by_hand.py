"""Records of trials, written by hand."""

from pathlib import Path

from experiments.grokking.task import Grokking
from experiments.train import records
from experiments.train.records import TrialRecord


def line(step, loss=2.0, accuracy=0.1, **others):
    """A line of metrics, the same for both sets."""
    same = {f"{part}_{k}": v for part in ("train", "val") for k, v in
            (("loss", loss), ("accuracy", accuracy))}  # fmt: skip
    return {"step": step, **same, "norm": 1.0, **others}


def learnt(val_loss, val_accuracy, end=10_001):
    """Curves that fit the training set and end with these values."""
    last = {"train_loss": 1e-4, "train_accuracy": 1.0, "val_loss": val_loss,
            "val_accuracy": val_accuracy}  # fmt: skip
    return [line(0), line(end // 2), line(end - 1), line(end, **last)]


def record(lines, name="trial", **settings):
    """A finished trial with the settings of seeds 000 and 001, but for these."""
    return TrialRecord(Path(name), Grokking(**settings).settings(), lines, {"finished": True})


def write(folder, lines, *, finished=True, **settings):
    """The same as a folder."""
    trial = Grokking(**settings)
    write_trial(folder, trial.settings(), lines, steps=trial.steps, finished=finished)


def write_trial(folder, settings, lines, **status):
    """A trial with these settings and lines of metrics, finished after the last of them."""
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / "settings.json", {"version": records.VERSION, **settings})
    records.rewrite(folder / "metrics.jsonl", lines)
    last = lines[-1]["step"]
    whole = {"step": last, "steps": last, "finished": True, "diverged": False, "seconds": 1.0}
    records.write_json(folder / "status.json", whole | status)
    return records.read_trial(folder)
