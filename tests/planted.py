"""Records written by hand: for each trial what its curves come down to is known."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.train import records
from experiments.train.records import Record, TrialRecord
from experiments.train.training import Trial, in_json


def line(step: int, loss: float | None = 2.0, accuracy: float = 0.1, **others: Any) -> Record:
    """A line of metrics, the same for both sets."""
    same = {f"{part}_{k}": v for part in ("train", "val") for k, v in
            (("loss", loss), ("accuracy", accuracy))}  # fmt: skip
    return {"step": step, **same, "norm": 1.0, **others}


def record(lines: list[Record], name: str = "trial", **settings: Any) -> TrialRecord:
    """A finished trial with the seeds' settings, but for these."""
    return TrialRecord(
        Path(name), in_json(asdict(Trial(**settings))), lines, {"finished": True}
    )  # fmt: skip


def write(folder: Path, lines: list[Record], *, finished: bool = True, **settings: Any) -> None:
    """The same as a folder."""
    trial = Trial(**settings)
    folder.mkdir(parents=True)
    records.write_json(folder / "settings.json", {"version": 1, **in_json(asdict(trial))})
    records.rewrite(folder / "metrics.jsonl", lines)
    status = {"step": lines[-1]["step"], "steps": trial.steps, "seconds": 1.0, "diverged": False}
    records.write_json(folder / "status.json", status | {"finished": finished})


def learnt(val_loss: float, val_accuracy: float, end: int = 10_001) -> list[Record]:
    """Curves that fit the training set and end with these values."""
    last = {"train_loss": 1e-4, "train_accuracy": 1.0, "val_loss": val_loss,
            "val_accuracy": val_accuracy}  # fmt: skip
    return [line(0), line(end // 2), line(end - 1), line(end, **last)]
