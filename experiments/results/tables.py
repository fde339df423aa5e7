"""Tables of mean ± standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from experiments.results.curves import Quantity, Spread
from experiments.results.results import Table
from experiments.results.trials import Chosen, Group, Trials, by_group, finished


def cell(quantity: Quantity, value: Spread | None) -> str:
    """A number with its spread, in the formats of the quantity; "" if it is not known."""
    if value is None:
        return ""
    mean, std = quantity.formats
    return f"{value.mean:{mean}}" + ("" if value.std is None else f" ± {value.std:{std}}")


def cells_of(
    quantities: Sequence[Quantity], trials: Trials
) -> tuple[list[str], list[dict[str, Any] | None]]:
    """The cells of quantities over trials, and their numbers; None for one that is not known."""
    spreads = [quantity.over(trials) for quantity in quantities]
    cells = [cell(q, s) for q, s in zip(quantities, spreads, strict=True)]
    return cells, [s and s._asdict() for s in spreads]


def kinds_table(
    name: str,
    title: str,
    trials: Trials,
    kinds: Iterable[Chosen],
    quantities: Sequence[Quantity],
    *,
    head: str = "model",
    note: str = "",
) -> Table:
    """Quantities of each kind of trials, a row each, mean ± std over them; "" where none ran."""
    rows, data = [], {}
    for kind in kinds:
        cells, numbers = cells_of(quantities, kind.of(trials))
        rows.append([kind.label, *cells])
        data[kind.label] = {q.name: n for q, n in zip(quantities, numbers, strict=True)}
    return Table(name, title, [head, *(q.label for q in quantities)], rows, note, data)


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
    """Quantities of finished trials for each group and setting, mean ± std over seeds.

    varied: setting -> head of its column; each combination of their values is a row.
    """
    rows, data = [], []
    setting = lambda trial: [trial.settings[name] for name in varied]
    for group, of_group in by_group(finished(trials), groups).items():
        for values, same in groupby(sorted(of_group, key=setting), key=setting):
            alike = list(same)
            cells, numbers = cells_of(quantities, alike)
            seeds = sorted(t.settings["seed"] for t in alike)
            shown = [f"{value:g}" for value in values]
            rows.append([group.label, *shown, ", ".join(map(str, seeds)), *cells])
            settings = {group.setting: group.value, **dict(zip(varied, values, strict=True))}
            named = {q.name: n for q, n in zip(quantities, numbers, strict=True)}
            data.append({**settings, "seeds": seeds, **named})
    heads = [groups[0].setting, *varied.values(), "seeds", *(q.label for q in quantities)]
    return Table(name, title, heads, rows, note, {"rows": data})
