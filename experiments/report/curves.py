"""Every run of an experiment as numbers, for the page to draw.

A curve is coloured by what its experiment varies, apart from groups and seed; dashes tell groups
apart, such as models. Where nothing else is varied, colours tell them apart too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex

from experiments.results.trials import Group, by_group
from experiments.train.records import Record, TrialRecord

MOST = 600  # evaluated steps of a run that are drawn; of more they are chosen evenly
RANGES = ((0.0, 0.85), (0.25, 1.0))  # of viridis, without the end that is lost on light, dark paper
ALL = Group("", "", "all runs", "#0072B2", "#56B4E9")  # where there are no groups
PANELS = 4  # quantities that are drawn side by side
NOT_VARIED = ("seed", "steps", "version", "share_prefixes")


def curves_of(trials: Sequence[TrialRecord], groups: Sequence[Group]) -> dict[str, Any]:
    """What page.js draws.

    quantities: pairs of a name in the records and its label.
    panels:     names of those that are drawn side by side: the first that were recorded.
    runs:       of each trial name, group, what is varied in words, colours, dash, and `values`: a
                list for each quantity and for "step".
    """
    quantities = list(dict.fromkeys(k for t in trials for k in t.records[0] if k != "step"))
    apart = {*NOT_VARIED, *(group.setting for group in groups)}
    first = trials[0].settings
    varied = [k for k in first if k not in apart and any(t.settings[k] != first[k] for t in trials)]

    def setting(trial: TrialRecord) -> tuple[Any, ...]:
        values = (trial.settings[name] for name in varied)
        return tuple(tuple(v) if isinstance(v, list) else v for v in values)

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


def in_words(names: Sequence[str], values: Sequence[Any]) -> str:
    """Such as "layers 2, d 128"."""
    texts = ["+".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values]
    return ", ".join(map(" ".join, zip(names, texts, strict=True)))


def colors(group: Group, i: int, n: int) -> list[str]:
    """The colour of setting i of n on light and on dark paper."""
    if n == 1:
        return [group.color, group.lighter]
    place = i / (n - 1)
    return [to_hex(mpl.colormaps["viridis"](low + place * (high - low))) for low, high in RANGES]


def thin(records: Sequence[Record]) -> Sequence[Record]:
    """At most `MOST` of the records, evenly chosen, the last among them."""
    if len(records) <= MOST:
        return records
    step = (len(records) - 1) / (MOST - 1)
    return [records[round(i * step)] for i in range(MOST)]


def rounded(value: float | None) -> float | None:
    """Five digits, more than a screen can show; steps are whole and stay so."""
    return value if value is None or isinstance(value, int) else float(f"{value:.5g}")


def label(name: str) -> str:
    """Such as "binary validation loss" for binary_val_loss."""
    if name == "norm":
        return "norm of parameters"
    words = {"val": "validation", "train": "training"}
    return " ".join(words.get(word, word) for word in name.split("_"))
