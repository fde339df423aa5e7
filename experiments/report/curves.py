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


def curves_of(
    trials: Sequence[TrialRecord], groups: Sequence[Group], shown: Sequence[str] = ()
) -> dict[str, Any]:
    """What page.js draws, of trials of one kind or several.

    shown:      the numbers in the records that it offers, if not all.
    quantities: pairs of a name in the records and its label.
    panels:     names of those that are drawn side by side: the first that were recorded.
    runs:       of each trial name, group, what is varied in words, colours, dash, and `values`: a
                list for each quantity and for "step".
    """
    recorded = dict.fromkeys(k for t in trials for k in t.records[0] if k != "step")
    quantities = [*(shown or recorded)]
    apart = {*NOT_VARIED, *(group.setting for group in groups)}
    names = dict.fromkeys(name for t in trials for name in t.settings if name not in apart)
    varied = [
        name
        for name in names
        if len({frozen(t.settings[name]) for t in trials if name in t.settings}) > 1
    ]

    def setting(trial: TrialRecord) -> tuple[Any, ...]:
        """What is varied; () where a kind of trial lacks it, which comes before all values."""
        given = (trial.settings.get(name, ()) for name in varied)
        return tuple(() if value == () else (frozen(value),) for value in given)

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
    """Such as "layers 2, d 128"; each value in a tuple, or () where there is none."""
    texts = [
        (name, "+".join(map(str, v)) if isinstance(v, tuple) else str(v))
        for name, given in zip(names, values, strict=True)
        for v in given
    ]
    return ", ".join(map(" ".join, texts))


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
