"""What a curve comes down to: its best value, when it was reached, and the spread over seeds.

Seeds 000 and 001 (IFT6135 W2025, assignment 2), Problem 4: for one trial

    L = min over evaluated steps of the loss           A = max of the accuracy
    t_f(L), t_f(A) = the first evaluated step at which the curve equals that best value exactly
    Δt(L) = t_f(L_val) - t_f(L_train)                  Δt(A) likewise

and over trials that differ by their seed alone, the mean and the population standard deviation
(ddof = 0) of these numbers (`experiments.results.groups.over_seeds`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from experiments.train.records import Record

# The rows of the seeds' table 4.2, in the order of seed 000.
NAMES = (
    "L_train", "L_val", "A_train", "A_val",
    "t_f(L_train)", "t_f(L_val)", "t_f(A_train)", "t_f(A_val)",
    "dt(L)", "dt(A)",
)  # fmt: skip


class Spread(NamedTuple):
    """Mean and population standard deviation; std is None where it is not known."""

    mean: float
    std: float | None


def best(records: Sequence[Record], key: str, cutoff: int | None = None) -> tuple[float, int]:
    """(best value, first evaluated step that has it): the least loss, the greatest accuracy.

    key:    a name in the records that ends in "loss" or "accuracy".
    cutoff: look at evaluated steps <= cutoff only.
    ValueError if no step is left. A loss that is None, for one that was not a number, never wins.
    """
    sign = {"loss": 1.0, "accuracy": -1.0}[key.rsplit("_", 1)[1]]
    found = [
        (sign * r[key], r["step"])
        for r in records
        if r[key] is not None and (cutoff is None or r["step"] <= cutoff)
    ]
    if not found:
        raise ValueError(f"{key}: no evaluated step" + f" up to {cutoff}" * (cutoff is not None))
    value, step = min(found)  # among equal values the earliest step
    return sign * value, step


def first_step(records: Sequence[Record], key: str, at_least: float) -> int | None:
    """The first evaluated step at which a value is `at_least` that much; None if there is none."""
    return next((r["step"] for r in records if (r[key] or 0.0) >= at_least), None)


def summarize(records: Sequence[Record], cutoff: int | None = None) -> dict[str, float]:
    """The ten numbers of `NAMES` for one trial."""
    loss = {part: best(records, f"{part}_loss", cutoff) for part in ("train", "val")}
    accuracy = {part: best(records, f"{part}_accuracy", cutoff) for part in ("train", "val")}
    values = (
        loss["train"][0], loss["val"][0], accuracy["train"][0], accuracy["val"][0],
        loss["train"][1], loss["val"][1], accuracy["train"][1], accuracy["val"][1],
        loss["val"][1] - loss["train"][1], accuracy["val"][1] - accuracy["train"][1],
    )  # fmt: skip
    return dict(zip(NAMES, values, strict=True))


def spread(values: Sequence[float]) -> Spread:
    """Mean and population standard deviation (ddof = 0); of one value no deviation is known."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Spread(mean, None)
    return Spread(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)))
