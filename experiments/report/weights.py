"""The GPT whose attention the page shows: found among the trials, and packed for gpt.js."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.grokking.task import Grokking, load_model, parameters_of
from experiments.report.content import Chapter
from experiments.train import records
from experiments.train.records import CHECKPOINT, TrialRecord

MOST = 500_000  # numbers of a model that goes into a page: 2 MB


def choose(chapters: Sequence[Chapter]) -> TrialRecord | None:
    """Of the GPTs that have a checkpoint and are small enough, the one that generalizes best.

    Of equals the first in the order of the report.
    """
    found = [trial for chapter in chapters for trial in chapter.trials if fits(trial)]
    return max(found, key=lambda trial: trial.records[-1]["val_accuracy"] or 0.0, default=None)


def fits(trial: TrialRecord) -> bool:
    if trial.settings["model"] != "gpt" or not (trial.folder / CHECKPOINT).exists():
        return False
    return parameters_of(Grokking.of(trial.settings), embeddings=True) <= MOST


def pack(folder: Path) -> tuple[dict[str, Any], bytes]:
    """What gpt.js computes with: a description in JSON, and all numbers as float32 in a row.

    The description has the vocabulary, the sizes, and for each tensor by name where it begins and
    its shape. The table of positions is among them, so that the page has the very same.
    """
    trial, model, words = load_model(folder)
    tensors = {**model.state_dict(), "positions.table": model.positions.table.numpy()}
    parts, places, at = [], {}, 0
    for name, tensor in tensors.items():
        numbers = np.ascontiguousarray(tensor, dtype="<f4")
        places[name] = {"at": at, "shape": list(numbers.shape)}
        parts.append(numbers.tobytes())
        at += numbers.size
    described = {
        "words": list(words),
        "operator": trial.operator,
        "p": trial.p,
        "layers": trial.layers,
        "heads": trial.heads,
        "length": len(tensors["positions.table"]),
        "step": records.read_json(folder / "status.json")["step"],
        "seed": trial.seed,
        "tensors": places,
    }
    return described, b"".join(parts)
