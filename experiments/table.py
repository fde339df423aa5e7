"""The table of question 4.2: our numbers beside those of seeds 000 and 001, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.metrics import NAMES, Spread, over_seeds
from experiments.records import TrialRecord
from experiments.results import Claim, Table
from experiments.seeds import SANITY, SANITY_STEPS, Column

MODELS = ("lstm", "gpt")
LABELS = {"lstm": "LSTM", "gpt": "GPT"}
SOURCES = ("ours", "000", "001")
TELLING = ("t_f(A_train)", "t_f(L_train)", "L_train")  # where 000 and 001 are farthest apart


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
    columns = {"ours": ours, **SANITY}
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
    return steps_of(trials) >= SANITY_STEPS


def warning(trials: Sequence[TrialRecord]) -> str | None:
    """What to print over a table or figure of a run that is shorter than the seeds'."""
    if comparable(trials):
        return None
    return (
        f"SHORT RUN, {steps_of(trials):,} of {SANITY_STEPS:,} steps: shows that everything works, "
        f"says nothing about the models"
    )


def best_table(trials: Sequence[TrialRecord]) -> Table:
    """The table, with the better of our two models in bold."""
    columns: dict[str, Mapping[str, Column]] = {"ours": our_columns(trials), **SANITY}
    rows = []
    for name in NAMES:
        cells = [label(name)]
        for model in MODELS:
            for source in SOURCES:
                value = columns[source].get(model, {}).get(name)
                best = better(columns[source], name) == LABELS[model]
                cells.append(cell(name, value, bold=best and source == "ours"))
        cells.append(" / ".join(better(columns[source], name) for source in SOURCES))
        rows.append(cells)
    seeds = sorted({t.settings["seed"] for t in trials})
    note = (
        f"Mean ± population standard deviation over the seeds {', '.join(map(str, seeds))}. "
        f"L: least loss, A: greatest accuracy among evaluated steps, t_f: the first evaluated step "
        f"that has it, Δt: t_f(val) - t_f(train). ↓ less is better, ↑ more is better; the better "
        f"of our two models in bold. The last column names the better model by our numbers, by "
        f"seed 000 and by seed 001."
    )
    return Table(
        name="best",
        title="Our numbers beside seeds 000 and 001",
        columns=["", *(f"{LABELS[m]} {s}" for m in MODELS for s in SOURCES), "better, in each"],
        rows=rows,
        note=f"**{text}.** {note}" if (text := warning(trials)) else note,
        data=table_data(trials),
    )


def claims(trials: Sequence[TrialRecord]) -> list[Claim]:
    """Which model is first and lowest on the training set: 000 and 001 say the opposite.

    It tells whether the columns of table 1 of 001 are swapped (its erratum 1).
    """
    ours = our_columns(trials)
    said = {
        source: "; ".join(f"{label(n)[:-2]}: {better(SANITY[source], n)}" for n in TELLING)
        for source in SANITY
    }
    if not all(model in ours for model in MODELS):
        text = "one model alone was run"
        return [Claim(f"{s}, 4.2", f"The better: {said[s]}", text, "not run") for s in SANITY]
    text = "; ".join(
        f"{label(n)[:-2]}: LSTM {cell(n, ours['lstm'][n])}, GPT {cell(n, ours['gpt'][n])}"
        for n in TELLING
    )
    found = []
    for source in SANITY:
        same = sum(better(ours, name) == better(SANITY[source], name) for name in TELLING)
        clear = {len(TELLING): "agrees", 0: "differs"}.get(same, "undecided")
        verdict = clear if comparable(trials) else "undecided"
        ours_text = f"{text}: as {source} in {same} of {len(TELLING)} rows"
        source_text = f"{source}, 4.2" + " (erratum 1)" * (source == "001")
        found.append(Claim(source_text, f"The better: {said[source]}", ours_text, verdict))
    return found
