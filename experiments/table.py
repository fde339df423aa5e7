"""The table of question 4.2: our numbers beside those of seeds 000 and 001, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import records
from experiments.metrics import NAMES, Spread, over_seeds
from experiments.records import TrialRecord
from minigrad.files import write_file

Column = Mapping[str, Spread]  # by the names of metrics.NAMES
MODELS = ("lstm", "gpt")
LABELS = {"lstm": "LSTM", "gpt": "GPT"}
SOURCES = ("ours", "000", "001")


def column(*cells: tuple[float, float | None]) -> dict[str, Spread]:
    return {name: Spread(*cell) for name, cell in zip(NAMES, cells, strict=True)}


# As printed, each in the order of metrics.NAMES. Seed 001 gives no standard deviation of steps.
SEEDS: dict[str, dict[str, Column]] = {
    "000": {  # table 1 of seed 000
        "lstm": column(
            (0.000095, 0.000006), (0.002156, 0.001363), (1.0, 0.0), (1.0, 0.0),
            (10001, 0), (10001, 0), (300, 0), (8100, 500), (0, 0), (7800, 500),
        ),
        "gpt": column(
            (0.000171, 1.394e-06), (0.0036328, 0.00296579), (1.0, 0.0), (0.99896, 0.0010395),
            (8400, 800), (9800, 100), (100, 0), (7700, 1000), (1400, 100), (7600, 1000),
        ),
    },
    "001": {  # table 1 of seed 001
        "lstm": column(
            (1.54e-4, 2.82e-7), (5.01e-3, 4.26e-3), (1.0, 0.0), (0.9979, 0.0021),
            (9600, None), (10000, None), (100, None), (9200, None), (400, None), (9100, None),
        ),
        "gpt": column(
            (9.66e-5, 1.42e-5), (8.88e-4, 2.36e-4), (1.0, 0.0), (1.0, 0.0),
            (10001, None), (10001, None), (300, None), (8900, None), (0, None), (8600, None),
        ),
    },
}  # fmt: skip
SEED_STEPS = 10_001  # of the trials behind these numbers


def our_columns(trials: Sequence[TrialRecord]) -> dict[str, Column]:
    """The column of each model among the trials, over their seeds."""
    found: dict[str, Column] = {}
    for model in MODELS:
        records_of = [t.records for t in trials if t.settings["model"] == model]
        if records_of:
            found[model] = over_seeds(records_of)
    return found


def better(columns: Mapping[str, Column], name: str) -> str:
    """Which model has the better mean: more accuracy, less of everything else; "=" for a tie."""
    if not all(model in columns for model in MODELS):
        return "-"
    lstm, gpt = (columns[model][name].mean for model in MODELS)
    if lstm == gpt:
        return "="
    return "LSTM" if (lstm > gpt) == name.startswith("A_") else "GPT"


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


def table_data(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Every number of the table, for JSON."""
    ours = our_columns(trials)
    columns = {"ours": ours, **SEEDS}
    rows = {
        name: {
            model: {
                source: dict(columns[source][model][name]._asdict())
                for source in SOURCES
                if model in columns[source]
            }
            for model in MODELS
        }
        | {"better": {source: better(columns[source], name) for source in SOURCES}}
        for name in NAMES
    }
    return {
        "comparable": comparable(trials),
        "steps": steps_of(trials),
        "seeds": {
            m: [t.settings["seed"] for t in trials if t.settings["model"] == m] for m in ours
        },
        "rows": rows,
    }


def steps_of(trials: Sequence[TrialRecord]) -> int:
    """The last evaluated step that every trial has."""
    return min(t.records[-1]["step"] for t in trials)


def comparable(trials: Sequence[TrialRecord]) -> bool:
    """Whether the trials ran as long as the seeds'."""
    return steps_of(trials) >= SEED_STEPS


def warning(trials: Sequence[TrialRecord]) -> str | None:
    """What to print over a table or figure of a run that is shorter than the seeds'."""
    if comparable(trials):
        return None
    return (
        f"SHORT RUN, {steps_of(trials):,} of {SEED_STEPS:,} steps: shows that everything works, "
        f"says nothing about the models"
    )


def markdown(trials: Sequence[TrialRecord]) -> str:
    """The table as Markdown, and what it says about the labels of seed 001."""
    ours = our_columns(trials)
    columns: dict[str, Mapping[str, Column]] = {"ours": ours, **SEEDS}
    head = ["", *(f"{LABELS[m]} {s}" for m in MODELS for s in SOURCES), "better, in each"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in NAMES:
        cells = [label(name)]
        for model in MODELS:
            for source in SOURCES:
                value = columns[source].get(model, {}).get(name)
                best = better(columns[source], name) == LABELS[model]
                cells.append(cell(name, value, bold=best and source == "ours"))
        cells.append(" / ".join(better(columns[source], name) for source in SOURCES))
        lines.append("| " + " | ".join(cells) + " |")
    seeds = sorted({t.settings["seed"] for t in trials})
    parts = [
        "# Sanity check: our numbers beside seeds 000 and 001",
        *([f"**{text}.**"] if (text := warning(trials)) else []),
        f"Mean ± population standard deviation over the seeds {', '.join(map(str, seeds))}. "
        f"L: least loss, A: greatest accuracy among evaluated steps, t_f: the first evaluated step "
        f"that has it, Δt: t_f(val) - t_f(train). ↓ less is better, ↑ more is better; the better "
        f"of our two models in bold. The last column names the better model by our numbers, by "
        f"seed 000 and by seed 001.",
        "\n".join(lines),
        *(labels_of_001(ours) if comparable(trials) else []),
    ]
    return "\n\n".join(parts) + "\n"


def labels_of_001(ours: Mapping[str, Column]) -> list[str]:
    """Whether our trials have the sides of the rows that tell LSTM from GPT as 001 prints them."""
    telling = ("t_f(A_train)", "t_f(L_train)", "L_train")  # where 000 and 001 are farthest apart
    if not all(model in ours for model in MODELS):
        return []
    answers = {
        source: sum(better(ours, name) == better(SEEDS[source], name) for name in telling)
        for source in SEEDS
    }
    said = "; ".join(
        f"{label(n)[:-2]}: LSTM {cell(n, ours['lstm'][n])}, GPT {cell(n, ours['gpt'][n])}"
        for n in telling
    )
    return [
        f"Seeds 000 and 001 contradict each other on which model fits the training set first and "
        f"which lowest, as if the columns of 001 were swapped. Our trials agree with the order of "
        f"000 in {answers['000']} and of 001 in {answers['001']} of these {len(telling)} rows "
        f"({said})."
    ]


def write_tables(folder: Path) -> None:
    """Write table.md and table.json beside the trials in a folder, from their records alone."""
    trials = records.read_trials(folder)
    write_file(folder / "table.md", markdown(trials).encode())
    records.write_json(folder / "table.json", table_data(trials))
