"""Numbers as people read them: mean ± standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.results.curves import Quantity, Spread
from experiments.results.results import Table
from experiments.results.trials import Group, Trials, by_group, finished


def cell(quantity: Quantity, value: Spread | None) -> str:
    """A number with its spread, in the formats of the quantity; "" if it is not known."""
    if value is None:
        return ""
    mean, std = quantity.formats
    return f"{value.mean:{mean}}" + ("" if value.std is None else f" ± {value.std:{std}}")


def spread_table(
    name: str,
    title: str,
    trials: Trials,
    groups: Sequence[Group],
    varied: Mapping[str, str],
    quantities: Sequence[Quantity],
    *,
    note: str = "",
) -> Table:
    """Every quantity for each group and setting, mean ± std over seeds, of finished trials.

    varied: the settings that tell rows apart, with the heads of their columns.
    """
    rows, data = [], []
    for group, of_group in by_group(finished(trials), groups).items():
        at: dict[tuple[Any, ...], Trials] = {}
        for trial in sorted(of_group, key=lambda t: [t.settings[k] for k in varied]):
            at.setdefault(tuple(trial.settings[k] for k in varied), []).append(trial)
        for values, alike in at.items():
            spreads = {quantity: quantity.over(alike) for quantity in quantities}
            seeds = sorted(t.settings["seed"] for t in alike)
            shown = [f"{value:g}" for value in values]
            cells = [cell(quantity, value) for quantity, value in spreads.items()]
            rows.append([group.label, *shown, ", ".join(map(str, seeds)), *cells])
            data.append(
                {group.setting: group.value, **dict(zip(varied, values, strict=True))}
                | {"seeds": seeds}
                | {quantity.name: s and s._asdict() for quantity, s in spreads.items()}
            )
    heads = [groups[0].setting, *varied.values(), "seeds", *(q.label for q in quantities)]
    return Table(name, title, heads, rows, note, {"rows": data})
