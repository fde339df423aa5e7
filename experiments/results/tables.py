"""Numbers as people read them, and the table that all sweeps share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.results.groups import LABELS, by_model, column, finished
from experiments.results.metrics import NAMES, Spread
from experiments.results.results import Table
from experiments.train.records import TrialRecord


def cell(name: str, value: Spread | None, bold: bool = False) -> str:
    """A number with its spread: losses with three digits, accuracies with four, steps whole."""
    if value is None:
        return ""
    mean, std = value
    if name.startswith("L_"):
        text = f"{mean:.3g}" + ("" if std is None else f" ± {std:.2g}")
    elif name.startswith("A_"):
        text = f"{mean:.4f}" + ("" if std is None else f" ± {std:.4f}")
    else:
        text = f"{mean:,.0f}" + ("" if std is None else f" ± {std:,.0f}")
    return f"**{text}**" if bold else text


def label(name: str) -> str:
    """A name of metrics.NAMES for people, with the direction that is better."""
    arrow = "↑" if name.startswith("A_") else "↓"
    return name.replace("dt(", "Δt(") + f" {arrow}"


def best_table(
    name: str, trials: Sequence[TrialRecord], varied: Mapping[str, str], *, note: str = ""
) -> Table:
    """Every number of `metrics.NAMES` for each model and setting, mean ± std over seeds.

    varied: the settings that tell rows apart, with the heads of their columns.
    """
    groups: dict[tuple[Any, ...], list[TrialRecord]] = {}
    for model, of_model in by_model(finished(trials)).items():
        key = lambda t: tuple(t.settings[k] for k in varied)
        for trial in sorted(of_model, key=key):
            groups.setdefault((model, *key(trial)), []).append(trial)
    rows, data = [], []
    for (model, *values), group in groups.items():
        found = column(group)
        seeds = sorted(t.settings["seed"] for t in group)
        shown = [f"{value:g}" for value in values]
        rows.append([
            LABELS[model], *shown, ", ".join(map(str, seeds)),
            *(cell(each, found[each]) for each in NAMES),
        ])  # fmt: skip
        data.append(
            {"model": model, **dict(zip(varied, values, strict=True)), "seeds": seeds}
            | {each: value and value._asdict() for each, value in found.items()}
        )
    about = (
        "Mean ± population standard deviation over the seeds, of trials that ran to their end. "
        "L: least loss, A: greatest accuracy among evaluated steps, t_f: the first evaluated step "
        "that has it, Δt: t_f(val) - t_f(train)."
    )
    return Table(
        name,
        "Best values, and when they were reached",
        ["model", *varied.values(), "seeds", *map(label, NAMES)],
        rows,
        note=f"{about} {note}".strip(),
        data={"rows": data},
    )
