"""Every run of an experiment as numbers, for the page to draw.

A curve is coloured by what its experiment varies, apart from model and seed; the LSTM is solid, the
GPT dashed. Where nothing else is varied, colours tell the models apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex

from experiments.results.figures import COLORS
from experiments.results.groups import LABELS
from experiments.train.records import Record, TrialRecord

MOST = 600  # evaluated steps of a run that are drawn; of more they are chosen evenly
RANGES = ((0.0, 0.85), (0.25, 1.0))  # of viridis, without the end that is lost on light, dark paper
LIGHTER = {"lstm": "#56B4E9", "gpt": "#E69F00"}  # `COLORS` on dark paper, Okabe and Ito too
DASHES = {"lstm": "solid", "gpt": "dash"}
NOT_VARIED = ("model", "seed", "steps", "version", "share_prefixes")


def curves_of(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """What page.js draws.

    quantities: pairs of a name in the records and its label, validation accuracy first.
    runs:       of each trial name, model, what is varied in words, colours, dash, and `values`: a
                list for each quantity and for "step".
    """
    quantities = quantities_of(trials)
    varied = varied_settings(trials)
    groups = sorted({group_of(trial, varied) for trial in trials})
    ordered = sorted(trials, key=lambda t: (list(LABELS).index(t.settings["model"]),
                                            group_of(t, varied), t.settings["seed"]))  # fmt: skip
    runs = []
    for trial in ordered:
        group, model = group_of(trial, varied), trial.settings["model"]
        shown = thin(trial.records)
        runs.append(
            {
                "name": trial.folder.name,
                "model": LABELS[model],
                "setting": in_words(varied, group),
                "colors": colors(model, groups.index(group), len(groups)),
                "dash": DASHES[model],
                "values": {
                    name: [rounded(record.get(name)) for record in shown]
                    for name in ("step", *quantities)
                },
            }
        )
    return {"quantities": [[name, label(name)] for name in quantities], "runs": runs}


def quantities_of(trials: Sequence[TrialRecord]) -> list[str]:
    """What any of the trials has recorded, in the order of the records but for the first."""
    names = [name for trial in trials for name in trial.records[0] if name != "step"]
    return list(dict.fromkeys(["val_accuracy", *names]))


def varied_settings(trials: Sequence[TrialRecord]) -> list[str]:
    first = trials[0].settings
    names = [name for name in first if name not in NOT_VARIED]
    return [name for name in names if any(t.settings[name] != first[name] for t in trials)]


def group_of(trial: TrialRecord, varied: Sequence[str]) -> tuple[Any, ...]:
    """The values of what is varied; lists become tuples, which can be keys."""
    values = [trial.settings[name] for name in varied]
    return tuple(tuple(v) if isinstance(v, list) else v for v in values)


def in_words(varied: Sequence[str], group: Sequence[Any]) -> str:
    """Such as "layers 2, d 128"."""
    texts = ["+".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in group]
    return ", ".join(f"{k} {text}" for k, text in zip(varied, texts, strict=True))


def colors(model: str, i: int, n: int) -> list[str]:
    """The colour of group i of n on light and on dark paper."""
    if n == 1:
        return [COLORS[model], LIGHTER[model]]
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
