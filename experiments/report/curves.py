"""The curves of all runs of an experiment as numbers, which the page draws.

The colour of a curve shows the settings that the experiment varies, except groups and seed; dashes
show the group, such as the model. If nothing else is varied, colours show the group too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex

from experiments.results.trials import Group, by_group
from experiments.train.records import Record, TrialRecord

MOST = 600  # evaluated steps drawn of a run, evenly chosen
RANGES = ((0.0, 0.85), (0.25, 1.0))  # of viridis: colours visible on a light, on a dark background
ALL = Group("", "", "all runs", "#0072B2", "#56B4E9")  # if there are no groups
PANELS = 4  # quantities drawn side by side
NOT_VARIED = ("seed", "steps", "version", "share_prefixes")


def curves_of(
    trials: Sequence[TrialRecord], groups: Sequence[Group], shown: Sequence[str] = ()
) -> dict[str, Any]:
    """The data for page.js, of trials of one kind or several.

    shown:      the names in the records to include; () for all.
    quantities: pairs of a name in the records and its label.
    panels:     the names drawn side by side: the first in the records.
    runs:       for each trial its name, group, varied settings as text, colours, dash, and
                `values`: a list for each quantity and for "step".
    """
    recorded = dict.fromkeys(k for t in trials for k in t.records[0] if k != "step")
    quantities = [*(shown or recorded)]
    excluded = {*NOT_VARIED, *(group.setting for group in groups)}
    names = dict.fromkeys(name for t in trials for name in t.settings if name not in excluded)
    varied = [
        name
        for name in names
        if len({frozen(t.settings[name]) for t in trials if name in t.settings}) > 1
    ]

    def setting(trial: TrialRecord) -> tuple[Any, ...]:
        """Each varied setting as a tuple of one; () if there is none, which sorts first."""
        values = (trial.settings.get(name, ()) for name in varied)
        return tuple(() if value in ((), None) else (frozen(value),) for value in values)

    settings = sorted({setting(trial) for trial in trials})
    runs = [
        {
            "name": trial.folder.name,
            "group": group.label,
            "setting": in_words(varied, setting(trial)),
            "colors": colors(group, settings.index(setting(trial)), len(settings)),
            "dash": group.dash,
            "values": {
                name: [rounded(record.get(name)) for record in thin(trial.records)]
                for name in ("step", *quantities)
            },
        }
        for group, of_group in (by_group(trials, groups) or {ALL: trials}).items()
        for trial in sorted(of_group, key=lambda t: (setting(t), t.settings["seed"]))
    ]
    labels = [[name, label(name)] for name in quantities]
    return {"quantities": labels, "panels": quantities[:PANELS], "runs": runs}


def frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def in_words(names: Sequence[str], values: Sequence[Any]) -> str:
    """Settings as text, such as "layers 2, d 128". A value is a tuple of one, or () if not set."""
    texts = [
        (name, "+".join(map(str, v)) if isinstance(v, tuple) else str(v))
        for name, optional in zip(names, values, strict=True)
        for v in optional
    ]
    return ", ".join(map(" ".join, texts))


def colors(group: Group, i: int, n: int) -> list[str]:
    """The colours of setting i of n on a light and on a dark background."""
    if n == 1:
        return [group.color, group.lighter]
    place = i / (n - 1)
    return [to_hex(mpl.colormaps["viridis"](low + place * (high - low))) for low, high in RANGES]


def thin(records: Sequence[Record]) -> Sequence[Record]:
    """At most `MOST` of the records, evenly chosen, with the last."""
    if len(records) <= MOST:
        return records
    step = (len(records) - 1) / (MOST - 1)
    return [records[round(i * step)] for i in range(MOST)]


def rounded(value: float | None) -> float | None:
    """A value with five digits, more than a screen can show; integers (steps) are unchanged."""
    return value if value is None or isinstance(value, int) else float(f"{value:.5g}")


def label(name: str) -> str:
    """The label of a quantity, such as "binary validation loss" for binary_val_loss."""
    if name == "norm":
        return "norm of parameters"
    words = {"val": "validation", "train": "training"}
    return " ".join(words.get(word, word) for word in name.split("_"))
